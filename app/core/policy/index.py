"""The index: which rules can at all speak of a command, by tool, program and first argument, fact and place.

Cost is flat in the number of rules: look-ups are by key, and many under one key are narrowed further (narrowing.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.core.policy.entries import ANY, NOTHING, Entry, Groups, entry_of
from app.core.policy.glob import simple_glob
from app.core.policy.match import Rule, Seen, matches
from app.core.policy.narrowing import Bucket
from app.core.policy.pace import paced
from app.core.policy.shape import Shape, deeper_words, settled, shape_of

MEMO_MAX: Final = 4096
Step = tuple["Rule | Bucket", bool]
"""What is asked of each command of a shape: a rule (True: it matches them all), or a bucket's tables."""


def _asked(program: str, seen: Seen) -> list[str]:
    keys, line, words = [program, ANY], seen.line, seen.command.words
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
        "_memo",
        "_rest",
        "_shapes",
        "entries",
        "groups",
    )

    def __init__(self, rules: Sequence[Rule], before: "Index | None" = None) -> None:
        old: Mapping[int, Entry] = before.entries if before is not None else {}
        # under the same id the same: the index before holds its rules, so no other can have taken their places
        entries = {id(rule): old.get(id(rule)) or entry_of(rule) for rule in paced(rules)}
        gone = [entry for key, entry in old.items() if key not in entries]
        fresh = [entry for key, entry in entries.items() if key not in old]
        groups = (before.groups if before is not None else NOTHING).changed(gone, fresh, entries.values())
        self.groups: Groups = groups
        self.entries: dict[int, Entry] = entries
        self._by_key, self._by_tool, self._by_trait = groups.by_key, groups.by_tool, groups.by_trait
        self._by_program_glob, self._by_tool_glob = groups.program_globs, groups.tool_globs
        self._rest = groups.rest.get("")
        self._known = frozenset(groups.counts)
        self._deeper = deeper_words(rules)
        self._memo: dict[str, tuple[Rule, ...]] = {}
        self._shapes: dict[Shape, tuple[list[Rule], list[Step]]] = {}

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
            holds = settled(one, self.entries[id(one)].loose, seen) if isinstance(one, Rule) else None
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
            found += self._globbed(command.program)
        if command.touches or command.facts or command.wrappers:
            _gather(found, seen, map(self._by_trait.get, self._traits(command)))
        _gather(found, seen, (self._by_tool.get(seen.tool),))
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
