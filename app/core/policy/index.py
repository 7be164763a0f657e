"""The index: which rules can at all speak of a command, by tool, program and first argument, fact and place.

Cost is flat in the number of rules: look-ups are by key, and many under one key are narrowed further (narrowing.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from app.core.policy.glob import argument_expression, simple_glob
from app.core.policy.match import Rule, Seen, matches
from app.core.policy.narrowing import SET_FROM, Bucket, Heads
from app.core.policy.pace import paced
from app.core.policy.shape import Shape, deeper_words, known_words, loosened, settled, shape_of

MEMO_MAX: Final = 4096
_ANY: Final = "* "
"""The key of rules for every program that name no sub-command."""
Step = tuple["Rule | Bucket", bool]
"""What is asked of each command of a shape: a rule (True: it matches them all), or a bucket's tables."""


def _asked(program: str, seen: Seen) -> list[str]:
    keys, line, words = [program, _ANY], seen.line, seen.command.words
    if line.positions:
        first = line.positions[0]
        keys += (f"{program} {first}", f"* {first}")
        if len(line.positions) > 1:
            keys += (f"* * {line.positions[1]}", f"{program} * {line.positions[1]}")
        if words[1] != first:
            keys.append(f"{program} {words[1]}")
    elif len(words) > 1:
        keys.append(f"{program} {words[1]}")
    return keys


class Index:
    """See the module; built once, then only read (but for bounded memos of program globs and of shapes)."""

    __slots__ = (
        "_by_key",
        "_by_program_glob",
        "_by_tool",
        "_by_tool_glob",
        "_by_trait",
        "_deeper",
        "_known",
        "_loose",
        "_memo",
        "_program_globs",
        "_rest",
        "_shapes",
        "_tool_globs",
    )

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_key: dict[str, Bucket] = {}
        self._by_tool: dict[str, Bucket] = {}
        self._by_trait: dict[str, Bucket] = {}
        self._program_globs: list[tuple[str, Rule]] = []
        self._tool_globs: list[tuple[str, Rule]] = []
        self._rest = Bucket()
        self._memo: dict[str, tuple[Rule, ...]] = {}
        for rule in paced(rules):
            self._add(rule)
        for group in (self._by_key, self._by_tool, self._by_trait):
            for bucket in paced(group.values()):
                if len(bucket.rules) >= SET_FROM:  # of fewer, sealing makes the same
                    bucket.seal()
        self._rest.seal()
        self._by_program_glob = _heads(self._program_globs)
        self._by_tool_glob = _heads(self._tool_globs)
        self._known = known_words(rules, list(self._by_key))
        self._deeper = deeper_words(rules)
        self._loose = {id(rule): loosened(rule) for rule in paced(rules)}
        self._shapes: dict[Shape, tuple[list[Rule], list[Step]]] = {}

    def _add(self, rule: Rule) -> None:
        if rule.facts:
            return self._put(self._by_trait, rule.facts, rule)
        if rule.programs or rule.program_globs:
            self._program_globs += [(glob, rule) for glob in rule.program_globs if glob != "*"]
            return self._put(self._by_key, _keys(rule), rule)
        if rule.patterns:
            return self._add_patterns(rule)
        if rule.tools:
            return self._put(self._by_tool, rule.tools, rule)
        if rule.touches and rule.where:
            return self._put(self._by_trait, rule.where, rule)
        if rule.wrappers:
            return self._put(self._by_trait, rule.wrappers, rule)
        return self._rest.add(rule)

    def _add_patterns(self, rule: Rule) -> None:
        for pattern in rule.patterns:
            if pattern.text:
                key = _text_key(pattern.text)
                self._put(self._by_key, (key,), rule) if key else self._rest.add(rule)
            elif pattern.tool_glob:
                self._tool_globs.append((pattern.tool_glob, rule))
            elif pattern.path is not None:
                self._rest.add(rule)
            else:
                self._put(self._by_tool, pattern.tools, rule)

    @staticmethod
    def _put(group: dict[str, Bucket], keys: Iterable[str], rule: Rule) -> None:
        # one bucket for all keys of a rule that has them for itself: nine tenths of 9,000, and half the time of a load
        alone = Bucket((rule,))
        for key in keys:
            known = group.get(key)
            if known is None:
                group[key] = alone
            elif len(known.rules) > 1:
                known.add(rule)
            elif known.rules[0] is not rule:
                group[key] = Bucket((known.rules[0], rule))

    def matching(self, seen: Seen) -> list[Rule]:
        """Return the rules that match, some perhaps twice; not to be changed, other commands get the same list."""
        shape = shape_of(seen, self._known, self._deeper)
        if shape is None:
            return [rule for step in self._candidates(seen) for rule in _asked_anew(step, seen)]
        known = self._shapes.get(shape)
        if known is None:
            known = self._learn(shape, seen)
        fixed, steps = known
        if not steps:
            return fixed
        found: list[Rule] = []
        for step, holds in steps:
            if holds:
                found.append(step)  # type: ignore[arg-type]  # only a rule holds for a shape
            else:
                found += _asked_anew(step, seen)
        return found

    def _learn(self, shape: Shape, seen: Seen) -> tuple[list[Rule], list[Step]]:
        steps: list[Step] = []
        for one in self._candidates(seen):
            holds = settled(one, self._loose[id(one)], seen) if isinstance(one, Rule) else None
            if holds is not False:
                steps.append((one, holds is True))
        known = ([one for one, _ in steps if isinstance(one, Rule)], [] if all(h for _, h in steps) else steps)
        if len(self._shapes) >= MEMO_MAX:
            self._shapes.clear()
        self._shapes[shape] = known
        return known

    def _candidates(self, seen: Seen) -> "list[Rule | Bucket]":
        command = seen.command
        found: list[Rule | Bucket] = []
        _gather(found, seen, (self._rest,))
        if command.program:
            _gather(found, seen, map(self._by_key.get, _asked(command.program, seen)))
            if self._program_globs:
                found += self._globbed(command.program)
        if command.touches or command.facts or command.wrappers:
            _gather(found, seen, map(self._by_trait.get, self._traits(command)))
        _gather(found, seen, (self._by_tool.get(seen.tool),))
        if self._tool_globs:
            found += self._by_tool_glob.find(seen.tool)
        return found

    @staticmethod
    def _traits(command: Any) -> set[str]:
        traits = {kind for touch in command.touches for kind in touch.where} if command.touches else set()
        return traits.union(command.facts, command.wrappers)

    def _globbed(self, program: str) -> tuple[Rule, ...]:
        known = self._memo.get(program)
        if known is None:
            known = tuple([rule for rule in self._by_program_glob.find(program) if _named(rule, program)])
            if len(self._memo) < MEMO_MAX:
                self._memo[program] = known
        return known


def _gather(found: list[Rule | Bucket], seen: Seen, buckets: Iterable[Bucket | None]) -> None:
    for bucket in buckets:
        if bucket is not None:
            found += bucket.shaped(seen)
            if bucket.looks_closer:
                found.append(bucket)


def _asked_anew(step: Rule | Bucket, seen: Seen) -> list[Rule]:
    rules = [step] if isinstance(step, Rule) else step.hits(seen)
    return [rule for rule in rules if matches(rule, seen)]


def _named(rule: Rule, program: str) -> bool:
    return any(simple_glob(glob).match(program) for glob in rule.program_globs)


def _heads(entries: list[tuple[str, Rule]]) -> Heads:
    return Heads((glob.partition("*")[0], argument_expression(glob), rule) for glob, rule in entries)


def _keys(rule: Rule) -> list[str]:
    """`program` or `program sub`; `*` stands for every program."""
    programs = [*rule.programs, *[glob for glob in rule.program_globs if glob == "*"]]
    firsts = {*rule.first_words, *[sub[0] if sub[0] != "*" else " ".join(sub[:2]) for sub in rule.subcommands]}
    if firsts:
        return [f"{program} {first}" for program in programs for first in firsts]
    if "*" in programs:
        return [*rule.programs, _ANY]
    return programs


def _text_key(pattern: str) -> str:
    """The key under which a text pattern is found: its program, and its first argument where that is literal too."""
    words = pattern.split(" ")
    if "*" in words[0]:
        return words[0][:-2] if words[0].endswith(":*") and "*" not in words[0][:-2] and len(words) == 1 else ""
    if len(words) > 2 and "*" not in words[1] and words[1]:
        return f"{words[0]} {words[1]}"
    return words[0]
