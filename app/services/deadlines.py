"""Questions by when they are due: a queue for each patience, so that every queue is in order as it is filled."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from app.services.waiting import Question

OWN_SHARE_MS: Final = 5
"""Of the deadline, what judging in the gateway, the spool write and the answer may take."""
STEP_MS: Final = 10
"""Deadlines that callers state are rounded up to these: a hundred queues at most."""


def patience_ms(usual_ms: int, stated_ms: int) -> int:
    """Return how long a worker is waited for beyond the usual, 0 where a caller states no more than that: who could
    shorten it would choose who judges.
    """
    return -(-stated_ms // STEP_MS) * STEP_MS if stated_ms > usual_ms else 0


class Deadlines:
    """One event loop thread, one timer. `ring` is called when a question may be due; it asks `due`, then `wait_on`."""

    def __init__(self, usual_ms: int, ring: Callable[[], None]) -> None:
        self._usual_ms = usual_ms
        self._ring = ring
        self._usual: deque[Question] = deque()
        self._queues = {0: self._usual}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_ns = 0

    def after(self, now: int, patience: int) -> int:
        """Return when a question that comes now is due; `patience` is that of patience_ms."""
        whole_ms = patience or self._usual_ms
        return now + max(whole_ms - OWN_SHARE_MS, whole_ms // 2) * 1_000_000

    def add(self, question: Question, now: int) -> None:
        """Keep a question until it is due."""
        queue = self._usual
        if question.patience_ms:
            queue = self._queues.setdefault(question.patience_ms, deque())
        queue.append(question)
        if self._timer is None or question.deadline_ns < self._rings_ns:
            self._set(question.deadline_ns, now)

    def drop_settled(self) -> None:
        """Let go of what is answered: kept until its deadline it was 2 MB of cold memory, let go in bursts of 6 ms."""
        for queue in self._queues.values():
            while queue and queue[0].settled:
                queue.popleft()

    def due(self, now: int) -> list[Question]:
        """Take the questions whose time is over."""
        found = []
        for queue in self._queues.values():
            while queue and (queue[0].settled or queue[0].deadline_ns <= now):
                question = queue.popleft()
                if not question.settled:
                    found.append(question)
        return found

    def wait_on(self, now: int) -> None:
        """Set the timer for the next one."""
        self._timer = None
        for patience in [ms for ms, queue in self._queues.items() if ms and not queue]:
            del self._queues[patience]
        firsts = [queue[0].deadline_ns for queue in self._queues.values() if queue]
        if firsts:
            self._set(min(firsts), now)

    def _set(self, at_ns: int, now: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_ns = at_ns
        self._timer = asyncio.get_running_loop().call_later(max(at_ns - now, 0) / 1e9, self._ring)
