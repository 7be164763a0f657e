"""The shape of a command: all that most rules look at, in one key, so that they are asked once a shape.

A shape has no operand in it, only their count and the classes of what they touch. A rule that looks at more (a path, an
argument, the text, the caller) is asked anew for each command, unless what it asks of the shape fails already. Where a
word is not known, approvals look at all words: such a command has no shape.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from app.core.policy.match import Rule, Seen, matches
from app.core.policy.pace import paced

Shape = tuple[object, ...]


def shape_of(seen: Seen, known: AbstractSet[str], deeper: AbstractSet[str]) -> Shape | None:
    """Return the key of what rules see in common; `known` are the words that any rule asks for as sub-commands,
    `deeper` those that any asks for behind whatever sub-command.
    """
    command, line = seen.command, seen.line
    if command.unresolved:
        return None
    words, positions = command.words, line.positions
    first = positions[0] if positions and positions[0] in known else ""
    second = words[1] if len(words) > 1 and words[1] in known else ""
    return (
        seen.tool,
        command.program,
        first,
        second,
        positions[1] if len(positions) > 1 and positions[1] in deeper else "",
        len(positions),
        line.unsure,
        tuple(line.flags),
        command.facts,
        command.wrappers,
        tuple([touch[::2] for touch in command.touches]),
    )


def words_of(rule: Rule, keys: Sequence[str]) -> frozenset[str]:
    """Return every word that a rule, or one of its keys in the index, asks for behind the program."""
    words = {*rule.first_words, *rule.unless, *[sub[0] for sub in rule.subcommands]}
    rests = {key.partition(" ")[2] for key in keys}
    while rests:
        words |= rests
        rests = {rest.partition(" ")[2] for rest in rests} - {""}
    return frozenset(words - {""})


def deeper_words(rules: Sequence[Rule]) -> frozenset[str]:
    """Return every word that a rule asks for behind a first word which it leaves open."""
    return frozenset(sub[1] for rule in paced(rules) for sub in rule.subcommands if sub[0] == "*")


def loosened(rule: Rule) -> Rule | None:
    """Return what a rule asks of the shape, which is never more than the rule asks; None where that is the rule."""
    if _asks_no_more(rule) and not rule.subcommands:
        return None
    firsts = rule.first_words | {sub[0] for sub in rule.subcommands}
    return msgspec.structs.replace(
        rule,
        patterns=(),
        text=None,
        args=None,
        paths=None,
        agents=(),
        sessions=(),
        cwds=(),
        first_words=frozenset() if "*" in firsts else firsts,
        subcommands=(),
    )


def settled(rule: Rule, loose: Rule | None, seen: Seen) -> bool | None:
    """Tell what a rule says of every command of this one's shape; None where the shape does not tell."""
    if loose is None:
        return matches(rule, seen)
    if not matches(loose, seen):
        return False
    positions = seen.line.positions
    by_first = bool(positions) and positions[0] in rule.first_words
    return True if by_first and _asks_no_more(rule) else None


def _asks_no_more(rule: Rule) -> bool:
    if rule.args is not None or rule.paths is not None or rule.text is not None:
        return False
    if rule.agents or rule.sessions or rule.cwds:
        return False
    return not any(pattern.text or pattern.host or pattern.path is not None for pattern in rule.patterns)
