"""The bytes that this mount holds: chunks of 128 KiB per inode, clean ones bounded, unconfirmed ones parked on disk.

**A pinned chunk is in no store yet**: it stays, in memory or where it is parked, until the event that ships it is
confirmed. In memory are the newest of them: above `pinned_target_bytes` the oldest are read back from the journal's own
records, or from a copy where no single record holds them. **A chunk changed since the base goes only when the base
moves up to a version that has it**: then its map is asked for on the next miss. **An inode that has lost its last name
keeps its unconfirmed versions**: the store may refuse the unlink or rename that took it, and nobody else has them.
Buffers end where nothing but zeros follows.
All of this is called with llfuse.lock held; nothing here waits.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from app.core.errors import ContentUnavailable
from app.core.ids import CHUNK_BYTES, VersionId
from app.ports import Parking
from fuse_mount.file_content import NO_CUT, UNSEALED, UNSEALED_CUT, FileContent, pieces
from fuse_mount.foreseen import Foreseen
from fuse_mount.parked import PART_MIN_BYTES, PARTS_MAX, Part, Parts, copied_of, cut, length_of, read

PINNED_TARGET_BYTES: Final = 16 * 1024 * 1024
SETTLED_MAX: Final = 256
"""Chunks that stay on the local disk after the store has them, while their file is being written."""


class _Shipping(NamedTuple):
    version: VersionId
    file: FileContent
    indexes: tuple[int, ...]
    size: int


class Contents:
    """Content of all inodes that were read or written here; `clean_max_bytes` bounds what may be fetched again.

    A chunk in memory is either in `_clean` (the store or a place has it) or in `_pinned`, the longest there first.
    `copied_bytes` are those on disk that are not the journal's.
    """

    def __init__(
        self, clean_max_bytes: int, parking: Parking, pinned_target_bytes: int = PINNED_TARGET_BYTES
    ) -> None:
        self.clean_max_bytes = clean_max_bytes
        self.pinned_target_bytes = pinned_target_bytes
        self.settled_max = SETTLED_MAX
        self.clean_bytes = 0
        self.pinned_bytes = 0
        self.copied_bytes = 0
        self.files: dict[int, FileContent] = {}
        self.dirty: dict[int, FileContent] = {}
        self.parking = parking
        self.foreseen = Foreseen()
        self._clean: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._pinned: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._shipping: deque[_Shipping] = deque()

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
        came = self.foreseen.take(inode, version)
        if came is not None:
            file.map = came.map
            for index, data in came.chunks.items():
                self._keep_clean(file, index, data)
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

    def at_hand(self, file: FileContent, offset: int, length: int) -> bytes | None:
        """Return the bytes of a range within one chunk that is in memory, else None."""
        index, low = divmod(offset, CHUNK_BYTES)
        high = min(low + length, file.size - offset + low)
        if index not in file.chunks or not low < high <= CHUNK_BYTES:
            return None
        return self._part(file, index, low, high)

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
        if file.map is not None and not file.map and not file.places:
            return []
        return [
            p.chunk
            for p in pieces(offset, length)
            if file.cold(p.chunk) and (p.low or p.high < min(CHUNK_BYTES, file.size - p.chunk * CHUNK_BYTES))
        ]

    def write(self, file: FileContent, offset: int, data: bytes, now_ns: int, now_s: float, place: int = 0) -> None:
        """Put bytes in place; no part of the range that stays is cold. `place`: of the record that holds them."""
        length = len(data)
        index, low = divmod(offset, CHUNK_BYTES)
        if low + length <= CHUNK_BYTES:
            self._put(file, index, low, data, place, 0)
        else:
            view = memoryview(data)
            for index, low, high, at in pieces(offset, length):
                self._put(file, index, low, bytes(view[at : at + high - low]), place, at)
        file.size = max(file.size, offset + length)
        file.mtime_ns = now_ns
        file.unsealed_bytes += length
        file.expected = False
        if not file.since_s:
            file.since_s = now_s
            self.dirty[file.inode] = file
        if self.pinned_bytes > self.pinned_target_bytes:
            self._park()

    def _put(self, file: FileContent, index: int, low: int, data: bytes, place: int, at: int) -> None:
        """Put bytes into a chunk; they are `at` in the record at `place`."""
        old = file.chunks.get(index)
        before = 0 if old is None else len(old)
        key = (file.inode, index)
        whole = not low and before <= len(data)
        if whole:
            file.chunks[index], after = data, len(data)
        else:
            buffer = old if isinstance(old, bytearray) else bytearray(old or b"")
            if len(buffer) < low:
                buffer.extend(bytes(low - len(buffer)))
            buffer[low : low + len(data)] = data
            file.chunks[index], after = buffer, len(buffer)
        if key in self._pinned:
            self.pinned_bytes += after - before
        else:
            if self._clean.pop(key, None) is not None:
                self.clean_bytes -= before
            self._pinned[key] = None
            self.pinned_bytes += after
        file.pins[index] = UNSEALED
        file.unsealed.add(index)
        file.changed.add(index)
        if file.places or len(data) >= PART_MIN_BYTES:
            self._place(file, index, low, Part(place, at, len(data)), whole=whole, before=before)

    # -- chunks on the local disk

    def _place(self, file: FileContent, index: int, low: int, part: Part, *, whole: bool, before: int) -> None:
        """Note where the written bytes stand, where they are all of the chunk or continue what is placed of it."""
        worthy = part.place and part.length >= PART_MIN_BYTES
        known = file.places.get(index, ())
        continues = known and low == before == length_of(known) and len(known) < PARTS_MAX
        if not (worthy and continues):
            self._leave_place(file, index)
            known = ()
        if worthy and (whole or continues) and self.parking.hold(part.place):
            file.places[index] = (*known, part)
        elif known:
            self._leave_place(file, index)

    def _leave_place(self, file: FileContent, index: int) -> None:
        self._let_go(file.places.pop(index, ()))

    def _let_go(self, parts: Parts) -> None:
        for part in parts:
            self.parking.let_go(part.place)
        self.copied_bytes -= copied_of(parts)

    def _park(self) -> None:
        """Take the oldest pinned chunks out of memory, down to the target; where the disk refuses, they stay."""
        while self.pinned_bytes > self.pinned_target_bytes:
            inode, index = next(iter(self._pinned))
            file = self.files[inode]
            data = file.chunks[index]
            if index not in file.places:
                place = self.parking.copy(data)
                if not place:
                    return
                file.places[index] = (Part(place, 0, len(data)),)
                self.copied_bytes += len(data)
            del file.chunks[index], self._pinned[inode, index]
            self.pinned_bytes -= len(data)

    def recall(self, file: FileContent, indexes: Sequence[int]) -> list[int]:
        """Take parked chunks back into memory where nobody waits for the disk; return which are cold still."""
        left = []
        for index in indexes:
            parked = file.places.get(index)
            data = None if parked is None else read(self.parking, parked, wait=False)
            if parked is None or data is None:
                left.append(index)
            else:
                self.recalled(file, index, parked, data)
        return left

    def recalled(self, file: FileContent, index: int, parked: Parts, data: bytes) -> None:
        """Keep what was read at its places, unless the chunk is another one by now."""
        if file.places.get(index) == parked and index not in file.chunks:
            self._keep_clean(file, index, data)

    def _keep_clean(self, file: FileContent, index: int, data: bytes) -> None:
        file.chunks[index] = data
        self._clean[file.inode, index] = len(data)
        self.clean_bytes += len(data)

    # -- what becomes of them

    def resize(self, file: FileContent, size: int) -> None:
        """Cut or extend to `size`: what lies above was or becomes zeros."""
        if size < file.size:
            file.cut, file.cut_at = min(file.cut, size), UNSEALED_CUT
            held = {**file.chunks, **file.places} if file.places else file.chunks
            for index in [i for i in held if (i + 1) * CHUNK_BYTES > size]:
                self._cut_chunk(file, index, max(size - index * CHUNK_BYTES, 0))
        file.size = size

    def _cut_chunk(self, file: FileContent, index: int, keep: int) -> None:
        chunk, parked, key = file.chunks.get(index), file.places.get(index, ()), (file.inode, index)
        if keep < length_of(parked):
            file.places[index] = kept = cut(parked, keep)
            self._let_go(parked[len(kept) :])
            self.copied_bytes -= copied_of(parked[: len(kept)]) - copied_of(kept)
        if chunk is not None and keep < len(chunk):
            lost = len(chunk) - keep
            file.chunks[index] = bytes(chunk[:keep])
            if key in self._pinned:
                self.pinned_bytes -= lost
            else:
                self.clean_bytes -= lost
                self._clean[key] = keep
        if not keep:
            self._leave_place(file, index)
            self._pinned.pop(key, None)
            self._clean.pop(key, None)
            file.chunks.pop(index, None)
            file.pins.pop(index, None)
            file.unsealed.discard(index)
            file.changed.discard(index)

    def sealed(self, file: FileContent, version: VersionId) -> None:
        """The unsealed bytes are now `version`; they stay pinned until it is confirmed."""
        indexes = tuple(file.unsealed)
        for index in indexes:
            file.pins[index] = version
        self._shipping.append(_Shipping(version, file, indexes, file.size))
        file.unconfirmed += 1
        file.version = version
        if file.cut_at == UNSEALED_CUT:
            file.cut_at = version
        file.unsealed.clear()
        file.unsealed_bytes = 0
        file.since_s = 0.0
        file.append_from = -1
        self.dirty.pop(file.inode, None)

    def confirmed(self, incarnation: int, sequence: int) -> None:
        """Everything up to this sequence of ours is in the store: its chunks may go when room is needed."""
        while self._shipping and self._shipping[0].version <= (incarnation, sequence):
            version, file, indexes, size = self._shipping.popleft()
            file.unconfirmed -= 1
            file.stored = version, size
            self._unpin(file, version, indexes)
            if file.gone and not file.unconfirmed and not file.dirty:
                self.drop(file.inode)
            elif not file.chunks and self.files.get(file.inode) is file:
                self._forget_empty(file)
        self.shrink()

    def is_unconfirmed(self, version: VersionId) -> bool:
        """Tell whether a version was sealed here and is not known to be in the store: it is nowhere else."""
        return any(shipping.version == version for shipping in self._shipping)

    def _unpin(self, file: FileContent, version: VersionId, indexes: tuple[int, ...]) -> None:
        for index in indexes:
            if file.pins.get(index) == version:
                del file.pins[index]
                file.settled.append(index)
                self._to_clean(file, index)
        if file.places and (len(file.settled) >= self.settled_max or not (file.unconfirmed or file.dirty)):
            self._rebase(file)

    def _to_clean(self, file: FileContent, index: int) -> None:
        key = (file.inode, index)
        if key in self._pinned:
            del self._pinned[key]
            size = len(file.chunks[index])
            self.pinned_bytes -= size
            self.clean_bytes += size
            self._clean[key] = size

    def fetched(self, file: FileContent, index: int, data: bytes) -> None:
        """Keep a chunk of the base that was fetched, unless it has come or changed meanwhile."""
        if index in file.chunks or index in file.changed or index * CHUNK_BYTES >= file.cut:
            return
        self._keep_clean(file, index, data[: file.cut - index * CHUNK_BYTES])

    def shrink(self) -> None:
        """Evict clean chunks, longest unused first, down to the bound."""
        tries = len(self._clean)
        while self.clean_bytes > self.clean_max_bytes and tries:
            tries -= 1
            inode, index = next(iter(self._clean))
            file = self.files[inode]
            if not self._is_elsewhere(file, index):
                self._clean.move_to_end((inode, index))
                continue
            self._evict(file, index)

    def _is_elsewhere(self, file: FileContent, index: int) -> bool:
        """Tell whether a clean chunk can be had again; the base moves up where that is what it takes."""
        if index in file.places or index not in file.changed:
            return True
        self._rebase(file)
        return index not in file.changed

    def _rebase(self, file: FileContent) -> None:
        """Make the newest stored version the base, unless one that cut the file is still on its way."""
        if file.stored is None or file.cut_at > file.stored[0]:
            return
        file.base, file.cut = file.stored
        file.map, file.cut_at = None, NO_CUT
        for index in file.settled:
            if index not in file.pins:
                file.changed.discard(index)
                self._leave_place(file, index)
        file.settled.clear()

    def _evict(self, file: FileContent, index: int) -> None:
        self.clean_bytes -= self._clean.pop((file.inode, index))
        del file.chunks[index]
        if not file.chunks:
            self._forget_empty(file)

    def _forget_empty(self, file: FileContent) -> None:
        if not file.pins and not file.changed and not file.dirty and not file.unconfirmed:
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
            if (inode, index) in self._pinned:
                del self._pinned[inode, index]
                self.pinned_bytes -= len(chunk)
            else:
                self.clean_bytes -= self._clean.pop((inode, index))
        for index in list(file.places):
            self._leave_place(file, index)
        file.chunks.clear()
        file.pins.clear()
        file.settled.clear()
