"""Tool calls, decisions and the records of them.

What lives by the ten thousand is gc=False: none of it can be in a cycle, and the collector would walk over all of it.
"""

import enum
from typing import Any, ClassVar, Final

import msgspec

RECORD_FORMAT: Final = 1
_json: Final = msgspec.json.Encoder()


class Verdict(enum.StrEnum):
    """The three answers; precedence is block > escalate > approve."""

    APPROVE = "approve"
    BLOCK = "block"
    ESCALATE = "escalate"


class Asked(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All of a call that a judgement may depend on: what the caches' keys hold, and all that workers see."""

    tool: str
    input: dict[str, Any]
    agent: str
    session: str = ""
    cwd: str = ""
    context: dict[str, Any] = {}


class ToolCall(Asked, frozen=True, forbid_unknown_fields=True, array_like=False, gc=False):
    """What an agent is about to do: the body of POST /v1/validate."""

    tool_call: str = ""
    wait_ms: int = 0
    dry_run: bool = False


class RuleRef(msgspec.Struct, frozen=True, gc=False):
    """Where a rule that matched stands."""

    id: str
    file: str
    line: int


class InnerCommand(msgspec.Struct, frozen=True, gc=False):
    """One simple command that the policy saw: resolved words, wrapper chain, byte span of the source."""

    words: tuple[str, ...]
    wrappers: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)
    verdict: str = ""
    rule: str = ""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The answer; `duration_us` is measured. `layer` is local-cache | shared-cache | policy | degraded | border, and
    person | deadline for the end of an escalation.
    """

    id: str
    verdict: Verdict
    rules: tuple[RuleRef, ...]
    reason: str
    remedy: str
    layer: str
    cached: bool
    degraded: bool
    policy_version: str
    duration_us: int
    commands: tuple[InnerCommand, ...] = ()


class Judgement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What policy alone says of one call, before ids and timing: what workers return and caches hold.

    `reads` names everything outside the call that it depended on; a judgement with reads is not cached.
    """

    verdict: Verdict
    rules: tuple[RuleRef, ...]
    reason: str
    remedy: str
    policy_version: str
    commands: tuple[InnerCommand, ...] = ()
    reads: tuple[str, ...] = ()


class Ruling(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A judgement made ready by whoever judged: what the gateway needs to look at, and the rest as finished JSON.

    `rules` are the ids; `shown` holds those members of a Decision's JSON that a judgement decides, from `"verdict"` to
    the closing brace. One flat object a call: decoding, keeping and encoding the commands cost the gateway several us.
    """

    verdict: Verdict
    rules: tuple[str, ...]
    reason: str
    policy_version: str
    shown: bytes
    reads: tuple[str, ...] = ()


class _Shown(msgspec.Struct, frozen=True, gc=False):
    verdict: Verdict
    rules: tuple[RuleRef, ...]
    reason: str
    remedy: str
    policy_version: str
    commands: tuple[InnerCommand, ...]


def ruling(judgement: Judgement) -> Ruling:
    """Return a judgement as it is sent, kept and shown."""
    verdict, rules, reason, remedy, version, commands, reads = msgspec.structs.astuple(judgement)
    shown = _json.encode(_Shown(verdict, rules, reason, remedy, version, commands))[1:]
    names = (rules[0].id,) if len(rules) == 1 else tuple([rule.id for rule in rules])
    return Ruling(verdict, names, reason, version, shown, reads)


class DecisionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answered call as the spool and the event store keep it; `input` is the call's JSON."""

    format: int
    sequence: int
    at_ns: int
    id: str
    agent: str
    session: str
    tool_call: str
    tool: str
    cwd: str
    input: bytes
    verdict: str
    rules: tuple[str, ...]
    reason: str
    layer: str
    cached: bool
    degraded: bool
    policy_version: str
    duration_us: int
    task_id: str = ""


class ValidateBatch(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.validate: calls that wait; `policy_version` is the gateway's."""

    FORMAT: ClassVar[int] = 2

    format: int
    project: str
    batch_id: str
    reply_to: str
    deadline_ms: int
    calls: tuple[Asked, ...]
    policy_version: str = ""


class ValidateReply(msgspec.Struct, frozen=True, array_like=True):
    """One reply a batch: rulings in the order of the calls, with the layer that gave each."""

    FORMAT: ClassVar[int] = 2

    format: int
    batch_id: str
    task_id: str
    worker: str
    rulings: tuple[Ruling, ...]
    layers: tuple[str, ...]
    worker_us: int
