"""From a journalled request to what is shipped: content composed over its base, hashed, named by chunk.

A function of the journal and the base alone: composing again gives the same bytes, hence the same digest.
The chunk map of an own version that the store has not acknowledged is known here only; any other base is read
from the store. The base's length is derived from its map, never remembered, so that a restart derives the same.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from app.core.chunks import Extent, ResizeTo, chunk_hash, compose, project_key, touched
from app.core.errors import ContentUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from app.core.operations import (
    ChunkRef,
    Content,
    FileOperationRequest,
    Operation,
    Rename,
    Unlink,
    encode_request,
)
from app.ports import ChunkCache, FileEventReader
from app.services.predecessors import Predecessors

ChunkMap = Mapping[int, tuple[bytes, int]]
CACHE_BYTES: Final = 64 * 1024 * 1024
KNOWN_ENTRIES: Final = 200_000
Change = Extent | ResizeTo


class Shippable(NamedTuple):
    """A request as it is shipped, with the plain bytes of the chunks that it names."""

    sequence: int
    request: bytes
    chunks: dict[bytes, bytes]


class PlainChunks:
    """Plain chunks by hash: byte-bounded memory, then the shared cache, then the store."""

    def __init__(self, cache: ChunkCache, reader: FileEventReader, bytes_max: int = CACHE_BYTES) -> None:
        self._cache = cache
        self._reader = reader
        self._bytes_max = bytes_max
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of all `hashes`; raises ContentUnavailable where one is nowhere."""
        found = {name: self._kept[name] for name in hashes if name in self._kept}
        for source in (self._cache.get, self._reader.chunks):
            absent = [name for name in hashes if name not in found]
            if absent:
                fetched = source(absent)
                self.keep(fetched)
                found.update(fetched)
        absent = [name for name in hashes if name not in found]
        if absent:
            raise ContentUnavailable(f"chunk {absent[0].hex()} and {len(absent) - 1} more are nowhere")
        return found

    def keep(self, chunks: Mapping[bytes, bytes]) -> None:
        """Remember chunks that were just made or fetched; the oldest go."""
        for name, data in chunks.items():
            if name not in self._kept:
                self._kept[name] = data
                self._kept_bytes += len(data)
        while self._kept_bytes > self._bytes_max:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])


class Sealer:
    """Composes the content requests of one incarnation in order; `seal` may be called again after Unavailable."""

    def __init__(
        self,
        project: str,
        incarnation: int,
        plain: PlainChunks,
        reader: FileEventReader,
        before: Predecessors | None = None,
    ) -> None:
        self._key = project_key(project)
        self._before = before or Predecessors()
        self._incarnation = incarnation
        self._plain = plain
        self._reader = reader
        self._maps = VersionMaps(reader)

    def seal(self, request: FileOperationRequest, body: bytes, changes: Sequence[Change]) -> Shippable:
        """Return what is shipped for a request (`body` is its journalled form). Raises Unavailable."""
        content = request.operation
        if not isinstance(content, Content):
            self._follow_names(content, request.origin_seq)
            return Shippable(request.origin_seq, body, {})
        base = self._maps.get(content.inode, content.base)
        refs, chunks = self._compose(base, changes, content.size)
        version = (self._incarnation, request.origin_seq)
        self._before.note(base, {ref.index: (ref.hash, ref.size_bytes) for ref in refs})
        self._maps.keep(content.inode, version, _folded(base, refs, content.size), appended=content.append_from >= 0)
        self._plain.keep(chunks)
        shipped = msgspec.structs.replace(request, operation=msgspec.structs.replace(content, chunks=refs))
        return Shippable(request.origin_seq, encode_request(shipped), chunks)

    def _follow_names(self, operation: Operation, sequence: int) -> None:
        if isinstance(operation, Rename) and operation.replaced:
            self._before.note(self._maps.newest(operation.replaced), self._maps.newest(operation.inode))
        self._maps.nameless(_lost_a_name(operation), sequence)

    def acknowledge(self, sequence: int) -> None:
        """The store has everything up to `sequence`."""
        self._maps.acknowledge(sequence)

    def _compose(
        self, base: ChunkMap, changes: Sequence[Change], size: int
    ) -> tuple[tuple[ChunkRef, ...], dict[bytes, bytes]]:
        base_size = mapped_size(base)
        indexes = sorted(touched(changes, base_size))
        needed = needed_base(base, changes, indexes)
        fetched = self._plain.get(list({base[i][0] for i in needed}))
        plain = {i: fetched[base[i][0]] for i in needed}
        refs, chunks = [], {}
        for index, data in compose(plain, base_size, changes, size).items():
            name = chunk_hash(self._key, data)
            refs.append(ChunkRef(index, name, len(data)))
            if name:
                chunks[name] = data
        return tuple(sorted(refs, key=_index_of)), chunks


class VersionMaps:
    """The chunk map of the newest own version of each inode, and of stored versions that were asked for.

    An appended version is forgotten once it is stored: the store may have composed it with another mount's. So is that
    of an inode that has lost a name: programs that make and remove files filled this to its bound, 600 bytes a file.
    """

    def __init__(self, reader: FileEventReader, entries_max: int = KNOWN_ENTRIES) -> None:
        self._reader = reader
        self._entries_max = entries_max
        self._entries = 0
        self._acked = 0
        self._known: OrderedDict[int, tuple[VersionId, ChunkMap]] = OrderedDict()
        self._leaving: deque[tuple[int, int]] = deque()

    def get(self, inode: int, version: VersionId) -> ChunkMap:
        """Return the map of a version; raises StoreUnavailable."""
        if version == EMPTY_VERSION:
            return {}
        known = self._known.get(inode)
        if known is not None and known[0] == version:
            self._known.move_to_end(inode)
            return known[1]
        return self._reader.chunk_map(inode, version)

    def newest(self, inode: int) -> ChunkMap:
        """Return the newest map that is known here, {} for none."""
        known = self._known.get(inode)
        return known[1] if known is not None else {}

    def keep(self, inode: int, version: VersionId, chunk_map: ChunkMap, *, appended: bool) -> None:
        """Remember the map of a version that was just composed."""
        self._drop(inode)
        self._known[inode] = (version, chunk_map)
        self._entries += len(chunk_map) + 1
        if appended:
            self._leaving.append((version[1], inode))

    def nameless(self, inode: int, sequence: int) -> None:
        """With `sequence` an inode loses a name; whoever writes to it still has its map read from the store."""
        if inode in self._known:
            self._leaving.append((sequence, inode))

    def acknowledge(self, sequence: int) -> None:
        """Versions up to `sequence` are stored: appended ones are forgotten, the others may be."""
        self._acked = sequence
        while self._leaving and self._leaving[0][0] <= sequence:
            leaves, inode = self._leaving.popleft()
            if inode in self._known and self._known[inode][0][1] <= leaves:
                self._drop(inode)
        while self._entries > self._entries_max and self._known:
            inode, (version, _map) = next(iter(self._known.items()))
            if version[1] > self._acked:
                return
            self._drop(inode)

    def _drop(self, inode: int) -> None:
        known = self._known.pop(inode, None)
        if known is not None:
            self._entries -= len(known[1]) + 1


def _lost_a_name(operation: Operation) -> int:
    """Return the inode that loses a name, 0 for none."""
    match operation:
        case Unlink(inode=inode) | Rename(replaced=inode):
            return inode
        case _:
            return 0


def mapped_size(chunk_map: ChunkMap) -> int:
    """Return the length of content up to its last chunk that is no hole."""
    return max((i * CHUNK_BYTES + size for i, (_name, size) in chunk_map.items()), default=0)


def needed_base(base: ChunkMap, changes: Sequence[Change], indexes: Iterable[int]) -> list[int]:
    """Return which of the touched chunks keep some byte of the base."""
    candidates = [i for i in indexes if i in base]
    if not candidates:
        return []
    covered = _covered(changes)
    return [i for i in candidates if not covered.whole(i * CHUNK_BYTES, i * CHUNK_BYTES + base[i][1])]


class _Coverage(NamedTuple):
    """Merged byte ranges that hold nothing of the base; `cut` and what is behind it neither."""

    ranges: tuple[tuple[int, int], ...]
    cut: int | None

    def whole(self, low: int, high: int) -> bool:
        """Tell whether all of low..high is covered."""
        if self.cut is not None:
            high = min(high, max(low, self.cut))
        return low == high or any(start <= low and high <= stop for start, stop in self.ranges)


def _covered(changes: Iterable[Change]) -> _Coverage:
    spans: list[tuple[int, int]] = []
    cut: int | None = None
    for change in changes:
        match change:
            case Extent(offset, data):
                spans.append((offset, offset + len(data)))
            case ResizeTo(size):
                cut = size if cut is None else min(cut, size)
    return _Coverage(tuple(_merged(spans)), cut)


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    low, high = -1, -1
    for start, stop in sorted(spans):
        if start > high:
            if high > low:
                yield low, high
            low, high = start, stop
        else:
            high = max(high, stop)
    if high > low:
        yield low, high


def _folded(base: ChunkMap, refs: Iterable[ChunkRef], size: int) -> ChunkMap:
    folded = {i: entry for i, entry in base.items() if i * CHUNK_BYTES < size}
    for ref in refs:
        folded.pop(ref.index, None)
        if ref.hash:
            folded[ref.index] = (ref.hash, ref.size_bytes)
    return folded


def _index_of(ref: ChunkRef) -> int:
    return ref.index
