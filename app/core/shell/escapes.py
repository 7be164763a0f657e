"""Quoting and escapes: backslashes, $'..', printf and echo escapes, brace expansion. Pure text to text."""

import re
from functools import lru_cache
from typing import Final

ALTERNATIVES_MAX: Final = 32
_NAMED: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
    "E": "\x1b",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "?": "?",
}
_ANSI: Final = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|0?[0-7]{1,3}|c.|.)", re.DOTALL)
_BACKSLASH: Final = re.compile(r"\\(\n|.)", re.DOTALL)
_RANGE: Final = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.-?\d+)?\Z")


def unescape(raw: str) -> str:
    """Return an unquoted word without its backslashes."""
    return _BACKSLASH.sub(lambda found: "" if found[1] == "\n" else found[1], raw) if "\\" in raw else raw


def unescape_quoted(raw: str) -> str:
    """Return double-quoted text without the backslashes that quote there."""
    return re.sub(r'\\([$`"\\\n])', lambda found: "" if found[1] == "\n" else found[1], raw) if "\\" in raw else raw


def ansi_c(raw: str) -> str:
    """Return what $'raw', printf or echo -e would make of the escapes in `raw`."""
    return _ANSI.sub(_ansi, raw) if "\\" in raw else raw


def _ansi(found: re.Match[str]) -> str:
    code = found[1]
    if code in _NAMED:
        return _NAMED[code]
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0xD800 or 0xE003 <= number < 0x110000 else "?"
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return chr(ord(code[1]) & 0x1F) if code[0] == "c" and len(code) > 1 else "\\" + code


@lru_cache(maxsize=256)
def braces(raw: str) -> tuple[str, ...]:
    """Return the alternatives of a word's unquoted braces as source text; itself alone when there are none.

    More than ALTERNATIVES_MAX means that they are too many to be read; what is returned is then cut short.
    """
    opened = _opening(raw)
    if opened is None:
        return (raw,)
    start, parts, end = opened
    head, tail = raw[:start], raw[end + 1 :]
    found: list[str] = []
    for part in parts:
        found += [head + inner for inner in braces(part + tail)]
        if len(found) > ALTERNATIVES_MAX:
            break
    return tuple(found[: ALTERNATIVES_MAX + 1])


def _opening(raw: str) -> tuple[int, list[str], int] | None:
    """The first unquoted brace with its comma parts (or range) and where it closes."""
    position = 0
    while position < len(raw):
        char = raw[position]
        if char == "\\":
            position += 2
            continue
        if char in "'\"":
            closing = raw.find(char, position + 1)
            position = len(raw) if closing < 0 else closing + 1
            continue
        if char == "{" and (position == 0 or raw[position - 1] != "$"):
            closed = _closing(raw, position)
            if closed is not None:
                return position, *closed
        position += 1
    return None


def _closing(raw: str, start: int) -> tuple[list[str], int] | None:
    depth, parts, begin = 0, [], start + 1
    for position in range(start, len(raw)):
        char = raw[position]
        depth += (char == "{") - (char == "}")
        if depth == 1 and char == ",":
            parts.append(raw[begin:position])
            begin = position + 1
        if depth == 0:
            parts.append(raw[begin:position])
            return (parts, position) if len(parts) > 1 else _range(parts[0], position)
    return None


def _range(inner: str, end: int) -> tuple[list[str], int] | None:
    found = _RANGE.match(inner)
    if found is None:
        return None
    low, high = found[1], found[2]
    if low.lstrip("-").isdigit() and high.lstrip("-").isdigit():
        return ([low, high], end)
    if len(low) == len(high) == 1:
        first, last = sorted((ord(low), ord(high)))
        return ([chr(code) for code in range(first, last + 1)], end)
    return None
