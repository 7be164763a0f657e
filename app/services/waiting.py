"""Who waits in the gateway and for what. Compiled (ADR 0011): classes, since what these hold is read for every call and
a struct's members are looked up by name. The collector has nothing to do with them.
"""

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from app.core.decisions import Ruling, ToolCall, Verdict
from app.services.answers import Answered

Answer = Callable[[Answered], None]
CacheKey = bytes


@mypyc_attr(acyclic=True)
class Waiter:
    """A caller: its call, and when it arrived (monotonic). `found`, the `layer` that found it and the task that gave it
    are set when the call is decided.
    """

    def __init__(self, call: ToolCall, started_ns: int) -> None:
        self.call = call
        self.started_ns = started_ns
        self.dry_run = call.dry_run
        self.found: Ruling | None = None
        self.layer = ""
        self.task_id = ""

    def answer(self, answered: Answered) -> None:
        """Take the answer, which never holds its waiter."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
class CallbackWaiter(Waiter):
    """One whose answer a function takes."""

    def __init__(self, call: ToolCall, started_ns: int, take: Answer) -> None:
        super().__init__(call, started_ns)
        self._take = take

    def answer(self, answered: Answered) -> None:
        """See Waiter."""
        self._take(answered)


@mypyc_attr(acyclic=True)
class Question:
    """One distinct question on its way to a worker, and the callers that wait for its answer; `asked` is its encoding
    under the policy's `version`.

    `given` is set once the gateway has answered by itself: the worker's verdict is then only compared, and not even
    that where it is `unjudged`, a block because there was no time. `patience_ms` is set where its callers wait longer
    for a worker than is usual.
    """

    def __init__(
        self,
        call: ToolCall,
        asked: bytes,
        version: str,
        key: CacheKey,
        deadline_ns: int,
        waiters: list[Waiter],
        patience_ms: int = 0,
    ) -> None:
        self.call = call
        self.asked = asked
        self.version = version
        self.key = key
        self.deadline_ns = deadline_ns
        self.waiters = waiters
        self.given: Verdict | None = None
        self.unjudged = False
        self.settled = False
        self.tries = 0
        self.batch_id = 0
        self.patience_ms = patience_ms
