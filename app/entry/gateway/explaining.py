"""Explanations, beside the loop: as a worker does, they look at the branch and ask the store for scripts, which takes
up to 20 ms each, and the loop waits for nobody.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.core.decisions import Asked
from app.core.policy import Explanation
from app.entry.gateway.problems import Problem

WAITING_MAX: Final = 64


class Explainer:
    """One thread that explains one call after the other; used from the loop."""

    def __init__(self, explain: Callable[[Asked], Explanation]) -> None:
        self._explain = explain
        self._thread = ThreadPoolExecutor(1, "explain")
        self._waiting = 0

    def refuse_many(self) -> None:
        """Raise Problem where so many wait that another one would wait for seconds."""
        if self._waiting >= WAITING_MAX:
            raise Problem(503, "busy", f"{WAITING_MAX} explanations wait", "ask again in a second")

    def ask(self, call: Asked, answer: Callable[[Explanation | None], None]) -> None:
        """Explain a call, then `answer` in the loop; None where that failed."""
        self._waiting += 1

        def told(future: "asyncio.Future[Explanation]") -> None:
            self._waiting -= 1
            if not future.cancelled():
                answer(future.result() if future.exception() is None else None)

        asyncio.get_running_loop().run_in_executor(self._thread, self._explain, call).add_done_callback(told)

    def close(self) -> None:
        """Begin no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
