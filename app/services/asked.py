"""A question to something that may hang: asked at once on a thread of its own, waited for within a bound."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Final, Generic, NoReturn, TypeVar
from weakref import WeakSet

T = TypeVar("T")
_threads: Final[WeakSet[threading.Thread]] = WeakSet()


class Asked(Generic[T]):
    """Asks when it is made, so that many questions share one bound."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answers: list[T] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        _threads.add(self._thread)
        self._thread.start()

    def within(self, timeout_s: float) -> T | None:
        """Return the answer; None where it does not come in time, or the asking failed."""
        self._thread.join(timeout_s)
        return self._answers[0] if self._answers else None

    def _run(self) -> None:
        self._answers.append(self._ask())


def leave(code: int) -> NoReturn:
    """End the process; where a question is still being asked, at once: a thread that the end of the interpreter meets
    within a library in C++ aborts the process.
    """
    if any(thread.is_alive() for thread in _threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
