"""Searches through a whole project: `grep -r` there reads hidden files too, and with them credentials.

A search for an ordinary word is everyday work. It is noted only where it looks for what credentials are called, or
takes every line, and nothing keeps it to ordinary files.
"""

import re
from itertools import pairwise
from typing import Final

from app.core.shell.form import Touch
from app.core.shell.operands import operands_of
from app.core.shell.places import classify
from app.core.shell.reading import Frame

SEARCHERS: Final = frozenset(("grep", "rg", "ag", "ack"))
_NAMED: Final = re.compile(r"TOKEN|SECRET|PASSW|PASSPH|CREDENTIAL|API.{0,3}KEY|PRIVATE.{0,3}KEY|AKIA", re.IGNORECASE)
_EVERYWHERE: Final = {
    "grep": re.compile(r"-[a-zA-Z]*[rR]|--(?:dereference-)?rec|--directories=rec"),
    "rg": re.compile(r"-[a-zA-Z]*[u.]|--hid|--no-ig|--unre"),
    "ag": re.compile(r"-[a-zA-Z]*[ua]|--hid|--unre|--all-t"),
    "ack": re.compile(r""),
}
_CLASSES: Final = re.compile(r"\[\^?\]?[^\]]*\]|\{\d*,?\d*\}|\\[wWdDsSbB]")
"""What of an expression stands for any letter, and how often."""
FOUND: Final = frozenset(("-name", "-iname"))
_NOT: Final = frozenset(("!", "-not"))
OTHERS: Final = frozenset(("!", "-not", "-o", "-or", ","))
_SIGNS: Final = frozenset("*?[")
_GLOBBED: Final = frozenset(("--include", "-g", "--glob", "--iglob", "-G"))


def searched(program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> set[str]:
    """Return `searches-secrets` for a search that would show credentials of the project, else nothing."""
    everywhere = _EVERYWHERE[program]
    globs = _globs(words)
    if any("secret" in classify(glob, frame.scope.cwd, frame.scope.project) for glob in globs):
        return {"searches-secrets"}  # what is named is looked into, hidden or not
    if not any(everywhere.match(word) for word in words[1:]):
        return set()
    if globs or not _whole(touches, words, program):
        return set()
    patterns = [word for word in words[1:] if not word.startswith("-")][:1]
    patterns += [word for word in words[1:] if word.startswith(("-e", "--regexp"))]
    return {"searches-secrets"} if any(_takes_credentials(pattern) for pattern in patterns) else set()


def name_found(words: list[str], start: str, frame: Frame) -> str:
    """Return what the paths that `find` prints end with, '' where that is not known: the name that it was told, of
    several the one that credentials have. What it leaves out is not found.
    """
    names = [_as_compared(*two) for two in pairwise(words) if two[0] in FOUND and "/" not in two[1]]
    threes = list(zip(words, words[1:], words[2:], strict=False))
    left_out = {_as_compared(test, name) for before, test, name in threes if before in _NOT}
    left_out |= {_as_compared(test, name) for test, name, then in threes if then == "-prune"}
    names = [name for name in names if name not in left_out]
    secret = [spelled for spelled in map(_spelled, names) if _is_credential(spelled, start, frame)]
    if secret:
        return secret[0]
    return names[0] if len(names) == 1 and not OTHERS.intersection(words) and not _SIGNS.intersection(names[0]) else ""


def _spelled(name: str) -> str:
    """Return what a glob spells out: `.env*` and `*.pem` say what they are for, `.*` and `.git*` mean much else."""
    return "".join([sign for sign in name if sign not in "*?[]"])


def _is_credential(name: str, start: str, frame: Frame) -> bool:
    return "secret" in classify(f"{start}/{name}", frame.scope.cwd, frame.scope.project)


def _as_compared(test: str, name: str) -> str:
    return name.lower() if test == "-iname" else name


def _takes_credentials(pattern: str) -> bool:
    plain = _CLASSES.sub("", pattern)
    return _NAMED.search(pattern) is not None or not any(letter.isalnum() for letter in plain)


def _globs(words: list[str]) -> list[str]:
    """What the search is kept to; a glob that leaves files out (`!`) keeps it to nothing."""
    found = [word.partition("=")[2] for word in words if "=" in word and word.partition("=")[0] in _GLOBBED]
    found += [words[index + 1] for index, word in enumerate(words[:-1]) if word in _GLOBBED]
    return [glob for glob in found if not glob.startswith("!")]


def _whole(touches: tuple[Touch, ...], words: list[str], program: str) -> bool:
    if any("project-root" in touch.where for touch in touches):
        return True
    return len(operands_of(program, words)) < 2
