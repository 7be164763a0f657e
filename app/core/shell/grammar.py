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

from app.core.shell.checkpoints import parts_of

LANGUAGE: Final = Language(tree_sitter_bash.language())
SHORT_MAX: Final = 128
"""Bytes that are parsed without a count: 4.6 ms at worst, where counting would add 0.4 us a byte to each."""
HEREDOCS_MAX: Final = 32
"""Heredocs of one text: the grammar's reading of them costs the square of their number."""
SUBSCRIPTS_MAX: Final = 320
"""The grammar looks for the end of each from its beginning: 2,000 that never end take 190 ms."""
CLOSERS_MAX: Final = 48
"""Closing brackets that close nothing, beside the patterns of `case`: 200 of them take 10 ms."""
PATTERNS_MAX: Final = 240
UNCLOSED_MAX: Final = 64
"""Brackets of a kind that are never closed: each is another way to go on, and 1,100 of `a=(` take 25 ms."""
SUBSTITUTIONS_MAX: Final = 400
"""`$(` and backticks: 2,000 of them, closed by what else stands there, take 28 ms."""
DOUBLES_MAX: Final = 320
PIPES_MAX: Final = 500
"""More of them are more than NODES_MAX, and 2,700 take 20 ms before that is known."""
ENDLESS_BYTES: Final = 1024
"""A shorter text ends in time: quoted code may have `((a / b) * c)`."""
_ENDLESS: Final = re.compile(
    rb"\(\((?![^\0]{0,1023}?\)\))|\[\[\s(?![^\0]{0,1023}?\]\])|\w\[(?![^\]]{0,255}\])"
)
"""Arithmetic, tests and subscripts without an end near by: the grammar reads on in six ways, 1 ms a report."""
_PAIRS: Final = (b"()", b"{}", b"[]")
_BRACKETS: Final = re.compile(rb"[()]")
ANGLES_MAX: Final = 900
"""The same of redirections: 2,000 of them take 25 ms."""
_ANGLES: Final = re.compile(rb"[<>]+")
_PIPE: Final = re.compile(rb"(?<!\|)\|(?!\|)")
_CASE_ENDS: Final = re.compile(rb";;|;&")
_SUBSCRIPT_OPENS: Final = re.compile(rb"\w\[")
PARSE_CALLS_MAX: Final = 96
"""Of the parser's reports of progress: one for some 34 nodes of ordinary commands, 21 of pipes."""
PART_CALLS_MAX: Final = 24
"""The same of a text of one part. A report takes 0.015 ms of an ordinary text, and up to 0.8 of one full of errors:
each is looked into by going through all that could have stood there.
"""
ODD_CALLS_MAX: Final = 8
"""The same of a text whose parts are no shell by themselves: prose and other languages in a heredoc take few."""
ERROR_CALLS_MAX: Final = 8
"""The same from where the parser says that there is an error."""
ASTRAY_MAX: Final = 120
ASTRAY_BYTES: Final = 12
ERROR_TOKENS: Final = 8
"""Tokens that fit nowhere in the part in which they stand, an error being ERROR_TOKENS of them: so many, and one more
for each ASTRAY_BYTES. A part of a script begins and ends within whatever; 148 scripts have 49 beyond that at most.
"""
PARTS_NODES_MAX: Final = 2600
"""Of all parts together: what was cut has some more. 1,300 of `( a )` take 15 ms in parts."""
_CLOSER: Final = ")"
"""As the patterns of `case` end; CLOSERS_MAX bounds them."""
_ENDS: Final = frozenset(("\n", ";"))
PIECE: Final = 64
"""Bytes of one hand-out. Of one byte each, 6.5 KB took 4.5 ms instead of 1.7, and the bound was no tighter."""
READS_LEAST: Final = 64
READS_A_BYTE: Final = 1 / 16
"""What holds no errors is read 1.5 to 4 times."""
_BLANKS: Final = bytes.maketrans(b"\r\f\v", b"\x01\x01\x01")
"""To the shell these are characters of a word like any other; to the grammar they are blanks."""
# other than ASCII the grammar tells letters from the rest, by locale; to the shell none of them is one
_ALIKE: Final = {2: "\u00a7".encode(), 3: "\u2030".encode(), 4: "\U0001f4a0".encode()}
_CONTINUES: Final = re.compile(rb"[\x80-\xbf]")
_CHARACTER: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]{1,3}")


_drop_reference: Final = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_DecRef", ctypes.pythonapi))


class _Reader:
    """Hands a text out and counts."""

    def __init__(self, source: bytes, calls_max: int) -> None:
        self._source = source
        self._reads_max = READS_LEAST + int(READS_A_BYTE * len(source))
        self._given = [source[1:PIECE]]
        self._calls = 0
        self._calls_max = calls_max

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

    def progress(self, _offset: int, has_error: bool) -> bool:  # noqa: FBT001  # the library's signature
        """Tell the parser whether to give up. It speaks of errors only where each way to go on has one just now."""
        self._calls += 1
        if has_error:
            self._calls_max = min(self._calls_max, self._calls + ERROR_CALLS_MAX)
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
    source's: each character that is not ASCII, and each that only the grammar takes for a blank, is another of as many
    bytes.
    """
    source = source.translate(_BLANKS)
    if not source.isascii():
        source = _CHARACTER.sub(lambda found: _ALIKE[len(found[0])], source)
    if len(source) <= SHORT_MAX:
        return Parser(LANGUAGE).parse(source).root_node
    if _branches(source):
        return None
    return _parsed(source, _calls_max(source))


def _calls_max(source: bytes) -> int:
    """Return how long the grammar may read this text, by how its parts look."""
    size = astray = nodes = 0
    for part in parts_of(source):
        root = _parsed(part, PART_CALLS_MAX)
        size += len(part)
        astray += ASTRAY_MAX if root is None else _astray(root)
        nodes += 0 if root is None else root.descendant_count
        if astray > ASTRAY_MAX + size // ASTRAY_BYTES or nodes > PARTS_NODES_MAX:
            return ODD_CALLS_MAX
    return PARSE_CALLS_MAX if size else PART_CALLS_MAX


def _parsed(source: bytes, calls_max: int) -> Node | None:
    reader = _Reader(source, calls_max)
    try:
        root = Parser(LANGUAGE).parse(reader.read, progress_callback=reader.progress).root_node
    except ValueError:
        return None
    finally:
        spent = reader.spent()
        reader.give_back()
    return None if spent else root


def _astray(root: Node) -> int:
    """Return how many tokens of a part fit nowhere."""
    astray, stack = 0, [root]
    while stack and astray <= ASTRAY_MAX:
        node = stack.pop()
        if not node.has_error:
            continue
        children = node.children
        stack += children
        if node.is_error or node.is_missing:
            loose = [child.type for child in children if child.child_count == 0 and child.type not in _ENDS]
            astray += ERROR_TOKENS + len(loose) if loose != [_CLOSER] else 0
    return astray


def _branches(source: bytes) -> bool:
    """Tell whether a text has more of what the grammar reads in many ways at once than any text needs."""
    if any(source.count(pair[:1]) - source.count(pair[1:]) > UNCLOSED_MAX for pair in _PAIRS):
        return True
    if source.count(b"}") - source.count(b"{") > UNCLOSED_MAX:
        return True
    if source.count(b")") > CLOSERS_MAX and _unopened(source) > _closers_max(source):
        return True
    if source.count(b"$(") + source.count(b"`") > SUBSTITUTIONS_MAX:
        return True
    if source.count(b"((") + source.count(b"[[") > DOUBLES_MAX:
        return True
    return _crowded(source) or (len(source) > ENDLESS_BYTES and _ENDLESS.search(source) is not None)


def _crowded(source: bytes) -> bool:
    """Tell whether one sign stands there more often than 2,000 nodes can have it."""
    return (
        source.count(b"<<") > HEREDOCS_MAX
        or len(_SUBSCRIPT_OPENS.findall(source)) > SUBSCRIPTS_MAX
        or (source.count(b"|") > PIPES_MAX and len(_PIPE.findall(source)) > PIPES_MAX)
        or len(_ANGLES.findall(source)) > ANGLES_MAX
    )


def _closers_max(source: bytes) -> int:
    return CLOSERS_MAX + min(len(_CASE_ENDS.findall(source)), PATTERNS_MAX)


def _unopened(source: bytes) -> int:
    return max(accumulate([1 if bracket == b")" else -1 for bracket in _BRACKETS.findall(source)]))
