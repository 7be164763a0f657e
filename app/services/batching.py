"""Adaptive micro-batches, as a state machine without clock, thread or I/O.

A batch is out for each worker, and a second one only when at least `stock_min` questions wait for it; what comes
meanwhile makes the next one, up to `size_max`. Two always were 1.4 times slower with 100 in flight (a batch costs about
1.5 ms, whatever is in it). So fewer than `company` questions wait while the last batch is younger than `company_ns`,
if one is out still or that one had _SEVERAL in it: then more are coming. The first of all never waits (a timer for it
helped at one rate and hurt at others).
What is out for longer than `lost_after_ns` frees its place (its task, reply or worker is gone).
"""

from collections import deque
from typing import Final, NamedTuple

from app.services.waiting import Question

_SPLIT_MIN: Final = 32
"""Below this a batch is not split over idle workers: sending a task costs about as much as deciding 16 to 32 calls."""
_SEVERAL: Final = 4


class Batch(NamedTuple):
    """Questions that went out together."""

    id: int
    questions: tuple[Question, ...]
    sent_ns: int


class Batcher:
    """What waits and what is out. Who has more patience goes after those who have none, and has a bound of its own:
    many such calls make nobody else's late.
    """

    def __init__(
        self,
        workers: int,
        size_max: int = 250,
        stock_min: int = 128,
        waiting_max: int = 8192,
        lost_after_ns: int = 1_000_000_000,
        company: int = 0,
        company_ns: int = 3_000_000,
    ) -> None:
        self._workers = workers
        self._stock_min = stock_min
        self._size_max = size_max
        self._waiting_max = waiting_max
        self._lost_after_ns = lost_after_ns
        self._waiting: deque[Question] = deque()
        self._patient: deque[Question] = deque()
        self._out: dict[int, Batch] = {}
        self._last_id = 0
        self._sent_ns = self._sent = 0
        self._company = company
        self._company_ns = company_ns

    @property
    def waiting(self) -> int:
        """Return how many questions wait for a place."""
        return len(self._waiting) + len(self._patient)

    @property
    def out(self) -> int:
        """Return how many batches are out."""
        return len(self._out)

    def add(self, question: Question) -> bool:
        """Queue a question; False where too many wait already."""
        queue = self._patient if question.patience_ms else self._waiting
        if len(queue) >= self._waiting_max:
            return False
        queue.append(question)
        return True

    def cut(self, now_ns: int) -> Batch | None:
        """Take the next batch, shared out over the free places; None if none is free or nothing waits."""
        out = len(self._out)
        if self.held_ns(now_ns):
            return None
        free = self._workers - out if out < self._workers else int(self._stocks_up(out))
        if free <= 0:
            return None
        size = min(self._size_max, max(_SPLIT_MIN, -(-self.waiting // free)))
        questions = self._take(size)
        return self._send(questions, now_ns) if questions else None

    def held_ns(self, now_ns: int) -> int:
        """Return for how long the few that wait are held back for company, behind a batch that has just gone out."""
        few = 0 < self.waiting < self._company
        return max(self._sent_ns + self._company_ns - now_ns, 0) if few and (self._out or self._sent >= _SEVERAL) else 0

    def _stocks_up(self, out: int) -> bool:
        """Tell whether enough waits for a worker to have its next batch at hand."""
        return out < 2 * self._workers and self.waiting >= self._stock_min

    def send(self, questions: list[Question], now_ns: int) -> Batch | None:
        """Make a batch of these questions, which never waited; None where no place is free."""
        return self._send(questions, now_ns) if questions and len(self._out) < self._workers else None

    def _send(self, questions: list[Question], now_ns: int) -> Batch:
        self._last_id += 1
        self._sent_ns, self._sent = now_ns, len(questions)
        batch = self._out[self._last_id] = Batch(self._last_id, tuple(questions), now_ns)
        for question in questions:
            question.tries += 1
            question.batch_id = batch.id
        return batch

    def holds(self, question: Question) -> bool:
        """Tell whether a question is out."""
        return question.batch_id in self._out

    def _take(self, size: int) -> list[Question]:
        taken: list[Question] = []
        for queue in (self._waiting, self._patient):
            while queue and len(taken) < size:
                question = queue.popleft()
                if not question.settled:
                    taken.append(question)
        return taken

    def drop_waiting(self) -> list[Question]:
        """Take everything that waits (the broker is gone)."""
        return self._take(self.waiting)

    def close(self, batch_id: int) -> Batch | None:
        """Take back a batch whose reply came or whose sending failed; None if it was given up before."""
        return self._out.pop(batch_id, None)

    def lost(self, now_ns: int) -> list[Batch]:
        """Take back the batches that have been out for too long."""
        gone = [batch for batch in self._out.values() if now_ns - batch.sent_ns > self._lost_after_ns]
        for batch in gone:
            del self._out[batch.id]
        return gone


class Breaker:
    """Whether asking workers is worth a caller's time: opens after `failures_max` failures in a row, then lets one
    trial through each `trial_after_ns` (doubling up to `trial_max_ns`); one answer closes it.
    """

    def __init__(
        self, failures_max: int = 2, trial_after_ns: int = 250_000_000, trial_max_ns: int = 2_000_000_000
    ) -> None:
        self._failures_max = failures_max
        self._trial_max_ns = trial_max_ns
        self._trial_after_ns = trial_after_ns
        self._failures = 0
        self._next_trial_ns = 0

    @property
    def open(self) -> bool:
        """Tell whether callers are answered without a worker."""
        return self._failures >= self._failures_max

    def failed(self, now_ns: int) -> None:
        """Note a task that could not be sent or was never answered."""
        self._failures += 1
        self._next_trial_ns = now_ns + self._pause_ns()

    def answered(self) -> None:
        """Note an answer."""
        self._failures = 0

    def allows(self, now_ns: int) -> bool:
        """Tell whether a question may go out now; with the breaker open this is true once a trial interval."""
        if self._failures < self._failures_max:
            return True
        if now_ns < self._next_trial_ns:
            return False
        self._next_trial_ns = now_ns + self._pause_ns()
        return True

    def _pause_ns(self) -> int:
        doublings = min(max(self._failures - self._failures_max, 0), 10)
        return min(self._trial_after_ns << doublings, self._trial_max_ns)
