"""A question to something that may hang: asked at once on a thread of its own, waited for within a bound."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Asked(Generic[T]):
    """Asks when it is made, so that many questions share one bound."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answers: list[T] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def within(self, timeout_s: float) -> T | None:
        """Return the answer; None where it does not come in time, or the asking failed."""
        self._thread.join(timeout_s)
        return self._answers[0] if self._answers else None

    def _run(self) -> None:
        self._answers.append(self._ask())
