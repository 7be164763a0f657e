"""Tool calls, decisions and the records of them.

What lives by the ten thousand is gc=False: none of it can be in a cycle, and the collector would walk over all of it.
"""

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final

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


class ToolCall(Asked, frozen=True, forbid_unknown_fields=True, omit_defaults=True, array_like=False, gc=False):
    """What an agent is about to do: the body of POST /v1/validate."""

    tool_call: str = ""
    wait_ms: int = 0
    dry_run: bool = False
    deadline_ms: int = 0


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


class Ground(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What rulings have in common that the same rules gave for the same reason.

    `rules` are the ids; `shown` holds the members of a Decision's JSON from `"verdict"` to `"commands":`.
    """

    verdict: Verdict
    rules: tuple[str, ...]
    reason: str
    policy_version: str
    shown: bytes
    reads: tuple[str, ...] = ()


class Ruling(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A judgement made ready by whoever judged: what the gateway needs to look at, and the rest as finished JSON.

    `commands` is the JSON of the commands: decoding, keeping and encoding them cost the gateway several us.
    """

    ground: Ground
    commands: bytes

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of its ground."""
        return self.ground.verdict


class _Shown(msgspec.Struct, frozen=True, gc=False):
    verdict: Verdict
    rules: tuple[RuleRef, ...]
    reason: str
    remedy: str
    policy_version: str


def ruling(judgement: Judgement) -> Ruling:
    """Return a judgement as it is sent, kept and shown."""
    verdict, rules, reason, remedy, version, commands, reads = msgspec.structs.astuple(judgement)
    return Ruling(_ground(verdict, rules, reason, remedy, version, reads), _json.encode(commands))


@lru_cache(maxsize=512)
def _ground(
    verdict: Verdict, rules: tuple[RuleRef, ...], reason: str, remedy: str, version: str, reads: tuple[str, ...]
) -> Ground:
    # one object for all: a reply carries it once, and the gateway keeps it once
    shown = b'%b,"commands":' % _json.encode(_Shown(verdict, rules, reason, remedy, version))[1:-1]
    return Ground(verdict, tuple([rule.id for rule in rules]), reason, version, shown, reads)


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
    """One reply a batch, in the order of its calls: the place of each one's ground in the table, its commands, and the
    layer that gave it. Without the table a ruling was 430 bytes, and copying replies 7 us a call.
    `worker_us` has `shared_us` in it, which asking the shared cache took; `forged` and `stale`: what it ignored.
    """

    FORMAT: ClassVar[int] = 3

    format: int
    batch_id: str
    task_id: str
    worker: str
    grounds: tuple[Ground, ...]
    places: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    commands: tuple[bytes, ...]
    layers: tuple[str, ...]
    worker_us: int
    shared_us: int = 0
    forged: int = 0
    stale: int = 0

    @property
    def rulings(self) -> list[Ruling]:
        """Return the ruling of each call; raises IndexError for a place that is not in the table."""
        grounds = self.grounds
        return [Ruling(grounds[place], commands) for place, commands in zip(self.places, self.commands, strict=True)]


def validate_reply(
    batch_id: str, task_id: str, worker: str, rulings: Sequence[Ruling], layers: Sequence[str], worker_us: int
) -> ValidateReply:
    """Return the reply that carries these rulings."""
    grounds: dict[int, tuple[int, Ground]] = {}
    places = [grounds.setdefault(id(found.ground), (len(grounds), found.ground))[0] for found in rulings]
    return ValidateReply(
        ValidateReply.FORMAT,
        batch_id,
        task_id,
        worker,
        tuple([ground for _, ground in grounds.values()]),
        tuple(places),
        tuple([found.commands for found in rulings]),
        tuple(layers),
        worker_us,
    )
