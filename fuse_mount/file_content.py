"""The content of one inode as this mount holds it.

A `FileContent` is a base version in the store (its chunk map, its bytes below `cut`) under the chunks that are here: in
memory (`chunks`), on the local disk (`places`), or both.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from fuse_mount.parked import Parts

UNCUT: Final = 1 << 62
UNSEALED: Final[VersionId] = (0, 0)
NO_CUT: Final[VersionId] = (0, 0)
UNSEALED_CUT: Final[VersionId] = (1 << 62, 0)


class FileContent:
    """Content of one inode. `size` and `mtime_ns` are ahead of the tree's while `unsealed` is not empty; `unconfirmed`
    counts sealed versions that are not known to be in the store, `gone`: it goes with the last of them; `stored` is the
    newest that is, with its size; `cut_at`: the version that last made it shorter; `expected`: a write to it is on its
    way, though the visible version is another one. `changed` since the base are the chunks in `pins`, and those in
    `settled`, whose version is in the store by now.
    """

    __slots__ = (
        "append_from",
        "base",
        "changed",
        "chunks",
        "cut",
        "cut_at",
        "expected",
        "gone",
        "inode",
        "journalled",
        "map",
        "mtime_ns",
        "pins",
        "places",
        "settled",
        "since_s",
        "size",
        "stored",
        "unconfirmed",
        "unsealed",
        "unsealed_bytes",
        "version",
    )

    def __init__(self, inode: int, version: VersionId, size: int, mtime_ns: int) -> None:
        self.inode = inode
        self.version = version
        self.base = version
        self.cut = UNCUT
        self.cut_at = NO_CUT
        self.stored: tuple[VersionId, int] | None = None
        self.map: dict[int, tuple[bytes, int]] | None = {} if version == EMPTY_VERSION else None
        self.chunks: dict[int, bytes | bytearray] = {}
        self.changed: set[int] = set()
        self.pins: dict[int, VersionId] = {}
        self.places: dict[int, Parts] = {}
        self.settled: list[int] = []
        self.size = size
        self.mtime_ns = mtime_ns
        self.unconfirmed = 0
        self.gone = False
        self.expected = False
        self.unsealed: set[int] = set()
        self.unsealed_bytes = 0
        self.since_s = 0.0
        self.append_from = -1
        # the version that the next writes are made to as the records of one journal segment show it
        self.journalled: tuple[VersionId, int] | None = None

    @property
    def dirty(self) -> bool:
        """Whether it has bytes that no event names yet."""
        return self.since_s > 0

    def cold(self, index: int) -> bool:
        """Tell whether a chunk must be fetched before its bytes are known."""
        if index in self.chunks:
            return False
        if index in self.places:
            return True
        return index * CHUNK_BYTES < self.cut and (self.map is None or index in self.map)


class Piece(NamedTuple):
    """Bytes `low` to `high` of a chunk are bytes `at` ... of the request."""

    chunk: int
    low: int
    high: int
    at: int


def pieces(offset: int, length: int) -> Iterator[Piece]:
    """Yield the parts of chunks that a range covers."""
    done = 0
    while done < length:
        index, low = divmod(offset + done, CHUNK_BYTES)
        high = min(CHUNK_BYTES, low + length - done)
        yield Piece(index, low, high, done)
        done += high - low
