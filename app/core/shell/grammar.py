"""The grammar at work: bytes to a tree, with a bound on the work that is the same on every machine.

A text with errors can cost the cube of its length: 8 KiB of `)$` took 370 ms between two of the parser's reports of
progress. What it does read from is the text, so from SHORT_MAX bytes on it is handed out byte by byte and the hand-outs
are counted. One byte is also all that may be handed out: tree_sitter (0.25 and 0.26) never gives back what its reader
returned, and CPython keeps one object of each single byte.
"""

import re
from itertools import accumulate
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

LANGUAGE: Final = Language(tree_sitter_bash.language())
SHORT_MAX: Final = 128
"""Bytes that are parsed without a count: 4.6 ms at worst, where counting would add 0.4 us a byte to each."""
HEREDOCS_MAX: Final = 32
"""Heredocs of one text: the grammar's reading of them costs the square of their number."""
SUBSCRIPTS_MAX: Final = 64
"""The grammar looks for the end of each from its beginning: 2,000 that never end take 190 ms."""
CLOSERS_MAX: Final = 200
"""Closing brackets that close nothing, as the patterns of `case` end: 2,000 of them take 80 ms with few reads."""
_BRACKETS: Final = re.compile(rb"[()]")
_SUBSCRIPT_OPENS: Final = re.compile(rb"\w\[")
PARSE_CALLS_MAX: Final = 70
"""Of the parser's reports of progress: 2,000 nodes take 64 at most, while 8 KiB of `| b ` would take 350 and 110 ms."""
READS_MAX: Final = 24_000
READS_LEAST: Final = 1_000
READS_A_BYTE: Final = 8
"""What holds no errors is read 1 to 3.5 times, 290 pipes in a row 7.2 times; `)$` of 511 bytes 195 times."""
# other than ASCII the grammar tells letters from the rest, by locale; to the shell none of them is one
_ALIKE: Final = {2: "\u00a7".encode(), 3: "\u2030".encode(), 4: "\U0001f4a0".encode()}
_LEADS: Final = {character[0]: character for character in _ALIKE.values()}
_CHARACTER: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]{1,3}")


class _Reader:
    """Hands a text out and counts."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._reads_max = min(READS_LEAST + READS_A_BYTE * len(source), READS_MAX)
        self._reads = 0
        self._calls = 0

    def read(self, offset: int, _point: object) -> bytes:
        """Return what stands at `offset`; nothing any more once the count is spent."""
        self._reads += 1
        if self._reads > self._reads_max:
            return b""
        one = self._source[offset : offset + 1]
        return one if one < b"\x80" else _LEADS.get(one[0], one)

    def spent(self) -> bool:
        """Tell whether this text takes more than any within the bounds needs."""
        return self._calls > PARSE_CALLS_MAX or self._reads > self._reads_max

    def progress(self, _offset: int, _has_error: bool) -> bool:  # noqa: FBT001  # the library's signature
        """Tell the parser whether to give up."""
        self._calls += 1
        return self.spent()


def tree_of(source: bytes) -> Node | None:
    """Parse; None where that would take longer than any text within the bounds needs. The tree's own text is not the
    source's: each character that is not ASCII is another of as many bytes.
    """
    if not source.isascii():
        source = _CHARACTER.sub(lambda found: _ALIKE[len(found[0])], source)
    if len(source) <= SHORT_MAX:
        return Parser(LANGUAGE).parse(source).root_node
    if source.count(b"<<") > HEREDOCS_MAX or len(_SUBSCRIPT_OPENS.findall(source)) > SUBSCRIPTS_MAX:
        return None
    if source.count(b")") > CLOSERS_MAX and _unopened(source) > CLOSERS_MAX:
        return None
    reader = _Reader(source)
    try:
        root = Parser(LANGUAGE).parse(reader.read, progress_callback=reader.progress).root_node
    except ValueError:
        return None
    return None if reader.spent() else root


def _unopened(source: bytes) -> int:
    return max(accumulate([1 if bracket == b")" else -1 for bracket in _BRACKETS.findall(source)]))
