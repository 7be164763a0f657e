"""The arguments of append_files: the columns of the events, and the rows of all sections packed into arrays.

With an array a column of each section there would be some 70 of them, and each costs about 1 us here and 1 us there,
sent or not. So the rows of all sections go in one array of numbers and one of byte strings, and a shape that says where
in them each section stands. The order of sections and columns is that of the functions
(migrations/0013_content_waits.sql): numbers first, byte strings last.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from app.adapters.postgres.arrays import NO_BYTEA, bytea_array, int4_array, int8_array, text_array
from app.adapters.postgres.content_rows import ContentChanges
from app.adapters.postgres.fold import Folded
from app.adapters.postgres.tree_changes import TreeChanges
from app.core.messages import ChunkData

Rows = Sequence[tuple[Any, ...]]
_FEW: Final = 8
"""Up to here new rows go with those that replace others: a look for each costs less than a statement of their own."""
_CHUNKS: Final = 0
_NO_ROWS: Final = (0, -1, 0, -1)
_CONTENT: Final = 1
_CONTENT_SECTIONS: Final = 7
_TREE_SECTIONS: Final = 10
_WAITING_SECTIONS: Final = 14
_ENCODINGS: Final = {"raw": 0, "zstd": 1, "delta": 2}


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
        numbers, strings = self.numbers, self.strings
        width, later = len(rows[0]) - string_width, len(rows) - 1
        first, first_string, at = len(numbers) + 1, len(strings) + 1, self._before + 4 * section
        for row in rows:
            numbers += row[:width]
            strings += row[width:]
        self.shape[at : at + 4] = first, first + width * later, first_string, first_string + string_width * later

    def add_all(self, first: int, sections: Sequence[tuple[Rows, int]]) -> None:
        """Add those of consecutive sections (rows, byte strings at their end) that have rows."""
        for section, (rows, string_width) in enumerate(sections, first):
            if rows:
                self.add(section, rows, string_width)

    def packed(self) -> list[bytes]:
        """Return the three arrays."""
        return [int4_array(self.shape), int8_array(self.numbers), bytea_array(self.strings)]


def pack_events(
    scalars: Scalars, named: Sequence[bytes], chunks: Sequence[ChunkData], folded: Folded, reads: Sequence[int],
    content: ContentChanges | None,
) -> list[bytes]:
    """Return the first arguments of append_files; `content` is put at once. Chunks go in the order of their names: two
    who bring the same do not wait for each other in a circle. Where one keeps as a difference what the other brings
    whole, and the other way round, they may: Postgres ends one after a second, and it is sent again.
    """
    events = folded.events
    packer = _Packer(
        [scalars.project, len(events.at_ns)], _CONTENT_SECTIONS,
        [
            scalars.base, scalars.incarnation, scalars.first_sequence, scalars.at_us,
            min(events.at_ns, default=0), max(events.at_ns, default=0),
        ],
        [scalars.hash, folded.front, *folded.middles],
    )  # fmt: skip
    if chunks:
        rows = [(c.size_bytes, _ENCODINGS[c.encoding], c.hash, c.data) for c in chunks]
        packer.add(_CHUNKS, sorted(rows, key=_name), 2)
    if content is not None:
        packer.add_all(_CONTENT, (
            (content.closed, 0), (content.gone, 0), (content.cut, 0), *_put_and_new(content.put, content.new),
            (content.past, 1),
        ))  # fmt: skip
    return [
        *packer.packed(), bytea_array(named), text_array([scalars.task_id], folded.contexts),
        int4_array(events.contexts), int8_array(events.at_ns), int8_array(events.inodes), bytea_array(events.paths),
        bytea_array(events.outcomes) if any(events.outcomes) else NO_BYTEA, bytea_array(events.payloads),
        b"".join(events.digests), b"".join(scalars.hashes), NO_BYTEA if scalars.hashes else bytea_array(events.backs),
        int8_array(reads), int8_array(folded.touched),
    ]  # fmt: skip


def pack_tree(tree: TreeChanges, dropped: Rows) -> list[bytes]:
    """Return the last arguments of put_tree."""
    packer = _Packer([], _TREE_SECTIONS, [], [])
    packer.add_all(0, _tree_sections(tree, dropped))
    return packer.packed()


def pack_waiting(tree: TreeChanges, content: ContentChanges) -> list[bytes]:
    """Return the same of what is to wait, content maps included."""
    packer = _Packer([], _WAITING_SECTIONS, [], [])
    put = [*content.put, *content.new] if content.new else content.put
    packer.add_all(0, (
        *_tree_sections(tree, content.dropped), (content.closed, 0), (content.cut, 0), (put, 1), (content.past, 1),
    ))  # fmt: skip
    return packer.packed()


def _tree_sections(tree: TreeChanges, dropped: Rows) -> tuple[tuple[Rows, int], ...]:
    return (
        (tree.nodes_past, 1), (tree.nodes_gone, 0), *_put_and_new(tree.nodes_put, tree.nodes_new),
        (tree.names_past, 1), (tree.names_gone, 1), *_put_and_new(tree.names_put, tree.names_new),
        (tree.aliases, 0), (dropped, 0),
    )  # fmt: skip


def _put_and_new(put: Rows, new: Rows) -> tuple[tuple[Rows, int], tuple[Rows, int]]:
    """Return the sections of rows that may replace others, and of those that replace none."""
    if len(new) <= _FEW:
        put, new = [*put, *new] if new else put, ()
    return (put, 1), (new, 1)


def _name(row: tuple[int, int, bytes, bytes]) -> bytes:
    return row[2]


def no_events() -> list[bytes]:
    """Return arguments with which append_files runs every statement now, of no project and on no rows."""
    shape = [0, 0, *(1, 0, 1, 0) * _CONTENT_SECTIONS]
    numbers = [0, 0, 1, time.time_ns() // 1000, 0, 0]
    return [int4_array(shape), int8_array(numbers), bytea_array([b"", b""]), *[NO_BYTEA] * 13]


def no_rows() -> list[bytes]:
    """The same of put_tree."""
    return [int4_array((1, 0, 1, 0) * _TREE_SECTIONS), int8_array([0]), bytea_array([b""])]
