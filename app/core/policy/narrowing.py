"""Narrowing: many rules under one key of the index, found by what each asks for instead of being tried one by one.

What is found is never less than what matches: a rule stands under the literal beginning of its pattern, under its host,
its caller, or its flags; patterns that begin alike are asked through sets of RE2.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import re2

from app.core.policy.glob import argument_expression, expression_set, path_expression, path_stem, text_expression
from app.core.policy.match import Rule, Seen
from app.core.shell.places import absolute

SET_FROM: Final = 6
"""Fewer rules are cheaper one by one."""
SET_MAX: Final = 256
SET_CHARACTERS_MAX: Final = 1 << 15
"""RE2 answers 'none' for a set whose automaton has no memory, and says so to nobody: sets stay far below that."""
_BEGINNING_MIN: Final = 3
Table = Callable[[Seen], list[Rule]]
Entry = tuple[str, Rule]
"""An expression, and the rule that asks for it."""


class Sets:
    """Expressions asked all at once."""

    __slots__ = ("_alone", "_sets")

    def __init__(self, entries: list[Entry]) -> None:
        self._alone: list[Rule] = []
        self._sets: list[tuple[Any, list[Rule]]] = []
        for some in _portions(entries):
            if len(some) < SET_FROM:
                self._alone += [rule for _, rule in some]
            else:
                self._keep(some)

    def _keep(self, some: list[Entry]) -> None:
        try:
            self._sets.append((expression_set([expression for expression, _ in some]), [rule for _, rule in some]))
        except re2.error:
            self._alone += [rule for _, rule in some]

    def find(self, text: str) -> list[Rule]:
        """Return the rules whose expression matches, and perhaps others."""
        found = self._alone.copy()
        for one, rules in self._sets:
            found += [rules[i] for i in one.Match(text) or ()]
        return found


def _portions(entries: list[Entry]) -> Iterator[list[Entry]]:
    some: list[Entry] = []
    characters = 0
    for entry in entries:
        characters += len(entry[0])
        if some and (len(some) >= SET_MAX or characters > SET_CHARACTERS_MAX):
            yield some
            some, characters = [], len(entry[0])
        some.append(entry)
    yield some


class Heads:
    """Patterns by the literal text that they begin with."""

    __slots__ = ("_groups", "_lengths")

    def __init__(self, entries: Iterable[tuple[str, str, Rule]]) -> None:
        groups: dict[str, list[Entry]] = {}
        lengths: dict[str, set[int]] = {}
        for head, expression, rule in entries:
            groups.setdefault(head, []).append((expression, rule))
            if head:
                lengths.setdefault(head[0], set()).add(len(head))
        self._groups = {head: Sets(group) for head, group in groups.items()}
        self._lengths = {first: tuple(sorted(found)) for first, found in lengths.items()}

    def find(self, text: str) -> list[Rule]:
        """Return the rules of which a pattern may match."""
        groups = self._groups
        found = groups[""].find(text) if "" in groups else []
        for length in self._lengths.get(text[:1], ()):
            group = groups.get(text[:length])
            if group is not None:
                found += group.find(text)
        return found


class Flagged:
    """Rules by their flags; a strict rule also takes the beginning of a long name for it."""

    __slots__ = ("_by_flag", "_long")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_flag: dict[str, list[Rule]] = {}
        for rule in rules:
            for flag in flags_asked(rule):
                self._by_flag.setdefault(flag, []).append(rule)
        self._long = sorted(flag for flag in self._by_flag if flag.startswith("--"))

    def find(self, seen: Seen) -> list[Rule]:
        """Return the rules that ask for a flag which is given."""
        found: list[Rule] = []
        for flag in seen.line.flags:
            found += self._by_flag.get(flag, ())
            if len(flag) >= _BEGINNING_MIN and flag.startswith("--"):
                found += self._begun(flag)
        return found

    def _begun(self, flag: str) -> list[Rule]:
        found: list[Rule] = []
        for index in range(bisect_left(self._long, flag), len(self._long)):
            name = self._long[index]
            if not name.startswith(flag):
                break
            if name != flag:
                found += self._by_flag[name]
        return found


class Bucket:
    """Rules under one key: `rules` are asked each, those with flags where the flags are given, both once a shape; what
    looks at more than a shape has is found by `hits`, for each command. `everyone`: all of them.
    """

    __slots__ = ("_flagged", "_tables", "everyone", "rules")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.everyone = self.rules = list(rules)
        self._flagged: Flagged | None = None
        self._tables: list[Table] = []

    def add(self, rule: Rule) -> None:
        """Keep a rule."""
        if not self.rules or self.rules[-1] is not rule:
            self.rules.append(rule)

    def seal_in_order(self) -> None:
        """Build what many rules are found by, in the order in which they are stated."""
        self.everyone.sort(key=_order)
        if len(self.everyone) >= SET_FROM:  # of fewer, sealing makes the same
            self.seal()

    def seal(self, *, callers: bool = True) -> None:
        """Build the tables; `callers` False: all rules are of one caller."""
        by: dict[str, list[Rule]] = {}
        for rule in self.rules:
            by.setdefault(_asked_for(rule, callers=callers), []).append(rule)
        self.rules = []
        for kind, rules in by.items():
            if kind == "" or len(rules) < SET_FROM:
                self.rules += rules
            elif kind == "flags":
                self._flagged = Flagged(rules)
            else:
                self._tables.append(_TABLES[kind](rules))

    @property
    def looks_closer(self) -> bool:
        """Tell whether `hits` is to be asked for each command."""
        return bool(self._tables)

    def shaped(self, seen: Seen) -> list[Rule]:
        """Return the rules to be asked of all commands of a shape."""
        return self.rules if self._flagged is None else self.rules + self._flagged.find(seen)

    def hits(self, seen: Seen) -> list[Rule]:
        """Return those of the other rules that may match this command."""
        return [rule for table in self._tables for rule in table(seen)]


def _order(rule: Rule) -> int:
    return rule.order


def flags_asked(rule: Rule) -> Iterable[str]:
    """Return flags of which a command has at least one where the rule matches; none where it may have none."""
    return rule.flags or (rule.all_flags[0].split("|") if rule.all_flags else ())


def _asked_for(rule: Rule, *, callers: bool) -> str:
    """What to find a rule by; '' where only asking tells."""
    if callers and rule.agents and not any("*" in glob for glob in rule.agents):
        return "callers"
    if rule.args is not None:
        return "arguments"
    if rule.paths is not None:
        return "paths"
    if rule.patterns:
        return _patterned(rule)
    return "flags" if rule.commanded and flags_asked(rule) else ""


def _patterned(rule: Rule) -> str:
    if all(pattern.text for pattern in rule.patterns):
        return "texts"
    if all(pattern.host for pattern in rule.patterns):
        return "hosts"
    return "paths" if all(pattern.path is not None for pattern in rule.patterns) else ""


def _callers(rules: list[Rule]) -> Table:
    by: dict[str, Bucket] = {}
    for rule in rules:
        for agent in rule.agents:
            by.setdefault(agent, Bucket()).add(rule)
    for bucket in by.values():
        bucket.seal(callers=False)

    def find(seen: Seen) -> list[Rule]:
        bucket = by.get(seen.agent)
        return [] if bucket is None else bucket.shaped(seen) + bucket.hits(seen)

    return find


def _texts(rules: list[Rule]) -> Table:
    heads = Heads((_text_head(p.text), text_expression(p.text), rule) for rule in rules for p in rule.patterns)
    return lambda seen: heads.find(seen.text)


def _text_head(pattern: str) -> str:
    ends = len(pattern) > 2 and pattern.endswith((":*", " *"))
    return (pattern[:-2] if ends else pattern).partition("*")[0]


def _arguments(rules: list[Rule]) -> Table:
    heads = Heads(
        (glob.partition("*")[0], argument_expression(glob), rule) for rule in rules for glob in rule.arg_globs
    )
    return lambda seen: [rule for word in seen.command.words[1:] for rule in heads.find(word)]


def _paths(rules: list[Rule]) -> Table:
    heads = Heads((path_stem(glob), path_expression(glob), rule) for rule in rules for glob in rule.path_globs)
    return lambda seen: [rule for path in _touched(seen) for rule in heads.find(path)]


def _touched(seen: Seen) -> Iterator[str]:
    home = absolute(seen.project, "") + "/" if seen.project else ""
    for path in {touch.path for touch in seen.command.touches}:
        full = absolute(path, seen.cwd)
        yield full
        if home and full.startswith(home):
            yield full[len(home) :]


def _hosts(rules: list[Rule]) -> Table:
    by: dict[str, list[Rule]] = {}
    for rule in rules:
        for pattern in rule.patterns:
            by.setdefault(pattern.host, []).append(rule)

    def find(seen: Seen) -> list[Rule]:
        host, found = seen.host, [*by.get("*", ())]
        found += by.get(host, ())
        for at, character in enumerate(host):
            if character == ".":
                found += by.get(f"*{host[at:]}", ())
        return found

    return find


_TABLES: Final[dict[str, Callable[[list[Rule]], Table]]] = {
    "callers": _callers,
    "texts": _texts,
    "arguments": _arguments,
    "paths": _paths,
    "hosts": _hosts,
}
