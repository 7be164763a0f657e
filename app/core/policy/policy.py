"""One compiled, immutable snapshot of the rules that judges tool calls and paths.

Precedence is block > escalate > approve over all matching rules and all simple commands; nothing matching is
escalate, and so is doubt. `judge` is total: a fault inside it is a block. It reads the call, and of the world what
rules ask for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import re2

from app.core.decisions import Asked, InnerCommand, Judgement, RuleRef, Verdict
from app.core.policy.calls import seen_of
from app.core.policy.faults import FAULTS
from app.core.policy.guards import PathGuards
from app.core.policy.index import Index
from app.core.policy.match import Rule, Seen, compile_rule
from app.core.policy.pace import paced
from app.core.policy.source import RuleFile, RuleSource, Stated, StatedFile, Tier, names, refusal, stated_files
from app.core.policy.world import NOWHERE, SCRIPT, Moment, World
from app.core.shell.form import SHOWN
from app.core.shell.stored import Scripts

ENGINE: Final = "19"
EXAMPLE_CWD: Final = "/home/dev/project"
WORDS_SHOWN_MAX: Final = 64
ORDERS_A_FILE: Final = 1 << 32
"""A rule more in one file moves no rule of the next one."""
RANK: Final = {Verdict.APPROVE: 0, Verdict.ESCALATE: 1, Verdict.BLOCK: 2}
_WRITTEN: Final = {verdict: verdict.value for verdict in Verdict}
_SUGGEST: Final = "Ask a person, use a command that a rule covers, or have a rule added that approves it."
Refs = dict[int, tuple[RuleRef]]


class Policy:
    """See the module. `version` hashes the rule files' content and the engine's version. `guards` judge paths.
    `stands_in`: no rules could be loaded.
    """

    __slots__ = ("_worldly", "files", "guards", "index", "refs", "rules", "sources", "stands_in", "version")

    def __init__(
        self,
        rules: Sequence[Rule],
        version: str,
        files: Sequence[StatedFile] = (),
        before: "Policy | None" = None,
    ) -> None:
        self.rules = tuple(rules)
        self.files: tuple[StatedFile, ...] = tuple(files)
        self.sources: Mapping[str, RuleSource] = {
            stated.source.id: stated.source for file in paced(files) for stated in file.rules
        }
        self.stands_in = False
        self.version = version
        self.index: Index = Index(rules, before.index if before is not None else None)
        refs: Refs = before.refs if before is not None else {}
        self.refs: Refs = {id(rule): refs.get(id(rule)) or _ref(rule) for rule in paced(self.rules)}
        self._worldly = any(rule.branches or rule.times for rule in rules)
        self.guards: PathGuards = PathGuards(rules, before.guards if before is not None else None)

    def judge(self, call: Asked, world: World = NOWHERE) -> Judgement:
        """Return what the rules say of a call; never raises."""
        scripts = Scripts(world.script)
        try:
            return self._judge(call, world, scripts)
        except FAULTS as fault:
            judgement = self._bare(
                Verdict.BLOCK,
                f"The policy engine failed on this call ({type(fault).__name__}).",
                "Report it; split the command up.",
            )
            return msgspec.structs.replace(judgement, reads=(SCRIPT,)) if scripts.asked else judgement

    def matching(self, call: Asked) -> list[Rule]:
        """Return every rule that matches a call, in any of its commands, whatever the world."""
        seen, _ = seen_of(call)
        return [rule for one in seen for rule in self.index.matching(one)]

    def _judge(self, call: Asked, world: World, scripts: Scripts) -> Judgement:
        seen, doubts = seen_of(call, scripts)
        moment = Moment(world, seen) if self._worldly else None
        judgement = self._ruled(seen, doubts, moment)
        if moment is None and not scripts.asked:
            return judgement
        reads = {*(moment.reads if moment is not None else ()), *((SCRIPT,) if scripts.asked else ())}
        return msgspec.structs.replace(judgement, reads=tuple(sorted(reads)))

    def _ruled(self, seen: list[Seen], doubts: tuple[str, ...], moment: Moment | None) -> Judgement:
        if not seen and not doubts:
            return self._bare(Verdict.APPROVE, "Nothing would run.", "")
        worst: tuple[Verdict, Rule | None, Seen | None] = (Verdict.APPROVE, None, None)
        inner: list[InnerCommand] = []
        for one in seen:
            verdict, rule = self._verdict(one, moment)
            inner.append(_inner(one, verdict, rule))
            if worst[2] is None or RANK[verdict] > RANK[worst[0]]:
                worst = (verdict, rule, one)
        if doubts and worst[0] is not Verdict.BLOCK:
            reason = f"The command is not understood ({', '.join(doubts)})."
            return Judgement(
                Verdict.ESCALATE,
                (),
                reason,
                "Write it more simply: literal words, one step a call.",
                self.version,
                tuple(inner),
            )
        return self._answer(*worst, inner)

    def _answer(self, verdict: Verdict, rule: Rule | None, one: Seen | None, inner: list[InnerCommand]) -> Judgement:
        commands = tuple(inner) if one is not None and one.command.program else ()
        if rule is not None:
            return Judgement(verdict, self.refs[id(rule)], rule.reason, rule.remedy, self.version, commands)
        what = _shown(one) if one is not None else ""
        why = (
            "has words that are known only when it runs"
            if one is not None and one.command.unresolved
            else "is covered by no rule"
        )
        return Judgement(verdict, (), f"`{what}` {why}.", _SUGGEST, self.version, commands)

    def standing(self, one: Seen, moment: Moment) -> tuple[Rule | None, list[tuple[Rule, str, str]]]:
        """Return the rule whose verdict stands for a command, and each that matched: with what lifts it, and with the
        condition on the world that does not hold ('' for neither).
        """
        found = self.index.matching(one)
        lifted = {name: rule.id for rule in moment.holding(found) for name in rule.lifts}
        top = self._verdict(one, moment)[1]
        return top, [(rule, lifted.get(rule.id, ""), moment.unmet(rule)) for rule in found]

    def _verdict(self, one: Seen, moment: Moment | None) -> tuple[Verdict, Rule | None]:
        found = self.index.matching(one)
        if moment is not None:
            found = moment.holding(found)
        return (top.verdict, top) if (top := _strongest(found)) is not None else (Verdict.ESCALATE, None)

    def _bare(self, verdict: Verdict, reason: str, remedy: str) -> Judgement:
        return Judgement(verdict, (), reason, remedy, self.version)


def _strongest(found: list[Rule]) -> Rule | None:
    """Return the rule whose verdict stands: not lifted, the strongest, of the highest tier, the first in its file."""
    if len(found) < 2:
        return found[0] if found else None
    lifted = {name for rule in found for name in rule.lifts}
    if lifted:
        found = [rule for rule in found if rule.id not in lifted]
    top = found[0]
    for rule in found:
        if rule.verdict is not top.verdict:
            if RANK[rule.verdict] > RANK[top.verdict]:
                top = rule
        elif rule.tier > top.tier or (rule.order < top.order and rule.tier is top.tier):
            top = rule
    return top


def _inner(one: Seen, verdict: Verdict, rule: Rule | None) -> InnerCommand:
    command = one.command
    words = command.words if len(command.words) <= WORDS_SHOWN_MAX else command.words[:WORDS_SHOWN_MAX]
    if not "".join(words).isascii():
        words = tuple([word.translate(SHOWN) for word in words])
    return InnerCommand(words, command.wrappers, command.span, _WRITTEN[verdict], rule.id if rule else "")


def _shown(one: Seen) -> str:
    text = (" ".join(one.command.words) if one.command.program else one.tool).translate(SHOWN)
    return text if len(text) <= 120 else text[:117] + "..."


def compile_policy(files: Sequence[RuleFile], before: Policy | None = None) -> Policy:
    """Return the snapshot of rule files; raises PolicyInvalid with file, line and remedy for the first thing wrong.
    A rule that stands word for word in `before` is not compiled again, and met its examples there: whether it matches
    depends on no other rule. What stands there in the same place is not even entered anew.
    """
    stated = stated_files(files, before.files if before is not None else ())
    known = {rule.id: rule for rule in paced(before.rules)} if before is not None else {}
    tried = before.sources if before is not None else {}
    rules = [
        _compiled(one, number * ORDERS_A_FILE + order, known.get(one.source.id) if _same(one, tried) else None)
        for number, file in enumerate(stated)
        for order, one in enumerate(paced(file.rules))
    ]
    policy = Policy(rules, version_of(files), stated, before)
    for file in stated:
        for one in paced(file.rules):
            if not _same(one, tried):
                _check_examples(policy, one)
    return policy


def version_of(files: Sequence[RuleFile]) -> str:
    """Return the version that a policy of these files has: a hash of their content and of the engine's version."""
    digest = hashlib.sha256(f"engine {ENGINE}".encode())
    for file in sorted(files, key=lambda f: (f.tier, f.name)):
        digest.update(f"\0{file.tier.name}\0{file.name}\0".encode() + hashlib.sha256(file.content).digest())
    return digest.hexdigest()[:32]


def refusing(reason: str) -> Policy:
    """Return the policy that stands in where none could be loaded: it blocks everything."""
    files = [
        RuleFile(
            "no policy",
            Tier.ADMIN,
            [
                {
                    "id": "no-policy",
                    "match": ["*"],
                    "decide": "block",
                    "reason": reason,
                    "remedy": "Mend the rule files.",
                },
                {"id": "no-policy-command", "command": {"program": "*"}, "decide": "block", "reason": reason},
                {
                    "id": "no-policy-path",
                    "touch": {"path": ["**"]},
                    "on": ["write"],
                    "decide": "block",
                    "reason": reason,
                },
            ],
            [1, 2, 3],
            reason.encode(),
        )
    ]
    policy = compile_policy(files)
    policy.stands_in = True
    return policy


def _same(stated: Stated, before: Mapping[str, RuleSource]) -> bool:
    """Tell whether a rule stands in the same words in what was before."""
    known = before.get(stated.source.id)
    return known is stated.source or known == stated.source


def _ref(rule: Rule) -> tuple[RuleRef]:
    return (RuleRef(rule.id, rule.file, rule.line),)


def _compiled(stated: Stated, order: int, same: Rule | None) -> Rule:
    if same is not None:
        place = (stated.tier, stated.file, stated.line, order)
        if place == (same.tier, same.file, same.line, same.order):
            return same
        return msgspec.structs.replace(same, tier=place[0], file=place[1], line=place[2], order=place[3])
    try:
        return compile_rule(stated, order)
    except re2.error as error:
        raise refusal(stated, f"a pattern does not compile: {error}", "simplify the pattern") from error


def _check_examples(policy: Policy, stated: Stated) -> None:
    for wanted, examples in ((True, stated.source.examples.match), (False, stated.source.examples.no_match)):
        for example in examples:
            found = any(rule.id == stated.source.id for rule in policy.matching(_example(example, stated)))
            if found is not wanted:
                says = "does not match its example" if wanted else "matches its counter-example"
                raise refusal(stated, f"it {says} {example!r}", "mend the conditions or the example")


def _example(example: str | dict[str, Any], stated: Stated) -> Asked:
    when = stated.source.when
    agent = (names(when.agent) or ("example",))[0].replace("*", "x")
    session = (names(when.session) or ("",))[0].replace("*", "x")
    if isinstance(example, str):
        return Asked("Bash", {"command": example}, agent, session, EXAMPLE_CWD)
    tool, given = example.get("tool"), example.get("input", {})
    if not isinstance(tool, str) or not isinstance(given, dict):
        raise refusal(stated, f"example {example!r} is no call", "write a shell text, or tool and input")
    return Asked(tool, given, agent, session, example.get("cwd", EXAMPLE_CWD))
