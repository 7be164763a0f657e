"""Parts of a long text that are looked at one by one, to see whether it is shell at all; no command is read from them.

A part cut within quotes shows errors where there are none, so that quotes, comments and escapes are told apart here as
far as one expression can; where that fails, a text too many is given up.
"""

import re
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = (
    rb"(?>[ \t]*+(?>(?<![^\s;&|(])\#[^\n]*+|\\.|'[^']*+'|"
    rb'"[^"\\]*+(?>\\.[^"\\]*+)*+"'
    rb"|\w++|[^\w\s]|\n))"
)
LONG: Final = 1200
"""Bytes of a part from where its tokens are long, and so strings that may hold more."""


def _part(tokens: int) -> "re.Pattern[bytes]":
    many = _TOKEN + b"{%d}+" % tokens
    return re.compile(rb"(?s)" + many + _TOKEN + rb"{0,30}?(?:[ \t\n;|&]|$)|" + many)


_PART: Final = _part(120)
_PART_OF_LONG: Final = _part(30)


def parts_of(source: bytes) -> Iterator[bytes]:
    """Return consecutive parts of some 120 tokens, cut between words where that can be; none of a short text."""
    at = 0
    while (found := _PART.match(source, at)) is not None:
        if found.end() - at > LONG:
            found = _PART_OF_LONG.match(source, at) or found
        yield found[0]
        at = found.end()
    if at:
        yield source[at:]
