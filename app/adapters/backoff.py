"""Bounds supervisord's back-off: its delay grows by a second a failure without end, so that after an hour of failing a
program that would serve again waited for a minute and more. Runs inside supervisord, as one of its RPC interfaces.

supervisord itself forgets the failures of a program that ran for `startsecs`.
"""

import time
from typing import Any, Final

from supervisor import events  # type: ignore[import-untyped]

DELAY_MAX_S: Final = 10


def bound(supervisord: object, **_: object) -> object:
    """See supervisord's rpcinterface_factory; there is nothing to call."""
    del supervisord
    events.subscribe(events.ProcessStateBackoffEvent, shorten)
    return object()


def shorten(event: Any) -> None:
    """Let the process that failed wait for DELAY_MAX_S at most."""
    process = event.process
    process.backoff = min(process.backoff, DELAY_MAX_S)
    process.delay = min(process.delay, time.time() + DELAY_MAX_S)
