"""The peer of bench_validate: one dramatiq actor with stock settings that judges one call by the same policy."""

import os
from typing import Any

import dramatiq
import msgspec
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from app import bootstrap
from app.core.decisions import ToolCall
from config.settings import load

_URL = os.environ["STOCK_REDIS_URL"]
broker = RedisBroker(url=_URL, namespace="stock-dramatiq")
broker.add_middleware(Results(backend=RedisBackend(url=_URL, namespace="stock-dramatiq-results")))
dramatiq.set_broker(broker)
_policy: list[Any] = []


@dramatiq.actor(actor_name="stock_judge", store_results=True)
def judge(call: dict[str, Any]) -> str:
    """Return the verdict of one call."""
    if not _policy:
        _policy.append(bootstrap.policy(load()))
    return str(_policy[0].judge(msgspec.convert(call, ToolCall)).verdict)
