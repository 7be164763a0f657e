"""How a worker ends while Redis does not answer: every step of Celery's shutdown speaks to it once more, and each would
wait the worker's whole time-out of 5 s. A frozen Redis held a worker up for 20 to 48 s, past what its supervisor waits.

A worker that ends by itself, because of an error, has nobody who waits for it with a clock: its pool's join may wait
for a child for ever. So it leaves when its time is over, and its supervisor starts another.
"""

import logging
import os
import threading
import time
from functools import cache
from typing import Any, Final

from celery import bootsteps, signals

LAST_WORDS_S: Final = 1.5
"""More than the second that a BRPOP may be under way: its answer may carry a message."""
ENDS_S: Final = 30.0
"""More than the hard time limit of a task, 25 s."""
OVERDUE_EXIT: Final = 70
log: Final = logging.getLogger(__name__)
_ending: Final = threading.Event()


class Hurried:
    """A connection of redis-py, mixed in: once the worker ends it waits LAST_WORDS_S for an answer at most."""

    def send_packed_command(self, *arguments: Any, **named: Any) -> Any:
        """See redis-py."""
        self._hurry()
        return super().send_packed_command(*arguments, **named)  # type: ignore[misc]  # of the other base

    def read_response(self, *arguments: Any, **named: Any) -> Any:
        """See redis-py."""
        self._hurry()
        return super().read_response(*arguments, **named)  # type: ignore[misc]  # of the other base

    def _hurry(self) -> None:
        if _ending.is_set():
            self.update_current_socket_timeout(LAST_WORDS_S)  # type: ignore[attr-defined]  # of the other base


@cache
def hurried(connection: type) -> type:
    """Return a class of connections that hurries at the end."""
    return type(f"Hurried{connection.__name__}", (Hurried, connection), {})


@signals.worker_shutting_down.connect
def _begin_to_end(**_: Any) -> None:
    _ending.set()


class EndsInTime(bootsteps.StartStopStep):
    """A step of the consumer: what closes it for good is told of before anything is waited for."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def close(self, consumer: Any) -> None:  # noqa: ARG002  # Celery's signature
        """See bootsteps; not called at a reconnect."""
        threading.Thread(target=_end_overdue, name="ends in time", daemon=True).start()


def _end_overdue() -> None:
    time.sleep(ENDS_S)
    log.critical("not ended %.0f s after the end began: leaving; what was taken is delivered again", ENDS_S)
    logging.shutdown()
    os._exit(OVERDUE_EXIT)
