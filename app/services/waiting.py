"""Who waits in the gateway and for what. No code: structs are not compiled, what handles them is (ADR 0011)."""

from collections.abc import Callable

import msgspec

from app.core.decisions import ToolCall, Verdict
from app.services.answers import Answered

Answer = Callable[[Answered], None]
CacheKey = bytes


class Waiter(msgspec.Struct, frozen=True, gc=False):
    """A caller: its call, when it arrived (monotonic), and what to do with the answer, which never holds its waiter."""

    call: ToolCall
    started_ns: int
    answer: Answer


class Question(msgspec.Struct, eq=False, gc=False):
    """One distinct question on its way to a worker, and the callers that wait for its answer; `asked` is its encoding
    under the policy's `version`.

    `given` is set once the gateway has answered by itself: the worker's verdict is then only compared, and not even
    that where it is `unjudged`, a block because there was no time. `patience_ms` is set where its callers wait longer
    for a worker than is usual.
    """

    call: ToolCall
    asked: bytes
    version: str
    key: CacheKey
    deadline_ns: int
    waiters: list[Waiter]
    given: Verdict | None = None
    unjudged: bool = False
    settled: bool = False
    tries: int = 0
    batch_id: int = 0
    patience_ms: int = 0


class Asking(msgspec.Struct, frozen=True, array_like=True):
    """The wire form of ValidateBatch, with calls that are encoded already."""

    format: int
    project: str
    batch_id: str
    reply_to: str
    deadline_ms: int
    calls: tuple[msgspec.Raw, ...]
    policy_version: str
