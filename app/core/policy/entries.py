"""Where rules are entered in the index. Of a changed policy only what changed is entered anew: a reload that built all
of it took 7 ms of the interpreter in each process that judges, and calls waited for it.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from app.core.policy.glob import argument_expression
from app.core.policy.match import Rule
from app.core.policy.narrowing import Bucket, Heads
from app.core.policy.pace import paced
from app.core.policy.shape import loosened, words_of

ANY: Final = "* "
"""The key of rules for every program that name no sub-command."""
Group = dict[str, Bucket]
Keyed = list[tuple[tuple[str, ...], Rule]]


class Entry(NamedTuple):
    """A rule by the keys that it stands under in each group, its globs of programs and tools, what it asks of a shape,
    and the words that it asks for behind a program. `rest`: one empty key where it stands nowhere else.
    """

    rule: Rule
    loose: Rule | None
    words: frozenset[str]
    keys: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    program_globs: tuple[str, ...] = ()
    tool_globs: tuple[str, ...] = ()


class Groups(NamedTuple):
    """What the index looks rules up in; `rest` has one bucket at most. `counts`: how many rules ask for a word."""

    by_key: Group
    by_tool: Group
    by_trait: Group
    rest: Group
    counts: dict[str, int]
    program_globs: Heads
    tool_globs: Heads

    def changed(self, gone: Sequence[Entry], fresh: Sequence[Entry], entries: Iterable[Entry]) -> "Groups":
        """Return the groups without the entries that are gone and with those that are fresh; `entries` are then all."""
        return Groups(
            _changed(self.by_key, [(e.keys, e.rule) for e in gone], [(e.keys, e.rule) for e in fresh]),
            _changed(self.by_tool, [(e.tools, e.rule) for e in gone], [(e.tools, e.rule) for e in fresh]),
            _changed(self.by_trait, [(e.traits, e.rule) for e in gone], [(e.traits, e.rule) for e in fresh]),
            _changed(self.rest, [(e.rest, e.rule) for e in gone], [(e.rest, e.rule) for e in fresh]),
            _counted(self.counts, gone, fresh),
            *self._globs(entries if any(e.program_globs or e.tool_globs for e in (*gone, *fresh)) else None),
        )

    def _globs(self, entries: Iterable[Entry] | None) -> tuple[Heads, Heads]:
        if entries is None:
            return self.program_globs, self.tool_globs
        those = [entry for entry in entries if entry.program_globs or entry.tool_globs]
        programs = [(glob, entry.rule) for entry in those for glob in entry.program_globs]
        return _heads(programs), _heads([(glob, entry.rule) for entry in those for glob in entry.tool_globs])


NOTHING: Final = Groups({}, {}, {}, {}, {}, Heads(()), Heads(()))


def entry_of(rule: Rule) -> Entry:
    """Return where a rule stands."""
    bare = Entry(rule, loosened(rule), words_of(rule, ()))
    if rule.facts:
        return bare._replace(traits=tuple(rule.facts))
    if rule.programs or rule.program_globs:
        keys = _keys(rule)
        globs = tuple([glob for glob in rule.program_globs if glob != "*"])
        return bare._replace(keys=keys, program_globs=globs, words=words_of(rule, keys))
    if rule.patterns:
        return _patterned(bare)
    if rule.tools:
        return bare._replace(tools=tuple(rule.tools))
    if rule.touches and rule.where:
        return bare._replace(traits=tuple(rule.where))
    return bare._replace(traits=tuple(rule.wrappers)) if rule.wrappers else bare._replace(rest=("",))


def _patterned(bare: Entry) -> Entry:
    rule = bare.rule
    keys = tuple([_text_key(pattern.text) for pattern in rule.patterns if pattern.text])
    plain = [pattern for pattern in rule.patterns if not pattern.text and not pattern.tool_glob]
    found = tuple([key for key in keys if key])
    return bare._replace(
        keys=found,
        words=words_of(rule, found),
        tool_globs=tuple([pattern.tool_glob for pattern in rule.patterns if pattern.tool_glob and not pattern.text]),
        tools=tuple([tool for pattern in plain if pattern.path is None for tool in pattern.tools]),
        rest=("",) if len(found) < len(keys) or any(pattern.path is not None for pattern in plain) else (),
    )


def _changed(before: Group, gone: Keyed, fresh: Keyed) -> Group:
    # buckets that have neither are shared with the group before
    found = dict(before)
    own = _taken_out(found, gone)
    for keys, rule in paced(fresh):
        # one bucket for all keys of a rule that has them for itself: nine tenths of 9,000, and half the time of a load
        alone = Bucket((rule,))
        for key in keys:
            known = found.get(key)
            if known is None:
                found[key] = alone
            elif key in own:
                known.add(rule)
            elif known.everyone[-1] is not rule:
                found[key] = Bucket((*known.everyone, rule))
                own.add(key)
    for key in paced(own):
        found[key].seal_in_order()
    return found


def _taken_out(group: Group, gone: Keyed) -> set[str]:
    """Take rules out of a group; return the keys whose buckets are new."""
    lost, own = {id(rule) for _, rule in gone}, set[str]()
    for keys, _ in paced(gone):
        for key in keys:
            known = group.get(key)
            left = [rule for rule in known.everyone if id(rule) not in lost] if known is not None else []
            if left:
                group[key] = Bucket(left)
                own.add(key)
            else:
                group.pop(key, None)
    return own


def _counted(before: dict[str, int], gone: Iterable[Entry], fresh: Iterable[Entry]) -> dict[str, int]:
    found = dict(before)
    for entry in paced(fresh):
        for word in entry.words:
            found[word] = found.get(word, 0) + 1
    for entry in paced(gone):
        for word in entry.words:
            found[word] -= 1
            if not found[word]:
                del found[word]
    return found


def _heads(globs: list[tuple[str, Rule]]) -> Heads:
    return Heads((glob.partition("*")[0], argument_expression(glob), rule) for glob, rule in globs)


def _keys(rule: Rule) -> tuple[str, ...]:
    """`program` or `program sub`; `*` stands for every program."""
    programs = [*rule.programs, *[glob for glob in rule.program_globs if glob == "*"]]
    firsts = {*rule.first_words, *[sub[0] if sub[0] != "*" else " ".join(sub[:2]) for sub in rule.subcommands]}
    if firsts:
        return tuple([f"{program} {first}" for program in programs for first in firsts])
    if "*" in programs:
        return (*rule.programs, ANY)
    return tuple(programs)


def _text_key(pattern: str) -> str:
    """The key under which a text pattern is found: its program, and its first argument where that is literal too."""
    words = pattern.split(" ")
    if "*" in words[0]:
        return words[0][:-2] if words[0].endswith(":*") and "*" not in words[0][:-2] and len(words) == 1 else ""
    if len(words) > 2 and "*" not in words[1] and words[1]:
        return f"{words[0]} {words[1]}"
    return words[0]
