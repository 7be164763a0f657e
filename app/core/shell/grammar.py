"""The grammar at work: bytes to a tree, with a bound on the work that is the same on every machine.

A text with errors can cost the cube of its length: 8 KiB of `)$` took 370 ms between two of the parser's reports of
progress. What it does read from is the text, so from SHORT_MAX bytes on it is handed out in pieces and the hand-outs
are counted. tree_sitter (0.25 and 0.26) never gives back what its reader returned: one reference to each piece is left
over. That one is given back here, where there is one: else a worker would keep a copy of all that it ever read.
"""

import ctypes
import re
from itertools import accumulate
from sys import getrefcount
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
UNCLOSED_MAX: Final = 64
"""Brackets of a kind that are never closed: each is another way to go on, and 1,100 of `a=(` take 25 ms."""
SUBSTITUTIONS_MAX: Final = 128
"""`$(` and backticks: 2,000 of them, closed by what else stands there, take 28 ms."""
DOUBLES_MAX: Final = 64
ENDLESS_BYTES: Final = 1024
"""A shorter text ends in time: quoted code may have `((a / b) * c)`."""
_ENDLESS: Final = re.compile(
    rb"\(\((?![^\0]{0,1023}?\)\))|\[\[\s(?![^\0]{0,1023}?\]\])|\w\[(?![^\]]{0,255}\])"
)
"""Arithmetic, tests and subscripts without an end near by: the grammar reads on in six ways, 1 ms a report."""
_PAIRS: Final = (b"()", b"{}", b"[]")
_BRACKETS: Final = re.compile(rb"[()]")
_SUBSCRIPT_OPENS: Final = re.compile(rb"\w\[")
PARSE_CALLS_MAX: Final = 50
"""Of the parser's reports of progress: one for some 34 nodes of ordinary commands, 27 of pipes. One takes 0.02 ms of an
ordinary text and up to 0.3 of `( a ) $x -`, so that 70 of them, with which all of NODES_MAX would be read, were 20 ms.
"""
ERROR_CALLS_MAX: Final = 25
"""The same of a text that has errors: looking for what was meant takes ten times as long a report."""
PIECE: Final = 64
"""Bytes of one hand-out. Of one byte each, 6.5 KB took 4.5 ms instead of 1.7, and the bound was no tighter."""
READS_LEAST: Final = 64
READS_A_BYTE: Final = 1 / 16
"""What holds no errors is read 1.5 to 4 times."""
# other than ASCII the grammar tells letters from the rest, by locale; to the shell none of them is one
_ALIKE: Final = {2: "\u00a7".encode(), 3: "\u2030".encode(), 4: "\U0001f4a0".encode()}
_CONTINUES: Final = re.compile(rb"[\x80-\xbf]")
_CHARACTER: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]{1,3}")


_drop_reference: Final = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_DecRef", ctypes.pythonapi))


class _Reader:
    """Hands a text out and counts."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._reads_max = READS_LEAST + int(READS_A_BYTE * len(source))
        self._given = [source[1:PIECE]]
        self._calls = 0
        self._calls_max = PARSE_CALLS_MAX

    def read(self, offset: int, _point: object) -> bytes:
        """Return what stands at `offset`; nothing any more once the count is spent."""
        if len(self._given) > self._reads_max or offset >= len(self._source):
            return b""
        end = offset + PIECE
        # never within a character: asked for the rest of it, an empty answer makes the library read beyond the piece
        while _CONTINUES.match(self._source, end) is not None:
            end += 1
        piece = self._source[offset:end]
        self._given.append(piece)
        return piece

    def spent(self) -> bool:
        """Tell whether this text takes more than any within the bounds needs."""
        return self._calls > self._calls_max or len(self._given) > self._reads_max

    def strays(self) -> bool:
        """Tell whether this took more than a text with errors may."""
        return self._calls > ERROR_CALLS_MAX

    def progress(self, _offset: int, has_error: bool) -> bool:  # noqa: FBT001  # the library's signature
        """Tell the parser whether to give up."""
        self._calls += 1
        if has_error and self._calls_max == PARSE_CALLS_MAX:
            self._calls_max = min(PARSE_CALLS_MAX, self._calls + ERROR_CALLS_MAX)
        return self.spent()

    def give_back(self) -> None:
        """Drop what the library holds of the pieces: more references than the first one has, which was never given."""
        given = self._given
        counts = [getrefcount(piece) for piece in given]
        for piece, count in zip(given, counts, strict=True):
            if len(piece) > 1 and count > counts[0]:
                _drop_reference(piece)
        given.clear()


def tree_of(source: bytes) -> Node | None:
    """Parse; None where that would take longer than any text within the bounds needs. The tree's own text is not the
    source's: each character that is not ASCII is another of as many bytes.
    """
    if not source.isascii():
        source = _CHARACTER.sub(lambda found: _ALIKE[len(found[0])], source)
    if len(source) <= SHORT_MAX:
        return Parser(LANGUAGE).parse(source).root_node
    if _branches(source):
        return None
    reader = _Reader(source)
    try:
        root = Parser(LANGUAGE).parse(reader.read, progress_callback=reader.progress).root_node
        spent = reader.spent() or (root.has_error and reader.strays())
    except ValueError:
        return None
    finally:
        reader.give_back()
    return None if spent else root


def _branches(source: bytes) -> bool:
    """Tell whether a text has more of what the grammar reads in many ways at once than any text needs."""
    if source.count(b"<<") > HEREDOCS_MAX or len(_SUBSCRIPT_OPENS.findall(source)) > SUBSCRIPTS_MAX:
        return True
    if source.count(b")") > CLOSERS_MAX and _unopened(source) > CLOSERS_MAX:
        return True
    if any(source.count(pair[:1]) - source.count(pair[1:]) > UNCLOSED_MAX for pair in _PAIRS):
        return True
    if source.count(b"$(") + source.count(b"`") > SUBSTITUTIONS_MAX:
        return True
    if source.count(b"((") + source.count(b"[[") > DOUBLES_MAX:
        return True
    return len(source) > ENDLESS_BYTES and _ENDLESS.search(source) is not None


def _unopened(source: bytes) -> int:
    return max(accumulate([1 if bracket == b")" else -1 for bracket in _BRACKETS.findall(source)]))
