"""The arguments of append_files: the rows of all sections packed into one array of numbers and one of byte strings.

With an array a column there would be 72 of them, and each costs about 1 us here and 1 us there, sent or not. The shape
says where in the arrays each section stands. The order of sections and columns is that of append_files
(migrations/0011_append_lean.sql): numbers first, byte strings last.
"""

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from app.adapters.postgres.arrays import NO_BYTEA, bytea_array, int4_array, int8_array, text_array
from app.adapters.postgres.fold import Folded
from app.adapters.postgres.tree_rows import NO_READS
from app.core.messages import ChunkData

Rows = Sequence[tuple[Any, ...]]
_FEW: Final = 8
"""Up to here new rows go with those that replace others: a look for each costs less than a statement of their own."""
_SECTIONS: Final = 19
_READS: Final = 1
_EVENTS: Final = 3
_EMPTY: Final = (0, -1, 0, -1) * _SECTIONS
_NOT_SENT: Final = -1
_ENCODINGS: Final = {"raw": 0, "zstd": 1}


class Scalars(NamedTuple):
    """What stands once in a batch. `hash` is b'' where the rows known are not all those of `base`.

    `hashes` are those of the events if `base` is still the head and they are recorded at `at_us`; else both are empty.
    """

    project: int
    base: int
    hash: bytes
    incarnation: int
    first_sequence: int
    task_id: str
    at_us: int
    hashes: Sequence[bytes]


class _Packer:
    """Collects sections; places count from 1, as in Postgres."""

    def __init__(self, shape: list[int], numbers: list[int], strings: list[bytes]) -> None:
        self.shape, self.numbers, self.strings = [*shape, *_EMPTY], numbers, strings

    def add(self, section: int, rows: Rows, string_width: int) -> None:
        """Add a section whose rows end with `string_width` byte strings (0, 1 or 2)."""
        fields, width = list(chain.from_iterable(rows)), len(rows[0])
        strings: list[bytes] = []
        if string_width == 1:
            strings = fields[width - 1 :: width]
            del fields[width - 1 :: width]
        elif string_width:
            strings = [*chain.from_iterable(row[-string_width:] for row in rows)]
            fields = [*chain.from_iterable(row[:-string_width] for row in rows)]
        self.add_flat(section, len(rows), fields, strings)

    def add_flat(self, section: int, count: int, numbers: list[int], strings: list[bytes]) -> None:
        """Add a section of `count` rows, laid out one after the other."""
        first, first_string, at = len(self.numbers) + 1, len(self.strings) + 1, 2 + 4 * section
        self.numbers += numbers
        self.strings += strings
        self.shape[at : at + 4] = (
            first, first + len(numbers) - len(numbers) // count,
            first_string, first_string + len(strings) - len(strings) // count,
        )  # fmt: skip


def pack(scalars: Scalars, named: Sequence[bytes], chunks: Sequence[ChunkData], folded: Folded) -> list[bytes]:
    """Return the arguments of append_files. Chunks go in the order of their names: two who bring the same do not wait
    for each other in a circle.

    With hashes goes nothing of what the fold read: if the head has moved, nothing is appended.
    """
    events, tree, content, count = folded.events, folded.tree, folded.content, len(folded.outcomes)
    packer = _Packer(
        [scalars.project, count],
        [scalars.base, scalars.incarnation, scalars.first_sequence, scalars.at_us],
        [scalars.hash, folded.front, *folded.middles],
    )
    if scalars.hashes:
        events.strings[5::6] = scalars.hashes
        packer.shape[2 + 4 * _READS] = _NOT_SENT
    reads = NO_READS if scalars.hashes else folded.reads()
    packer.add_flat(_EVENTS, count, events.numbers, events.strings)
    sections: tuple[tuple[Rows, int], ...] = (
        (sorted([(c.size_bytes, _ENCODINGS[c.encoding], c.hash, c.data) for c in chunks], key=_name), 2),
        (reads.nodes, 0), (reads.names, 1), ((), 0), (tree.nodes_past, 1), (tree.nodes_gone, 0),
        *_put_and_new(tree.nodes_put, tree.nodes_new), (tree.names_past, 1), (tree.names_gone, 1),
        *_put_and_new(tree.names_put, tree.names_new), (content.closed, 0), (content.gone, 0), (content.cut, 0),
        *_put_and_new(content.put, content.new), (content.past, 1), (tree.aliases, 0),
    )  # fmt: skip
    for section, (rows, string_width) in enumerate(sections):
        if rows:
            packer.add(section, rows, string_width)
    return [
        int4_array(packer.shape), int8_array(packer.numbers), bytea_array(packer.strings),
        text_array([scalars.task_id, *chain.from_iterable(folded.contexts)]), bytea_array(named) if named else NO_BYTEA,
    ]  # fmt: skip


def _put_and_new(put: Rows, new: Rows) -> tuple[tuple[Rows, int], tuple[Rows, int]]:
    """Return the sections of rows that may replace others, and of those that replace none."""
    if len(new) <= _FEW:
        put, new = [*put, *new] if new else put, ()
    return (put, 1), (new, 1)


def _name(row: tuple[int, int, bytes, bytes]) -> bytes:
    return row[2]


def nothing() -> list[bytes]:
    """Return arguments with which append_files runs every statement now, of no project and on no rows."""
    return [
        int4_array([0, 0, *(1, 0, 1, 0) * _SECTIONS]), int8_array([0, 0, 1, time.time_ns() // 1000]),
        bytea_array([b"", b""]), text_array([""]), b"",
    ]  # fmt: skip
