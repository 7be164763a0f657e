"""The bytes that this mount holds: chunks of 128 KiB per inode, clean ones bounded, unacknowledged ones pinned.

A `FileContent` is a base version in the store (its chunk map, its bytes below `cut`) under the chunks that are resident
here. **A pinned chunk exists nowhere else but in the journal**: it stays until the event that ships it is confirmed.
**A chunk changed since the base is evicted only when all of its file is confirmed**: then the base moves up to that
version, and its map is asked for on the next miss. **An inode that has lost its last name keeps its unconfirmed
versions**: the store may refuse the unlink or rename that took it, and nobody else has them. Buffers end where nothing
but zeros follows.
All of this is called with llfuse.lock held; nothing here waits.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from app.core.errors import ContentUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId

UNCUT: Final = 1 << 62
UNSEALED: Final[VersionId] = (0, 0)


class FileContent:
    """Content of one inode. `size` and `mtime_ns` are ahead of the tree's while `unsealed` is not empty; `unconfirmed`
    counts sealed versions that are not known to be in the store; `gone`: it goes with the last of them; `expected`: a
    write to it is on its way, though the visible version is another one.
    """

    __slots__ = (
        "append_from",
        "base",
        "changed",
        "chunks",
        "cut",
        "expected",
        "gone",
        "inode",
        "journalled",
        "map",
        "mtime_ns",
        "pins",
        "since_s",
        "size",
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
        self.map: dict[int, tuple[bytes, int]] | None = {} if version == EMPTY_VERSION else None
        self.chunks: dict[int, bytes | bytearray] = {}
        self.changed: set[int] = set()
        self.pins: dict[int, VersionId] = {}
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
        if index in self.chunks or index * CHUNK_BYTES >= self.cut:
            return False
        return self.map is None or index in self.map


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


class Contents:
    """Content of all inodes that were read or written here; `clean_max_bytes` bounds what may be fetched again."""

    def __init__(self, clean_max_bytes: int) -> None:
        self.clean_max_bytes = clean_max_bytes
        self.clean_bytes = 0
        self.pinned_bytes = 0
        self.files: dict[int, FileContent] = {}
        self.dirty: dict[int, FileContent] = {}
        self._clean: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._shipping: deque[tuple[VersionId, FileContent, tuple[int, ...]]] = deque()

    def at(self, inode: int, version: VersionId, size: int, mtime_ns: int) -> FileContent:
        """Return the content of an inode whose visible version is `version`; older clean content is dropped.

        Unsealed bytes of ours stay: they become a version of their own, whole.
        """
        file = self.files.get(inode)
        if file is not None:
            if file.version == version or file.dirty or file.expected:
                return file
            self.drop(inode)
        file = self.files[inode] = FileContent(inode, version, size, mtime_ns)
        return file

    def read(self, file: FileContent, offset: int, length: int) -> bytes:
        """Return the bytes of a range, which is not cold."""
        length = min(length, file.size - offset)
        if length <= 0:
            return b""
        index, low = divmod(offset, CHUNK_BYTES)
        if low + length <= CHUNK_BYTES:
            return self._part(file, index, low, low + length)
        return b"".join([self._part(file, p.chunk, p.low, p.high) for p in pieces(offset, length)])

    def _part(self, file: FileContent, index: int, low: int, high: int) -> bytes:
        chunk = file.chunks.get(index)
        if chunk is None:
            if file.cold(index):
                raise ContentUnavailable(f"inode {file.inode}: chunk {index} is not here")  # never zeros in its place
            return bytes(high - low)
        key = (file.inode, index)
        if key in self._clean:
            self._clean.move_to_end(key)
        part = bytes(chunk) if low == 0 and high >= len(chunk) else bytes(chunk[low:high])
        return part if len(part) == high - low else part.ljust(high - low, b"\0")

    def cold_for_read(self, file: FileContent, offset: int, length: int) -> list[int]:
        """Return the chunks that must be fetched to read a range."""
        last = min(offset + length, file.size) - 1
        return (
            [i for i in range(offset // CHUNK_BYTES, last // CHUNK_BYTES + 1) if file.cold(i)] if last >= offset else []
        )

    def cold_for_write(self, file: FileContent, offset: int, length: int) -> list[int]:
        """Return the chunks that must be fetched because a write covers them only in part."""
        if file.map is not None and not file.map:
            return []
        return [
            p.chunk
            for p in pieces(offset, length)
            if file.cold(p.chunk) and (p.low or p.high < min(CHUNK_BYTES, file.size - p.chunk * CHUNK_BYTES))
        ]

    def write(self, file: FileContent, offset: int, data: bytes, now_ns: int, now_s: float) -> None:
        """Put bytes in place; no part of the range that stays is cold."""
        length = len(data)
        index, low = divmod(offset, CHUNK_BYTES)
        if low + length <= CHUNK_BYTES:
            self._put(file, index, low, data)
        else:
            view = memoryview(data)
            for p in pieces(offset, length):
                self._put(file, p.chunk, p.low, bytes(view[p.at : p.at + p.high - p.low]))
        file.size = max(file.size, offset + length)
        file.mtime_ns = now_ns
        file.unsealed_bytes += length
        file.expected = False
        if not file.since_s:
            file.since_s = now_s
            self.dirty[file.inode] = file

    def _put(self, file: FileContent, index: int, low: int, data: bytes) -> None:
        old = file.chunks.get(index)
        before = 0 if old is None else len(old)
        whole = low == 0 if old is None or len(old) <= len(data) else False
        if whole:
            file.chunks[index] = data
        else:
            buffer = old if isinstance(old, bytearray) else bytearray(old or b"")
            if len(buffer) < low:
                buffer.extend(bytes(low - len(buffer)))
            buffer[low : low + len(data)] = data
            file.chunks[index] = buffer
        after = len(file.chunks[index])
        if index in file.pins:
            self.pinned_bytes += after - before
        else:
            if self._clean.pop((file.inode, index), None) is not None:
                self.clean_bytes -= before
            self.pinned_bytes += after
        file.pins[index] = UNSEALED
        file.unsealed.add(index)
        file.changed.add(index)

    def resize(self, file: FileContent, size: int) -> None:
        """Cut or extend to `size`: what lies above was or becomes zeros."""
        if size < file.size:
            file.cut = min(file.cut, size)
            for index in [i for i in file.chunks if (i + 1) * CHUNK_BYTES > size]:
                self._cut_chunk(file, index, size - index * CHUNK_BYTES)
        file.size = size

    def _cut_chunk(self, file: FileContent, index: int, keep: int) -> None:
        chunk = file.chunks[index]
        if keep >= len(chunk):
            return
        lost = len(chunk) - max(keep, 0)
        if index in file.pins:
            self.pinned_bytes -= lost
        else:
            self.clean_bytes -= lost
        if keep > 0:
            file.chunks[index] = bytes(chunk[:keep])
            if index not in file.pins:
                self._clean[file.inode, index] = keep
            return
        del file.chunks[index]
        file.pins.pop(index, None)
        file.unsealed.discard(index)
        self._clean.pop((file.inode, index), None)

    def sealed(self, file: FileContent, version: VersionId) -> None:
        """The unsealed bytes are now `version`; they stay pinned until it is confirmed."""
        indexes = tuple(file.unsealed)
        for index in indexes:
            file.pins[index] = version
        self._shipping.append((version, file, indexes))
        file.unconfirmed += 1
        file.version = version
        file.unsealed.clear()
        file.unsealed_bytes = 0
        file.since_s = 0.0
        file.append_from = -1
        self.dirty.pop(file.inode, None)

    def confirmed(self, incarnation: int, sequence: int) -> None:
        """Everything up to this sequence of ours is in the store: its chunks may go when room is needed."""
        while self._shipping and self._shipping[0][0] <= (incarnation, sequence):
            version, file, indexes = self._shipping.popleft()
            file.unconfirmed -= 1
            self._unpin(file, version, indexes)
            if file.gone and not file.unconfirmed and not file.dirty:
                self.drop(file.inode)
        self.shrink()

    def is_unconfirmed(self, version: VersionId) -> bool:
        """Tell whether a version was sealed here and is not known to be in the store: it is nowhere else."""
        return any(sealed == version for sealed, _, _ in self._shipping)

    def _unpin(self, file: FileContent, version: VersionId, indexes: tuple[int, ...]) -> None:
        for index in indexes:
            if file.pins.get(index) == version:
                del file.pins[index]
                size = len(file.chunks[index])
                self.pinned_bytes -= size
                self.clean_bytes += size
                self._clean[file.inode, index] = size

    def fetched(self, file: FileContent, index: int, data: bytes) -> None:
        """Keep a chunk of the base that was fetched, unless it has come or changed meanwhile."""
        if index in file.chunks or index in file.changed or index * CHUNK_BYTES >= file.cut:
            return
        data = data[: file.cut - index * CHUNK_BYTES]
        file.chunks[index] = data
        self._clean[file.inode, index] = len(data)
        self.clean_bytes += len(data)

    def shrink(self) -> None:
        """Evict clean chunks, longest unused first, down to the bound."""
        tries = len(self._clean)
        while self.clean_bytes > self.clean_max_bytes and tries:
            tries -= 1
            inode, index = next(iter(self._clean))
            file = self.files[inode]
            if index in file.changed and not self._rebase(file):
                self._clean.move_to_end((inode, index))
                continue
            self._evict(file, index)

    def _rebase(self, file: FileContent) -> bool:
        """Make the confirmed version the base. Its event is in the store when nothing of it is pinned or on its way."""
        if file.pins or file.dirty or file.unconfirmed:
            return False
        file.base, file.map, file.cut = file.version, None, UNCUT
        file.changed.clear()
        return True

    def _evict(self, file: FileContent, index: int) -> None:
        self.clean_bytes -= self._clean.pop((file.inode, index))
        del file.chunks[index]
        if not file.chunks and not file.pins and not file.changed and not file.dirty and not file.unconfirmed:
            del self.files[file.inode]

    def let_go(self, inode: int) -> None:
        """Nobody can reach an inode any more, unless the store refuses what took its name: forget what it confirmed."""
        file = self.files.get(inode)
        if file is None:
            return
        if file.unconfirmed:
            file.gone = True
        else:
            self.drop(inode)

    def drop(self, inode: int) -> None:
        """Forget an inode's content: its visible version is another one now."""
        file = self.files.pop(inode, None)
        if file is None:
            return
        file.gone = False
        self.dirty.pop(inode, None)
        for index, chunk in file.chunks.items():
            if index in file.pins:
                self.pinned_bytes -= len(chunk)
            else:
                self.clean_bytes -= self._clean.pop((inode, index))
        file.chunks.clear()
        file.pins.clear()
