"""What a journal says: its requests in order, the writes that each seal covers, and those that none covers.

Courier (shipping) and mount start (recovery) feed one `SealPlan` the records of one incarnation, segment after segment.
A seal covers the WRITE records of its inode since the inode's previous seal; a truncating one also sets the length.
What unsealed writes were made to: the inode's last seal here, or its making here (empty), or what a BASE record says.
Requests come out 1..N; a hole (a damaged segment before the last) raises JournalCorrupt: nothing behind it is shipped.
"""

from typing import Final, NamedTuple

import msgspec

from app.core.chunks import Extent, ResizeTo
from app.core.errors import JournalCorrupt
from app.core.frames import Record, RecordType, split_base, split_write
from app.core.ids import EMPTY_VERSION, VersionId
from app.core.operations import Content, FileOperationRequest, Make, decode_request, kind_of

Place = tuple[int, int]
"""(segment, offset of the frame) of a record."""

_NOWHERE: Final[Place] = (0, -1)


class PlannedRequest(NamedTuple):
    """A numbered record: `body` is its verbatim encoding, `changes` what a Content seals, in order (else empty).

    `place` is its own, `from_place` that of the first WRITE it covers (its own where it covers none): segments below
    `from_place` are not needed to compose it.
    """

    request: FileOperationRequest
    body: bytes
    changes: tuple[Extent | ResizeTo, ...]
    place: Place
    from_place: Place


class Unsealed(NamedTuple):
    """Writes of `inode` that no seal covers, and the version (of `base_size` bytes) that they were made to; None and -1
    where the journal does not say: then it is the version that the tree has.
    """

    inode: int
    writes: tuple[Extent, ...]
    base: VersionId | None
    base_size: int
    from_place: Place


class SealPlan:
    """Folder of one incarnation's records."""

    def __init__(self, incarnation: int, *, last_sequence: int = 0, recovers: bool = True) -> None:
        """`last_sequence` is that of the record before the first one fed (header.first_sequence - 1). Who only ships,
        and asks for no `remainder`, need not keep the newest version of every inode that was ever made or changed.
        """
        self.incarnation = incarnation
        self._recovers = recovers
        self.last_sequence = last_sequence
        self._writes: dict[int, list[Extent]] = {}
        self._from: dict[int, Place] = {}
        self._sealed: dict[int, tuple[VersionId, int]] = {}
        self._based: dict[int, Place] = {}
        self._unsealed_bytes = 0

    @property
    def unsealed_bytes(self) -> int:
        """How many written bytes are held without a seal."""
        return self._unsealed_bytes

    def feed(self, record: Record, segment: int = 0) -> PlannedRequest | None:
        """Fold one record; return the request that it completes. HEADER and unknown types are passed over."""
        place = (segment, record.offset)
        if record.type == RecordType.WRITE:
            self._keep(record, place)
            return None
        if record.type == RecordType.BASE:
            inode, base, size = split_base(record.body)
            self._note(inode, base, size)
            self._based[inode] = place
            return None
        if record.type != RecordType.OPERATION:
            return None
        return self._plan(record, place)

    def oldest_unsealed(self) -> Place | None:
        """Return where the oldest write without a seal stands; None if all are sealed."""
        return min(self._from.values(), default=None)

    def remainder(self) -> list[Unsealed]:
        """Return what recovery seals again, in the order of first writing."""
        left = [
            Unsealed(inode, tuple(writes), base, base_size, self._from[inode])
            for inode, writes in self._writes.items()
            for base, base_size in (self._sealed.get(inode, (None, -1)),)
        ]
        return sorted(left, key=lambda unsealed: unsealed.from_place)

    def _note(self, inode: int, version: VersionId, size: int) -> None:
        if self._recovers:
            self._sealed[inode] = (version, size)

    def _keep(self, record: Record, place: Place) -> None:
        inode, offset, data = split_write(record.body)
        self._writes.setdefault(inode, []).append(Extent(offset, data))
        # the BASE record before the first write is needed as long as the write is
        self._from.setdefault(inode, self._based.pop(inode, place))
        self._unsealed_bytes += len(data)

    def _plan(self, record: Record, place: Place) -> PlannedRequest:
        try:
            request = decode_request(record.body)
        except msgspec.DecodeError as error:
            raise JournalCorrupt(f"incarnation {self.incarnation}: record at {place} is no request: {error}") from error
        if request.origin_seq != self.last_sequence + 1:
            raise JournalCorrupt(
                f"incarnation {self.incarnation}: sequence {request.origin_seq} at {place} follows {self.last_sequence}"
            )
        self.last_sequence = request.origin_seq
        changes: tuple[Extent | ResizeTo, ...] = ()
        from_place = place
        if isinstance(request.operation, Make):
            self._note(request.operation.inode, EMPTY_VERSION, 0)
        if isinstance(request.operation, Content):
            from_place = self._from.get(request.operation.inode, place)
            changes = self._seal(request.operation)
        return PlannedRequest(request, record.body, changes, place, from_place)

    def _seal(self, content: Content) -> tuple[Extent | ResizeTo, ...]:
        writes = self._writes.pop(content.inode, [])
        self._from.pop(content.inode, None)
        self._unsealed_bytes -= sum(len(extent.data) for extent in writes)
        self._note(content.inode, (self.incarnation, self.last_sequence), content.size)
        return (*writes, ResizeTo(content.size)) if content.truncated else tuple(writes)


def seal_again(
    unsealed: Unsealed, base: VersionId, base_size: int, sequence: int, at_ns: int, path: bytes = b""
) -> FileOperationRequest:
    """Return the seal of recovered writes in a new incarnation.

    `base` and `base_size` (of the tree) stand in where the journal knew none.
    Recovered bytes are a plain write, also where they were appended: their version is their base and them, whole.
    """
    if unsealed.base is not None:
        base, base_size = unsealed.base, unsealed.base_size
    size = max([base_size, *(extent.offset + len(extent.data) for extent in unsealed.writes)])
    content = Content(unsealed.inode, base, size, at_ns)
    return FileOperationRequest(sequence, at_ns, kind_of(content), path, "", "", "", content, base_version=base)
