"""The peer of bench_validate: one Celery task with stock settings that judges one call by the same policy."""

import os
from typing import Any

import msgspec
from celery import Celery

from app import bootstrap
from app.core.decisions import ToolCall
from config.settings import load

_URL = os.environ["STOCK_CELERY_URL"]
app = Celery("stock", broker=_URL, backend=_URL)
app.conf.broker_transport_options = {"global_keyprefix": "stock:"}
app.conf.result_backend_transport_options = {"global_keyprefix": "stock:"}
_policy: list[Any] = []


@app.task(name="stock.judge")
def judge(call: dict[str, Any]) -> str:
    """Return the verdict of one call."""
    if not _policy:
        _policy.append(bootstrap.policy(load()))
    return str(_policy[0].judge(msgspec.convert(call, ToolCall)).verdict)
