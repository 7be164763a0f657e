"""The arguments of append_files: the rows of all sections packed into one array of numbers and one of byte strings.

With an array a column there would be 72 of them, and each costs about 1 us here and 1 us there, sent or not. The shape
says where in the arrays each section stands. The order of sections and columns is that of append_files
(migrations/0010_append_packed.sql): numbers first, byte strings last.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from app.adapters.postgres.arrays import NO_BYTEA, bytea_array, int4_array, int8_array, text_array
from app.adapters.postgres.fold import Folded
from app.core.messages import ChunkData

Rows = Sequence[tuple[Any, ...]]
_FEW: Final = 8
"""Up to here new rows go with those that replace others: a look for each costs less than a statement of their own."""
_SECTIONS: Final = 19
_NO_ROWS: Final = (0, -1, 0, -1)
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
        self.shape, self.numbers, self.strings = shape, numbers, strings

    def add(self, rows: Rows, string_width: int = 0) -> None:
        """Add a section whose rows end with `string_width` byte strings (0, 1 or 2)."""
        if not rows:
            self.shape += _NO_ROWS
            return
        fields, width = list(chain.from_iterable(rows)), len(rows[0])
        strings: list[bytes] = []
        if string_width == 1:
            strings = fields[width - 1 :: width]
            del fields[width - 1 :: width]
        elif string_width:
            strings = [*chain.from_iterable(row[-string_width:] for row in rows)]
            fields = [*chain.from_iterable(row[:-string_width] for row in rows)]
        self.add_flat(len(rows), fields, strings)

    def add_flat(self, count: int, numbers: list[int], strings: list[bytes]) -> None:
        """Add a section of `count` rows, laid out one after the other."""
        first, first_string = len(self.numbers) + 1, len(self.strings) + 1
        self.numbers += numbers
        self.strings += strings
        self.shape += (
            first, first + len(numbers) - len(numbers) // count,
            first_string, first_string + len(strings) - len(strings) // count,
        )  # fmt: skip

    def add_new(self, put: Rows, new: Rows, string_width: int = 1) -> None:
        """Add the sections of rows that may replace others, and of those that replace none."""
        if len(new) <= _FEW:
            put, new = [*put, *new], ()
        self.add(put, string_width)
        self.add(new, string_width)


def pack(scalars: Scalars, named: Sequence[bytes], chunks: Sequence[ChunkData], folded: Folded) -> list[bytes]:
    """Return the arguments of append_files. Chunks go in the order of their names: two who bring the same do not wait
    for each other in a circle.
    """
    events, tree, content, count = folded.events, folded.tree, folded.content, len(folded.outcomes)
    if scalars.hashes:
        events.strings[5::6] = scalars.hashes
    packer = _Packer(
        [scalars.project, count],
        [scalars.base, scalars.incarnation, scalars.first_sequence, scalars.at_us],
        [scalars.hash, folded.front, *folded.middles],
    )
    packer.add(sorted([(c.size_bytes, _ENCODINGS[c.encoding], c.hash, c.data) for c in chunks], key=_name), 2)
    packer.add(folded.reads.nodes)
    packer.add(folded.reads.names, 1)
    packer.add_flat(count, events.numbers, events.strings)
    packer.add(tree.nodes_past, 1)
    packer.add(tree.nodes_gone)
    packer.add_new(tree.nodes_put, tree.nodes_new)
    packer.add(tree.names_past, 1)
    packer.add(tree.names_gone, 1)
    packer.add_new(tree.names_put, tree.names_new)
    packer.add(content.closed)
    packer.add(content.gone)
    packer.add(content.cut)
    packer.add_new(content.put, content.new)
    packer.add(content.past, 1)
    packer.add(tree.aliases)
    return [
        int4_array(packer.shape), int8_array(packer.numbers), bytea_array(packer.strings),
        text_array([scalars.task_id, *chain.from_iterable(folded.contexts)]), int4_array(folded.places),
        bytea_array(named) if named else NO_BYTEA,
    ]  # fmt: skip


def _name(row: tuple[int, int, bytes, bytes]) -> bytes:
    return row[2]


def nothing() -> list[bytes]:
    """Return arguments with which append_files runs every statement, of no project and on no rows."""
    return [
        int4_array([0, 0, *(1, 0, 1, 0) * _SECTIONS]), int8_array([0, 0, 1, 1]), bytea_array([b"", b""]),
        text_array([""]), int4_array([]), b"",
    ]  # fmt: skip
