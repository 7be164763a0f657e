"""The arguments of append_files and of put_tree: rows of all sections packed into one array of numbers, one of strings.

With an array a column there would be 72 of them, and each costs about 1 us here and 1 us there, sent or not. The shape
says where in the arrays each section stands. The order of sections and columns is that of the functions
(migrations/0012_append_waiting.sql): numbers first, byte strings last.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from app.adapters.postgres.arrays import NO_BYTEA, NO_INT8, bytea_array, int4_array, int8_array, text_array
from app.adapters.postgres.fold import Folded
from app.adapters.postgres.tree_rows import TreeChanges
from app.core.messages import ChunkData

Rows = Sequence[tuple[Any, ...]]
_FEW: Final = 8
"""Up to here new rows go with those that replace others: a look for each costs less than a statement of their own."""
_CHUNKS: Final = 0
_EVENTS: Final = 1
_NO_ROWS: Final = (0, -1, 0, -1)
_CONTENT: Final = 2
_EVENT_SECTIONS: Final = 8
_TREE_SECTIONS: Final = 10
_ENCODINGS: Final = {"raw": 0, "zstd": 1}


class Scalars(NamedTuple):
    """What stands once in a batch. `hash` is that of the event at `base`.

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
    """Collects sections behind `shape`'s first numbers; places count from 1, as in Postgres."""

    def __init__(self, shape: list[int], sections: int, numbers: list[int], strings: list[bytes]) -> None:
        self._before = len(shape)
        self.shape, self.numbers, self.strings = [*shape, *_NO_ROWS * sections], numbers, strings

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
        first, first_string, at = len(self.numbers) + 1, len(self.strings) + 1, self._before + 4 * section
        self.numbers += numbers
        self.strings += strings
        self.shape[at : at + 4] = (
            first, first + len(numbers) - len(numbers) // count,
            first_string, first_string + len(strings) - len(strings) // count,
        )  # fmt: skip

    def add_all(self, first: int, sections: Sequence[tuple[Rows, int]]) -> None:
        """Add those of consecutive sections (rows, byte strings at their end) that have rows."""
        for section, (rows, string_width) in enumerate(sections, first):
            if rows:
                self.add(section, rows, string_width)

    def packed(self) -> list[bytes]:
        """Return the three arrays."""
        return [int4_array(self.shape), int8_array(self.numbers), bytea_array(self.strings)]


def pack_events(
    scalars: Scalars, named: Sequence[bytes], chunks: Sequence[ChunkData], folded: Folded, reads: Sequence[int]
) -> list[bytes]:
    """Return the arguments of append_files. Chunks go in the order of their names: two who bring the same do not wait
    for each other in a circle.
    """
    events, count = folded.events, len(folded.outcomes)
    packer = _Packer(
        [scalars.project, count], _EVENT_SECTIONS,
        [scalars.base, scalars.incarnation, scalars.first_sequence, scalars.at_us],
        [scalars.hash, folded.front, *folded.middles],
    )  # fmt: skip
    if scalars.hashes:
        events.strings[5::6] = scalars.hashes
    packer.add_flat(_EVENTS, count, events.numbers, events.strings)
    if chunks:
        rows = [(c.size_bytes, _ENCODINGS[c.encoding], c.hash, c.data) for c in chunks]
        packer.add(_CHUNKS, sorted(rows, key=_name), 2)
    content = folded.content
    sections: tuple[tuple[Rows, int], ...] = (
        (content.closed, 0), (content.gone, 0), (content.cut, 0), *_put_and_new(content.put, content.new),
        (content.past, 1),
    )  # fmt: skip
    packer.add_all(_CONTENT, sections)
    return [
        *packer.packed(), text_array([scalars.task_id, *chain.from_iterable(folded.contexts)]),
        bytea_array(named) if named else NO_BYTEA, int8_array(reads), int8_array(folded.touched),
    ]  # fmt: skip


def pack_tree(tree: TreeChanges, dropped: Rows) -> list[bytes]:
    """Return the last arguments of put_tree."""
    packer = _Packer([], _TREE_SECTIONS, [], [])
    sections: tuple[tuple[Rows, int], ...] = (
        (tree.nodes_past, 1), (tree.nodes_gone, 0), *_put_and_new(tree.nodes_put, tree.nodes_new),
        (tree.names_past, 1), (tree.names_gone, 1), *_put_and_new(tree.names_put, tree.names_new),
        (tree.aliases, 0), (dropped, 0),
    )  # fmt: skip
    packer.add_all(0, sections)
    return packer.packed()


def _put_and_new(put: Rows, new: Rows) -> tuple[tuple[Rows, int], tuple[Rows, int]]:
    """Return the sections of rows that may replace others, and of those that replace none."""
    if len(new) <= _FEW:
        put, new = [*put, *new] if new else put, ()
    return (put, 1), (new, 1)


def _name(row: tuple[int, int, bytes, bytes]) -> bytes:
    return row[2]


def no_events(at_us: int = 0) -> list[bytes]:
    """Return arguments with which append_files runs every statement now, of no project and on no rows; those of `made`
    where `at_us` is the time.
    """
    shape = [0, 0, *(1, 0, 1, 0) * _EVENT_SECTIONS]
    return [
        int4_array(shape), int8_array([0, 0, 1, at_us]), bytea_array([b"", b""]), text_array([""]),
        NO_BYTEA, NO_INT8, NO_INT8,
    ]  # fmt: skip


def no_rows() -> list[bytes]:
    """The same of put_tree."""
    return [int4_array((1, 0, 1, 0) * _TREE_SECTIONS), int8_array([0]), bytea_array([b""])]
