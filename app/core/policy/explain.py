"""Why a call is decided as it is: each command that was read, every rule that matched it, and what each step cost.

It asks what `Policy.judge` asks and adds nothing: the verdict is that of `judge`. The clock comes in.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from app.core.decisions import Asked, Judgement, Verdict
from app.core.policy.calls import seen_of
from app.core.policy.faults import FAULTS
from app.core.policy.match import Rule, Seen
from app.core.policy.world import Moment, World
from app.core.shell.form import SHOWN
from app.core.shell.stored import Scripts
from app.core.shell.syntax import PLACEHOLDER, parse

if TYPE_CHECKING:
    from app.core.policy.policy import Policy

WORDS_SHOWN_MAX: Final = 64
Standing = tuple[Rule | None, list[tuple[Rule, str, str]]]
"""See Policy.standing."""
SOURCE_SHOWN_MAX: Final = 400


class LayerTime(msgspec.Struct, frozen=True):
    """What a step took: `reading` is text to commands, `rules` the rules over all commands, `judging` both at once as
    a worker does them.
    """

    layer: str
    us: float


class PathClass(msgspec.Struct, frozen=True):
    """A path that a command touches, how, and what it is (docs/reference/rules.md: places)."""

    access: str
    path: str
    where: tuple[str, ...]


class MatchedRule(msgspec.Struct, frozen=True):
    """A rule that matched: `decides` for the one whose verdict stands, `lifted_by` names what took it out, `unmet` the
    condition on the world (branch, time) that does not hold.
    """

    id: str
    tier: str
    file: str
    line: int
    verdict: Verdict
    reason: str
    remedy: str
    decides: bool
    lifted_by: str = ""
    unmet: str = ""


class ExplainedCommand(msgspec.Struct, frozen=True):
    """One inner command: `span` are bytes of the text given, `source` what stands there; words only the run would
    show are `<?>`. `rules` are all that matched it.
    """

    program: str
    words: tuple[str, ...]
    wrappers: tuple[str, ...]
    span: tuple[int, int]
    source: str
    flags: tuple[str, ...]
    facts: tuple[str, ...]
    touches: tuple[PathClass, ...]
    unresolved: bool
    verdict: Verdict
    rules: tuple[MatchedRule, ...]


class Explanation(msgspec.Struct, frozen=True):
    """The judgement of a call and what it rests on."""

    verdict: Verdict
    reason: str
    remedy: str
    doubts: tuple[str, ...]
    commands: tuple[ExplainedCommand, ...]
    policy_version: str
    layers: tuple[LayerTime, ...]
    reads: tuple[str, ...] = ()


def explained(policy: "Policy", call: Asked, world: World, clock_ns: Callable[[], int]) -> Explanation:
    """Return why `policy` judges a call as it does; never raises: a fault leaves the judgement alone."""
    started = clock_ns()
    judgement = policy.judge(call, world)
    judged = clock_ns()
    try:
        doubts, commands, took = _reasons(policy, call, world, clock_ns)
    except FAULTS as fault:
        doubts, commands, took = (f"fault ({type(fault).__name__})",), [], []
    return _whole(judgement, doubts, commands, [*took, LayerTime("judging", (judged - started) / 1000)])


def _reasons(
    policy: "Policy", call: Asked, world: World, clock_ns: Callable[[], int]
) -> tuple[tuple[str, ...], list[ExplainedCommand], list[LayerTime]]:
    started = clock_ns()
    seen, doubts = seen_of(call, Scripts(world.script))
    read = clock_ns()
    moment = Moment(world, seen)
    found = [policy.standing(one, moment) for one in seen]
    asked = clock_ns()
    spans = _Spans(call)
    commands = [_explained(one, rules, spans) for one, rules in zip(seen, found, strict=True)]
    took = [LayerTime("reading", (read - started) / 1000), LayerTime("rules", (asked - read) / 1000)]
    return doubts, commands, took


def _whole(
    judgement: Judgement, doubts: tuple[str, ...], commands: list[ExplainedCommand], layers: list[LayerTime]
) -> Explanation:
    return Explanation(
        judgement.verdict,
        judgement.reason,
        judgement.remedy,
        doubts,
        tuple(commands),
        judgement.policy_version,
        tuple(layers),
        judgement.reads,
    )


def _explained(
    one: Seen, found: "tuple[Rule | None, list[tuple[Rule, str, str]]]", spans: "_Spans"
) -> ExplainedCommand:
    command, (top, matched) = one.command, found
    span = spans.given(command.span)
    rules = {rule.id: _matched(rule, lifted_by, unmet, decides=rule is top) for rule, lifted_by, unmet in matched}
    return ExplainedCommand(
        command.program,
        tuple([_shown(word) for word in command.words[:WORDS_SHOWN_MAX]]),
        command.wrappers,
        span,
        spans.source(span),
        tuple(sorted(one.line.flags)),
        tuple(sorted(command.facts)),
        tuple([PathClass(touch.access, _shown(touch.path), touch.where) for touch in command.touches]),
        command.unresolved,
        top.verdict if top is not None else Verdict.ESCALATE,
        tuple(sorted(rules.values(), key=lambda rule: (not rule.decides, bool(rule.lifted_by), rule.file, rule.line))),
    )


def _matched(rule: Rule, lifted_by: str, unmet: str, *, decides: bool) -> MatchedRule:
    where = (rule.id, rule.tier.name.lower(), rule.file, rule.line)
    return MatchedRule(*where, rule.verdict, rule.reason, rule.remedy, decides, lifted_by, unmet)


def _shown(word: str) -> str:
    return word.translate(SHOWN).encode(errors="replace").decode()


class _Spans:
    """Spans of what was parsed as bytes of what was given: quoted heredoc bodies were cut out in between."""

    def __init__(self, call: Asked) -> None:
        text = call.input.get("command")
        self._text = text.encode(errors="replace") if isinstance(text, str) else b""
        self._cuts: list[tuple[int, int]] = []
        parsed = parse(text) if isinstance(text, str) and "<<" in text else None
        for number, body in enumerate(parsed.bodies if parsed else ()):
            line = f"{PLACEHOLDER} {number}\n".encode()
            at = parsed.source.find(line) if parsed else -1
            self._cuts.append((at + len(line), len(body.encode()) - len(line)))

    def given(self, span: tuple[int, int]) -> tuple[int, int]:
        """Return a span of the parsed text as one of the given text."""
        start, end = [at + sum(grown for cut, grown in self._cuts if cut <= at) for at in span]
        return start, min(end, len(self._text)) if self._text else end

    def source(self, span: tuple[int, int]) -> str:
        """Return what stands there, of a long one the beginning."""
        text = self._text[span[0] : span[1]].decode(errors="replace")
        return text if len(text) <= SOURCE_SHOWN_MAX else text[: SOURCE_SHOWN_MAX - 3] + "..."
