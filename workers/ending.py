"""How a worker ends while Redis does not answer: every step of Celery's shutdown speaks to it once more, and each would
wait the worker's whole time-out of 5 s. A frozen Redis held a worker up for 20 to 48 s, past what its supervisor waits.
"""

import threading
from functools import cache
from typing import Any, Final

from celery import signals

LAST_WORDS_S: Final = 1.5
"""More than the second that a BRPOP may be under way: its answer may carry a message."""
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
