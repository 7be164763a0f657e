"""Make's language as far as everyday files use it: variables, functions of text, prerequisites, recipes.

Of conditions both ways are read. What includes other files or builds makefile text while it runs is a doubt.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from app.core.shell.form import UNKNOWN, marks_of
from app.core.shell.names import SHELLS, program_of

_EXPANSIONS_MAX: Final = 2000
_NAMES_MAX: Final = 800
"""Targets, and what they need, of one file."""
_ASSIGNS: Final = re.compile(r"(?:(?:export|override|private)\s+)*([\w.-]+)\s*(\?=|:{1,3}=|\+=|!=|=)\s*(.*)")
_RULE: Final = re.compile(r"([^:=#]+)::?(?!=)\s*([^;]*)(?:;(.*))?")
_SKIPPED: Final = re.compile(r"(?:ifeq|ifneq|ifdef|ifndef|else|endif|export|unexport|vpath|#)(?:[\s(].*)?$|#")
_STEERS: Final = re.compile(r"(?:-|s)?include\s|define\s|load\s|undefine\s")
_DOUBTED: Final = frozenset(("eval", "call", "file", "guile", "load", "foreach", "value"))
_FUNCTION: Final = re.compile(r"([a-z-]+)[ \t]+(.*)", re.DOTALL)
_KNOWN: Final = {"MAKE": "make", "CC": "cc", "CXX": "g++", "AR": "ar", "RM": "rm -f", "HOME": "~", "SHELL": "sh"}
_GLOB: Final = frozenset("*?[")
_LOOKS: Final = frozenset(("shell", "abspath", "realpath", "origin", "flavor", "error"))
_AUTOMATIC: Final = frozenset("@<^+?*%|")


class Rule:
    """Targets, what they need, and the recipe's lines as they stand."""

    def __init__(self, targets: list[str], needs: list[str], recipe: list[str]) -> None:
        self.targets, self.needs, self.recipe = targets, needs, recipe

    def own_needs(self) -> list[str]:
        """Return what the targets need; what stands behind `.PHONY:` is needed by nobody."""
        return [] if self.targets[0].startswith(".") else self.needs

    def is_general(self) -> bool:
        """Tell whether it may make targets that it does not name."""
        return any("%" in one or one.startswith(".") or marks_of(one) for one in self.targets)


class Makefile:
    """One file as read; `doubt` where it cannot be understood, `shell` are texts that run while make reads it."""

    def __init__(self, text: str, given: dict[str, str]) -> None:
        self.doubt = ""
        self.shell: list[str] = []
        self.rules: list[Rule] = []
        self._given = given
        self._variables: dict[str, str] = {}
        self._expansions = 0
        self._loose = False
        self._names = 0
        self.one_shell = re.search(r"^\.ONESHELL\s*:", text, re.MULTILINE) is not None
        for line in text.replace("\\\n", " ").split("\n"):
            self._read(line)
        for value in self._variables.values():
            self.expand(value)

    def _read(self, line: str) -> None:
        bare = line.strip()
        if line.startswith("\t") and self.rules:
            self.rules[-1].recipe.append(bare)
        elif not bare or (_SKIPPED.match(bare) and "=" not in bare):
            return
        elif _STEERS.match(bare):
            self.doubt = "makefile-runs-text"
        elif (assigned := _ASSIGNS.fullmatch(bare)) is not None:
            self._assign(assigned[1], assigned[2], assigned[3].partition(" #")[0].rstrip())
        elif (rule := _RULE.fullmatch(bare.partition(" #")[0])) is not None:
            self._rule(rule)
        elif not _SKIPPED.match(bare):
            self.expand(bare)

    def _rule(self, rule: re.Match[str]) -> None:
        own = _ASSIGNS.fullmatch(rule[2].strip())
        if own is not None:
            return self._assign(own[1], own[2], own[3])
        targets, needs = self.expand(rule[1]).split(), self.expand(rule[2]).replace("|", " ").split()
        self._names += len(targets) + len(needs)
        if self._names > _NAMES_MAX:
            self.doubt = "too-complex"
        elif targets:
            self.rules.append(Rule(targets, needs, [rule[3].strip()] if rule[3] else []))
        return None

    def _assign(self, name: str, sign: str, value: str) -> None:
        if name in {"SHELL", ".SHELLFLAGS", "MAKEFLAGS"}:
            known = program_of(value.partition(" ")[0]) in SHELLS if name == "SHELL" else value.startswith("-")
            if not known or "eval" in value or "$" in value:
                self.doubt = "makefile-runs-text"
            return
        if sign == "!=":
            self.shell.append(self.expand(value))
            value = UNKNOWN
        before = self._variables.get(name)
        if sign == "+=" and before is not None:
            value = f"{before} {value}"
        elif before is not None and before != value and sign != "?=":
            self.expand(before)
            value = UNKNOWN
        elif before is not None:
            return
        self._variables[name] = value

    def expand(self, text: str, names: Mapping[str, str] = {}, depth: int = 0) -> str:
        """Return a text with make's references replaced, automatic ones by `names`; what only a run would show is
        UNKNOWN.
        """
        if "$" not in text:
            return text
        self._expansions += 1
        if self._expansions > _EXPANSIONS_MAX or depth > 16 or len(text) > 8192:
            self.doubt = "too-complex"
            return UNKNOWN
        found, at = [], 0
        while (sign := text.find("$", at)) >= 0 and sign + 1 < len(text):
            end = _end(text, sign + 1)
            found += [text[at:sign], self._reference(text[sign + 1 : end], names, depth)]
            at = end
        return "".join([*found, text[at:]])

    def _reference(self, reference: str, names: Mapping[str, str], depth: int) -> str:
        if reference == "$":
            return "$"
        name = reference[1:-1] if reference[0] in "({" else reference
        if name[:1] in _AUTOMATIC:
            return names.get(name, UNKNOWN)
        function = _FUNCTION.fullmatch(name)
        if function is not None:
            return self._function(function[1], function[2], names, depth)
        plain = name.partition(":")[0] if ":" in name else name
        value = self._value(self.expand(plain, names, depth + 1), names, depth)
        if plain == name or not value:
            return value
        return UNKNOWN if marks_of(value) else _replaced(name.partition(":")[2], value)

    def _value(self, name: str, names: Mapping[str, str], depth: int) -> str:
        if name in self._given:
            return self._given[name]
        if name not in self._variables:
            return _KNOWN.get(name, "")
        return self.expand(self._variables[name], names, depth + 1)

    def _function(self, name: str, arguments: str, names: Mapping[str, str], depth: int) -> str:
        if name in _DOUBTED:
            self.doubt = "makefile-runs-text"
        inner = self.expand(arguments, names, depth + 1)
        if name == "shell":
            self.shell.append(inner)
        if name in {"info", "warning"}:
            return ""
        known = None if marks_of(inner) else _applied(name, inner.split(","))
        # what names files that only a run would show cannot name a target that is none; words that stand here may
        self._loose = self._loose or (known is None and name not in _LOOKS and not marks_of(inner))
        return UNKNOWN if known is None else known

    def needed(self, goals: Sequence[str]) -> list[tuple[str, Rule]]:
        """Return target and rule of everything that may run for these goals; none are the file's first."""
        first = self._variables.get(".DEFAULT_GOAL") or next(
            (one for rule in self.rules for one in rule.targets if not one.startswith(".") and "%" not in one), ""
        )
        if self._loose:
            return [(target, rule) for rule in self.rules for target in rule.targets]
        waiting, found, seen = list(goals) or [self.expand(first)], [], set[str]()
        for rule in self.rules:
            if rule.is_general():
                found.append(("", rule))
                waiting += rule.own_needs()
        while waiting:
            target = waiting.pop()
            if marks_of(target) or not _GLOB.isdisjoint(target):
                target = UNKNOWN
            if target not in seen:
                seen.add(target)
                rules = self._makers(target)
                found += [("" if target == UNKNOWN else target, rule) for rule in rules]
                waiting += [need for rule in rules for need in rule.own_needs()]
        return found

    def _makers(self, target: str) -> list[Rule]:
        """Return the rules of a target; of one that only a run would show, all whose targets may be files."""
        if target != UNKNOWN:
            return [rule for rule in self.rules if target in rule.targets]
        phony = {one for rule in self.rules if ".PHONY" in rule.targets for one in rule.needs}
        return [rule for rule in self.rules if phony.isdisjoint(rule.targets)]


def _applied(name: str, arguments: list[str]) -> str | None:
    """Return what a function of make says of known words, None where that is not known here."""
    words = arguments[-1].split()
    if name in {"strip", "sort", "wildcard"}:  # what a glob stands for, the shell of a recipe finds as well
        return " ".join(words)
    if name in {"addprefix", "addsuffix"} and len(arguments) == 2:
        return " ".join([arguments[0] + word if name == "addprefix" else word + arguments[0] for word in words])
    if name == "patsubst" and len(arguments) == 3:
        return _replaced(f"{arguments[0].strip()}={arguments[1].strip()}", arguments[2])
    return None


def _replaced(rule: str, text: str) -> str:
    """Apply `a=b`, or `x%y=z%w`, to each word of a text."""
    old, _, new = rule.partition("=")
    if "%" not in old:
        old, new = f"%{old}", f"%{new}"
    before, after = old.split("%", 1)
    found = []
    for word in text.split():
        fits = word.startswith(before) and word.endswith(after) and len(word) >= len(before) + len(after)
        found.append(new.replace("%", word[len(before) : len(word) - len(after)], 1) if fits else word)
    return " ".join(found)


def _end(text: str, start: int) -> int:
    """Return where the reference ends that begins at `start`, behind its dollar sign."""
    if text[start] not in "({":
        return start + 1
    opens, closes = text[start], ")" if text[start] == "(" else "}"
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == opens) - (text[at] == closes)
        if depth == 0:
            return at + 1
    return len(text)
