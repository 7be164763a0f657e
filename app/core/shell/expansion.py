"""Parameter expansion: `${name op word}` over a scope."""

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Final

from app.core.shell.form import NUMBER, UNKNOWN, marks_of, unknown
from app.core.shell.scope import Scope

_FORM: Final = re.compile(r"(?P<mark>[#!]?)(?P<name>\w+|[@*#?$!_-])(?:\[(?P<index>[^\]]*)\])?(?P<rest>.*)\Z", re.DOTALL)
_DEFAULT: Final = re.compile(r":?[-=+?]")
_OFFSET: Final = re.compile(r":\s*(-?\d+|\(-\d+\))(?::(-?\d+))?\Z")


def expand(inner: str, scope: Scope, resolve: Callable[[str], str]) -> tuple[str, str]:
    """Return the value of `${inner}` and a doubt ('' for none); `resolve` reads a nested word."""
    found = _FORM.match(inner)
    if found is None:
        return UNKNOWN, "expansion"
    mark, name, rest = found["mark"], found["name"], found["rest"]
    if mark == "#":
        return str(len(scope.value(name))) if not marks_of(scope.value(name)) else NUMBER, ""
    if mark == "!":
        pointed = scope.value(name)
        if name == "#" and scope.positional is None:
            return UNKNOWN, ""
        return (UNKNOWN, "") if marks_of(pointed) else (scope.value(pointed), "")
    value = _indexed(scope, name, found["index"])
    if not rest:
        return value, ""
    if (operator := _DEFAULT.match(rest)) is not None:
        return _default(scope, name, value, operator[0], resolve(rest[operator.end() :]))
    return _changed(value, rest, resolve), ""


def _indexed(scope: Scope, name: str, index: str | None) -> str:
    if index is None or name not in scope.arrays:
        return scope.value(name)
    items = scope.arrays[name]
    if index in {"@", "*"}:
        return " ".join(items)
    if index.lstrip("-").isdigit():
        return items[int(index)] if -len(items) <= int(index) < len(items) else ""
    return unknown(*items)


def _default(scope: Scope, name: str, value: str, operator: str, word: str) -> tuple[str, str]:
    known = scope.has(name) or (name.isdigit() and scope.positional is not None)
    kind = operator[-1]
    present = known and bool(value or operator[0] != ":")
    if kind == "+":
        return (word if present else "", "") if known else (word, "environment-default")
    if present:
        return value, ""
    if kind == "=":
        scope.assign(name, word)
    if kind == "?":
        return value, ""
    return word, "" if known else "environment-default"


def _changed(value: str, rest: str, resolve: Callable[[str], str]) -> str:
    if marks_of(value):
        return unknown(value)
    if (offset := _OFFSET.match(rest)) is not None:
        start = int(offset[1].strip("()"))
        end = None if offset[2] is None else (start + int(offset[2]) if int(offset[2]) >= 0 else int(offset[2]))
        return value[start:end]
    if rest[0] == "/":
        return _replaced(value, rest, resolve)
    if rest[0] in "#%":
        return _trimmed(value, rest, resolve)
    return _cased(value, rest)


def _replaced(value: str, rest: str, resolve: Callable[[str], str]) -> str:
    every = rest.startswith("//")
    pattern, _, replacement = rest.lstrip("/").partition("/")
    old, new = resolve(pattern), resolve(replacement)
    if marks_of(old + new) or set(old) & set("*?["):
        return UNKNOWN
    return value.replace(old, new) if every else value.replace(old, new, 1)


def _trimmed(value: str, rest: str, resolve: Callable[[str], str]) -> str:
    longest = rest[1:2] == rest[0]
    pattern = resolve(rest[2 if longest else 1 :])
    if marks_of(pattern) or len(value) > 256 or pattern.count("*") > 3:
        return UNKNOWN
    whole = re.compile(translate(pattern))
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if longest else lengths:
        if rest[0] == "#" and whole.match(value[:length]):
            return value[length:]
        if rest[0] == "%" and whole.match(value[len(value) - length :]):
            return value[: len(value) - length]
    return value


def _cased(value: str, rest: str) -> str:
    match rest:
        case "^^":
            return value.upper()
        case ",,":
            return value.lower()
        case "^":
            return value[:1].upper() + value[1:]
        case ",":
            return value[:1].lower() + value[1:]
        case "@U":
            return value.upper()
        case "@L":
            return value.lower()
        case _:
            return UNKNOWN
