"""Which chunk stands where: the changes of one append to the content maps, without reading them.

A row that the database may hold is closed blindly (`closed`, `cut`, `dropped`); a row made and replaced within the
append becomes a past row here. Order of use: close, remove, cut, then put. A file that never had content has nothing to
close.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.core.ids import CHUNK_BYTES
from app.core.operations import ChunkRef

_END: Final = 2**62


class ContentChanges(NamedTuple):
    """As they are sent: rows to close (inode, index, until); those of them that nothing replaces (inode, index); ranges
    to cut (inode, first, end, until); inodes all of whose rows end (inode, until); rows that replace closed ones, and
    new ones (inode, index, size, since, name); past rows (inode, index, size, since, until, name).
    """

    closed: list[tuple[int, int, int]]
    gone: list[tuple[int, int]]
    cut: list[tuple[int, int, int, int]]
    dropped: list[tuple[int, int]]
    put: list[tuple[int, int, int, int, bytes]]
    new: list[tuple[int, int, int, int, bytes]]
    past: list[tuple[int, int, int, int, int, bytes]]

    def rows(self) -> int:
        """Return how many rows they change."""
        return sum([len(rows) for rows in self])


class ContentRows:
    """Changes of one append; positions only grow."""

    def __init__(self) -> None:
        self._put: dict[int, dict[int, tuple[bytes, int, int]]] = {}
        self._closed: dict[tuple[int, int], int] = {}
        self._cut: dict[int, list[tuple[int, int]]] = {}
        self._dropped: dict[int, int] = {}
        self._empty: set[int] = set()
        self._past: list[tuple[int, int, int, int, int, bytes]] = []

    def __contains__(self, inode: int) -> bool:
        return inode in self._put or inode in self._cut

    def start_empty(self, inode: int) -> None:
        """Note that the database holds no row of this inode."""
        if inode not in self:
            self._empty.add(inode)

    def replace(self, inode: int, refs: Sequence[ChunkRef], size: int, old_size: int, position: int) -> None:
        """Apply a version: `refs` below `size`, and nothing at or past it."""
        for ref in refs:
            if ref.index * CHUNK_BYTES < size:
                self.place(inode, ref.index, ref.hash, ref.size_bytes, position)
        if size < old_size:
            self.cut_from(inode, -(-size // CHUNK_BYTES), position)

    def rebase(
        self, inode: int, old: Mapping[int, tuple[bytes, int]], new: Mapping[int, tuple[bytes, int]], position: int
    ) -> None:
        """Make the map `new` where it is `old`."""
        for index in sorted(old.keys() | new.keys()):
            if old.get(index) != new.get(index):
                self.place(inode, index, *new.get(index, (b"", 0)), position)

    def place(self, inode: int, index: int, name: bytes, size_bytes: int, position: int) -> None:
        """Put one chunk, or a hole."""
        rows = self._put.setdefault(inode, {})
        old = rows.pop(index, None)
        if old is not None:
            self._leave(inode, index, old, position)
        elif inode not in self._empty and not any(index >= first for first, _ in self._cut.get(inode, ())):
            self._closed.setdefault((inode, index), position)
        if name:
            rows[index] = (name, size_bytes, position)

    def cut_from(self, inode: int, first: int, position: int) -> None:
        """End every row from index `first` on."""
        rows = self._put.get(inode, {})
        for index in [i for i in rows if i >= first]:
            self._leave(inode, index, rows.pop(index), position)
        if inode not in self._empty:
            self._cut.setdefault(inode, []).append((first, position))

    def drop(self, inode: int, position: int) -> None:
        """End all rows of an inode that is no more: nobody asks for them, so they can end later."""
        if inode in self._cut:
            self.cut_from(inode, 0, position)
            return
        for index, old in self._put.pop(inode, {}).items():
            self._leave(inode, index, old, position)
        if inode not in self._empty:
            self._dropped.setdefault(inode, position)

    def _leave(self, inode: int, index: int, old: tuple[bytes, int, int], position: int) -> None:
        name, size_bytes, since = old
        if since < position:
            self._past.append((inode, index, size_bytes, since, position, name))

    def changes(self) -> ContentChanges:
        """Return everything that the append writes."""
        rows = [
            (inode, index, size_bytes, since, name)
            for inode, held in self._put.items()
            for index, (name, size_bytes, since) in held.items()
        ]
        closed = self._closed
        return ContentChanges(
            [(*key, until) for key, until in closed.items()],
            [key for key in closed if not self._is_replaced(*key)],
            [(inode, *cut) for inode, cuts in self._cut.items() for cut in _steps(cuts)],
            list(self._dropped.items()),
            [row for row in rows if row[:2] in closed],
            [row for row in rows if row[:2] not in closed],
            self._past,
        )

    def _is_replaced(self, inode: int, index: int) -> bool:
        """A cut after the closing must not find the closed row: it would be a past row twice."""
        return inode not in self._cut and index in self._put.get(inode, ())


def _steps(cuts: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return disjoint ranges (first, end, until): each row ends with the first cut that reached it."""
    kept: list[tuple[int, int, int]] = []
    for first, until in cuts:
        end = kept[-1][0] if kept else _END
        if first < end:
            kept.append((first, end, until))
    return kept
