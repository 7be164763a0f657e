"""Rules of other tools as rules of ours: what cannot be said here is named, never guessed.

A translated approval says no more than the tool's own: it goes by the words of one simple command, with no open word,
and writes, changes and deletes nothing outside project and temporary folders.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid
from app.core.policy.policy import compile_policy
from app.core.policy.source import RuleFile, Tier

KEEPS_TO: Final = ["project", "temp", "null"]
ID_CHARACTERS: Final = 48
ABOUT: Final = "Imported from"
_WORDS: Final = {Verdict.APPROVE: "allow", Verdict.ESCALATE: "ask", Verdict.BLOCK: "deny"}


class Entry(msgspec.Struct, frozen=True):
    """One rule of another tool: as it stands there and in which line, what it decides, and ours where it has one."""

    text: str
    line: int
    decide: Verdict
    match: tuple[str, ...] = ()
    reason: str = ""
    examples: tuple[str, ...] = ()
    counter_examples: tuple[str, ...] = ()
    keeps_to: bool = False
    why_not: str = ""


class Untranslated(msgspec.Struct, frozen=True):
    """An entry that has no rule of ours, and why."""

    entry: str
    line: int
    why: str


class Translation(msgspec.Struct, frozen=True):
    """Rules as a rule file states them, and the entries that are none."""

    rules: tuple[dict[str, Any], ...]
    untranslated: tuple[Untranslated, ...]


def translation(entries: Sequence[Entry], name: str) -> Translation:
    """Return the rules of entries, each with an id that begins with `name`, and each tried by itself."""
    rules: dict[str, dict[str, Any]] = {}
    left: list[Untranslated] = []
    for entry in entries:
        if entry.why_not:
            left.append(Untranslated(entry.text, entry.line, entry.why_not))
            continue
        rule = _rule(entry, _free_id(entry, name, rules))
        try:
            compile_policy([RuleFile("rule", Tier.USER, [rule], [1], b"")])
        except PolicyInvalid as error:
            left.append(Untranslated(entry.text, entry.line, _why(str(error))))
            continue
        rules[rule["id"]] = rule
    return Translation(tuple(rules.values()), tuple(left))


def _why(refused: str) -> str:
    if "does not match its example" in refused:
        return "no command reads like this: wrappers (sudo, env, xargs), shell words and standard folders are taken off"
    return refused.partition(": ")[2].rpartition("; ")[0]


def file_text(rules: Sequence[dict[str, Any]], source: str) -> bytes:
    """Return a rule file: JSON's strings and lists are YAML's."""
    lines = [f"about: {_json(f'{ABOUT} {source}. Importing again replaces this file.')}", "rules:"]
    for rule in rules:
        fields = [f"{field}: {_json(value)}" for field, value in rule.items()]
        lines += [f"  {'-' if number == 0 else ' '} {field}" for number, field in enumerate(fields)]
    if not rules:
        lines[-1] = "rules: []"
    return ("\n".join(lines) + "\n").encode()


def _rule(entry: Entry, name: str) -> dict[str, Any]:
    examples = {"match": list(entry.examples), "no_match": list(entry.counter_examples)}
    rule: dict[str, Any] = {"id": name, "match": list(entry.match), "decide": entry.decide.value}
    rule["reason"] = entry.reason
    if entry.decide is not Verdict.APPROVE:
        rule["remedy"] = "Ask the person whose setting it is, or do it in another way."
    if entry.keeps_to:
        rule["keeps_to"] = KEEPS_TO
    return rule | ({"examples": examples} if any(examples.values()) else {})


def _free_id(entry: Entry, name: str, taken: dict[str, Any]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(entry.match[:1]).lower()).strip("-")[:ID_CHARACTERS].rstrip("-")
    first = f"{name}-{_WORDS[entry.decide]}-{words or 'rule'}"
    return next(
        one
        for number in range(1, len(taken) + 2)
        if (one := first if number == 1 else f"{first}-{number}") not in taken
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
