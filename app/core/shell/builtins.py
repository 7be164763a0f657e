"""Builtins that change what later commands mean: folders, variables, aliases, traps, eval.

A step returns None where the command is to be kept like any other one.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.form import UNKNOWN, Command, marks_of, unknown
from app.core.shell.places import absolute
from app.core.shell.reading import Frame, Reading

Span = tuple[int, int]
_ITEMS_MAX: Final = 256
_AMID: Final = frozenset(("DEBUG", "ERR", "RETURN", "SIGDEBUG"))
"""What a trap on these changes is changed for the commands that follow."""


def _cd(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    target = next((word for word in words[1:] if not word.startswith("-") or word == "-"), frame.scope.value("HOME"))
    if words[0] == "popd" or target == "-" or target.startswith("+"):
        frame.scope.cwd = UNKNOWN
    elif target != ".":
        frame.scope.cwd = absolute(target, frame.scope.cwd)
    return None


def _eval(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    from app.core.shell.launch import shell_text

    return shell_text(reading, " ".join(words[1:]), frame._replace(wrappers=(*frame.wrappers, "eval")), words, span)


def _trap(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    operands = [word for word in words[1:] if not word.startswith("-")]
    if not operands:
        return None
    before = frame.scope.copy()
    scope = before if _AMID.isdisjoint(operands[1:]) else frame.scope
    inner = frame._replace(scope=scope, wrappers=(*frame.wrappers, "trap"), base=span, depth=frame.depth + 1)
    if marks_of(operands[0]):
        reading.emit(
            Command("trap", tuple(words), frame.wrappers, span, frozenset(("unknown-code",)), (), unresolved=True)
        )
    output = reading.run_text(reading, operands[0], inner)
    if scope is frame.scope and not scope.join(before):
        reading.doubt("conditional-function")
    return output


def _alias(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        name, sign, text = word.partition("=")
        if sign:
            frame.scope.aliases[name] = text
    return ""


def _unalias(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        frame.scope.aliases.pop(word, None)
    return ""


def _export(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        name, sign, value = word.partition("=")
        if sign and name.isidentifier():
            frame.scope.keep_local(name)
            frame.scope.assign(name, value)
    return ""


def _read(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    names = _names(words)
    text = _record(words, frame.stdin or UNKNOWN)
    if frame.stdin is None or marks_of(frame.stdin):
        text = unknown(text, frame.stdin or UNKNOWN)
    if "-a" in words and words[-1].isidentifier():
        frame.scope.arrays[words[-1]] = _fields(text, frame.scope.value("IFS"), _ITEMS_MAX) or [UNKNOWN]
        return ""
    fields = _fields(text, frame.scope.value("IFS"), len(names))
    for index, name in enumerate(names):
        stem = frame.stdin if frame.stdin and marks_of(frame.stdin) == UNKNOWN and len(names) == 1 else None
        frame.scope.assign(
            name, stem or (fields[index] if index < len(fields) else (unknown(text) if marks_of(text) else ""))
        )
    return ""


def _fields(text: str, separators: str, most: int) -> list[str]:
    """Cut a record at IFS into `most` fields."""
    if separators == " \t\n":
        return text.split(None, most - 1)
    if not separators.isascii():
        return [unknown(text)] * most
    return re.split(f"[{re.escape(separators)}]", text, maxsplit=most - 1) if separators else [text]


def _record(words: list[str], text: str) -> str:
    """What `read` takes of its input: a line, or what `-d` says; without `-r` a backslash quotes what is behind it."""
    ends = "\n"
    for word, following in pairwise([*words, "\n"]):
        found = re.fullmatch(r"-[a-zA-Z]*?d(.*)", word, re.DOTALL)
        if found is not None:
            ends = (found[1] or following)[:1]
    raw = any(re.match(r"-[a-zA-Z]*r", word) for word in words)
    text = text if raw or "\\" not in text else re.sub(r"\\(\n?)(.?)", r"\2", text)
    return text.partition(ends)[0] if ends else text


def _names(words: list[str]) -> list[str]:
    names, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word[-1:] in set("dinNptu")
        elif word.isidentifier():
            names.append(word)
    return names or ["REPLY"]


def _mapfile(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    text = frame.stdin or UNKNOWN
    name = words[-1] if len(words) > 1 and words[-1].isidentifier() else "MAPFILE"
    frame.scope.arrays[name] = [unknown(text)] if marks_of(text) else text.splitlines()
    return ""


def _set(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    if len(words) > 1 and (words[1] == "--" or not words[1].startswith(("-", "+"))):
        frame.scope.positional = words[2:] if words[1] == "--" else words[1:]
    return ""


def _shift(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    count = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 1
    if frame.scope.positional is not None:
        frame.scope.positional = frame.scope.positional[count:]
    return ""


def _getopts(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    if len(words) > 2:
        frame.scope.assign(words[2], UNKNOWN)
    frame.scope.assign("OPTARG", UNKNOWN)
    return ""


def _quiet(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    return ""


BUILTINS: Final[dict[str, Callable[[Reading, list[str], Frame, Span], str | None]]] = {
    "cd": _cd,
    "pushd": _cd,
    "popd": _cd,
    "eval": _eval,
    "trap": _trap,
    "alias": _alias,
    "unalias": _unalias,
    "export": _export,
    "declare": _export,
    "typeset": _export,
    "local": _export,
    "readonly": _export,
    "read": _read,
    "mapfile": _mapfile,
    "readarray": _mapfile,
    "set": _set,
    "shift": _shift,
    "getopts": _getopts,
    "return": _quiet,
    "break": _quiet,
    "continue": _quiet,
    "wait": _quiet,
    "unset": _quiet,
    "exit": _quiet,
    "let": _quiet,
}
