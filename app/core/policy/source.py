"""Rules as their files state them, and the refusal of what does not hold: always with file, line and remedy."""

import enum
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid

Names = str | list[str]


class Tier(enum.IntEnum):
    """Who speaks. A project's own file may only add restrictions; admin and user may lift a default rule."""

    DEFAULT = 0
    PROJECT = 1
    USER = 2
    ADMIN = 3


class CommandSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a simple command must be. `flags`: at least one; `all_flags`: each; `without`: none of them; `unless`: what
    its first word may not be; a `*` in `subcommand` is any one word.
    """

    program: Names = ""
    subcommand: Names = []
    flags: Names = []
    all_flags: Names = []
    without: Names = []
    unless: Names = []
    args: Names = []
    min_args: int = 0
    max_args: int = 1_000_000


class TouchSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A path that a command or file tool must touch; `where` are place classes, `where_not` rules some out."""

    access: Names = []
    where: Names = []
    where_not: Names = []
    path: Names = []


class WhenSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions on the caller, globs each; `branch` and `time` (WINDOW) are outside the call: see world.py."""

    agent: Names = []
    session: Names = []
    cwd: Names = []
    branch: Names = []
    time: Names = []


class ExampleSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls that the rule must and must not match: shell texts, or `{tool, input}`."""

    match: list[str | dict[str, Any]] = []
    no_match: list[str | dict[str, Any]] = []


class RuleSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule as written; every condition given must hold. `within`: places where all that it touches must lie;
    `keeps_to`: places where all that it writes, changes or deletes must lie, and never the whole of one.
    """

    id: str
    decide: Verdict
    reason: str
    match: Names = []
    command: CommandSource | None = None
    touch: TouchSource | None = None
    fact: Names = []
    fact_not: Names = []
    wrapper: Names = []
    tool: Names = []
    when: WhenSource = WhenSource()
    unresolved: Literal["refuse", "inside", "ok"] = "refuse"
    on: list[Literal["write"]] = []
    remedy: str = ""
    lifts: list[str] = []
    examples: ExampleSource = ExampleSource()
    within: Names = []
    keeps_to: Names = []


class RuleFile(NamedTuple):
    """A parsed rule file: `rules` are plain mappings, `lines` where each begins, `content` what the version hashes,
    `path` where a person finds it.
    """

    name: str
    tier: Tier
    rules: list[Any]
    lines: list[int]
    content: bytes
    path: str = ""


class Stated(NamedTuple):
    """A rule with where it stands."""

    source: RuleSource
    tier: Tier
    file: str
    line: int
    path: str = ""


DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = f"(?:{'|'.join(DAYS)})"
_SPAN: Final = f"{_DAY}(?:-{_DAY})?"
WINDOW: Final = rf"(?:({_SPAN}(?:,{_SPAN})*) )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)"
ACCESSES: Final = frozenset(("list", "read", "write", "delete", "change", "send", "run"))


class StatedFile(NamedTuple):
    """A file with its rules; of the same file the same, so that they need not be looked at again."""

    file: RuleFile
    rules: tuple[Stated, ...]


def stated_files(files: Sequence[RuleFile], before: Sequence[StatedFile] = ()) -> tuple[StatedFile, ...]:
    """Return the rules of the files, in their order; raises PolicyInvalid for the first that does not hold."""
    known = {id(one.file): one for one in before}
    found = tuple([known.get(id(file)) or StatedFile(file, tuple(_stated(file))) for file in files])
    _check_names(found)
    return found


def _stated(file: RuleFile) -> Iterator[Stated]:
    for raw, line in zip(file.rules, file.lines, strict=True):
        rule = Stated(_converted(raw, file.path or file.name, line), file.tier, file.name, line, file.path)
        _checked(rule)
        yield rule


def _check_names(files: Sequence[StatedFile]) -> None:
    found: dict[str, Stated] = {}
    for file in files:
        for rule in file.rules:
            if rule.source.id in found:
                other = found[rule.source.id]
                raise refusal(rule, f"the id is taken by {other.file}:{other.line}", "give each rule an id of its own")
            found[rule.source.id] = rule
    for rule in found.values():
        _check_lifts(rule, found)


def refusal(rule: Stated, what: str, remedy: str) -> PolicyInvalid:
    """Return the error for a rule: file, line, what is wrong, what to do."""
    return PolicyInvalid(f"{rule.path or rule.file}:{rule.line}: rule {rule.source.id!r}: {what}; {remedy}")


def _converted(raw: Any, file: str, line: int) -> RuleSource:
    try:
        return msgspec.convert(raw, RuleSource)
    except (msgspec.ValidationError, TypeError) as error:
        name = raw.get("id", "?") if isinstance(raw, dict) else "?"
        raise PolicyInvalid(
            f"{file}:{line}: rule {name!r}: {error}; see docs/reference/rules.md for the fields of a rule"
        ) from error


def _checked(rule: Stated) -> None:
    source = rule.source
    conditions = (source.match, source.command, source.touch, source.fact, source.wrapper, source.tool)
    if not any(conditions):
        raise refusal(rule, "it matches everything", "give it match, command, touch, fact, wrapper or tool")
    if not source.reason.strip():
        raise refusal(rule, "it has no reason", "say in one sentence why, the agent is told")
    if rule.tier is Tier.PROJECT and source.decide is Verdict.APPROVE:
        raise refusal(
            rule,
            "a project's own file cannot approve",
            "decide block or escalate, or move the rule to the user's rules",
        )
    if source.lifts and rule.tier not in {Tier.USER, Tier.ADMIN}:
        raise refusal(rule, "only admin and user rules may lift others", "move it to the user's rules, or remove lifts")
    if source.touch is not None and set(names(source.touch.access)) - ACCESSES:
        raise refusal(rule, f"access must be of {', '.join(sorted(ACCESSES))}", "correct the access list")
    if source.on and (source.touch is None or not source.touch.path):
        raise refusal(rule, "`on: [write]` needs touch.path", "name the paths as globs from the project's root")
    _check_world(rule)


def _check_world(rule: Stated) -> None:
    when = rule.source.when
    for window in names(when.time):
        if re.fullmatch(WINDOW, window) is None or window[-11:-6] == window[-5:]:
            raise refusal(rule, f"{window!r} is no time window", 'write "22:00-06:00" or "mon-fri 09:00-17:30"')
    if rule.source.on and (names(when.branch) or names(when.time)):
        raise refusal(rule, "`on: [write]` cannot depend on branch or time", "make it a rule of its own without `when`")


def _check_lifts(rule: Stated, known: dict[str, Stated]) -> None:
    for name in rule.source.lifts:
        if name not in known:
            raise refusal(rule, f"it lifts {name!r}, which is no rule", "name the id of a default rule")
        if known[name].tier is not Tier.DEFAULT:
            raise refusal(rule, f"it lifts {name!r}, which is no default rule", "change that rule itself")


def names(value: Names) -> tuple[str, ...]:
    """Return a field that may be one name or a list as a tuple."""
    return () if value == "" else (value,) if isinstance(value, str) else tuple(value)
