"""The journal of one incarnation, appending: used by the process that serves the kernel, and by an import.

One pwritev a record, nothing else: no decoding, no waiting, no copy of the data. Invariants:
**a call that raised has left no byte behind**; sequences are 1..N without gaps; the folder's journal.lock is
held from the first look at older journals until `close`.
Rotated segments are flushed by the next `sync`, which is one fdatasync for all who wait (group commit); from the first
on, zeros are kept ahead (zeros_ahead.py).
"""

import os
import threading
from typing import Final

import msgspec

from app.adapters.journal.doorbell import Doorbell
from app.adapters.journal.folder import MountFolder
from app.adapters.journal.group_commit import GroupCommit
from app.adapters.journal.parking import JournalParking, place_of
from app.adapters.journal.segment import Buffer, Segment
from app.adapters.journal.zeros_ahead import ZerosAhead
from app.core.errors import JournalError, JournalFull
from app.core.frames import JournalHeader, RecordType, base_body, frame, frame_of_parts, write_head
from app.core.ids import VersionId
from app.core.operations import FileOperationRequest, encode_request

SEGMENT_BYTES: Final = 64 * 1024 * 1024
JOURNAL_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
RESERVE_SHARE: Final = 16
"""Writes stop one sixteenth before the bound, so that what is written can still be sealed."""
_OPERATION: Final = int(RecordType.OPERATION)  # a member of an Enum costs an append half a microsecond
_WRITE: Final = int(RecordType.WRITE)
_BASE: Final = int(RecordType.BASE)


class JournalWriter:
    """Appends to the journal; made by `start` or by recovery.recover. Thread-safe."""

    def __init__(
        self,
        folder: MountFolder,
        header: JournalHeader,
        segment: Segment,
        lock: int,
        *,
        next_sequence: int = 1,
        segment_bytes: int = SEGMENT_BYTES,
        bytes_max: int = JOURNAL_BYTES_MAX,
    ) -> None:
        self.folder = folder
        self.incarnation = header.incarnation
        self.segment = header.segment
        self.next_sequence = next_sequence
        self._header = header
        self._segment = segment
        self._lock_descriptor = lock
        self._segment_bytes = segment_bytes
        self._bytes_max = bytes_max
        self._reserve = bytes_max // RESERVE_SHARE
        self._budget = bytes_max - folder.bytes_on_disk()
        self._bell = Doorbell(folder.path)
        self._append_lock = threading.Lock()
        self._flushing = GroupCommit(segment)
        self._ahead = ZerosAhead(segment, self._append_lock, segment_bytes)
        self.parking = JournalParking(folder, header.incarnation)

    @property
    def bytes_on_disk(self) -> int:
        """Size of everything that the folder's journals still hold, acknowledged segments excepted."""
        return self.folder.bytes_on_disk()

    def append_operation(self, request: FileOperationRequest) -> None:
        """Append a numbered request; `origin_seq` must be `next_sequence`. Raises JournalFull, JournalError."""
        body = encode_request(request)
        with self._append_lock:
            if request.origin_seq != self.next_sequence:
                raise JournalError(f"sequence {request.origin_seq} where {self.next_sequence} is next")
            total = len(body) + 16
            segment = self._segment
            if total > self._budget or segment.size + total > self._segment_bytes:
                segment = self._room(total, 0)
            segment.append((frame(_OPERATION, body, segment.seed), body), total)
            self._budget -= total
            self.next_sequence += 1
        self._bell.ring()

    def append_write(self, inode: int, offset: int, data: Buffer, base: tuple[VersionId, int] | None = None) -> int:
        """See OperationLog. Both records go in one append, so that a rotation never parts them."""
        head = write_head(inode, offset)
        total = length = len(data) + 32
        named = b"" if base is None else base_body(inode, *base)
        if named:
            total += len(named) + 16
        with self._append_lock:
            segment = self._segment
            if total > self._budget - self._reserve or segment.size + total > self._segment_bytes:
                segment = self._room(total, self._reserve)
            seed, place = segment.seed, place_of(self.segment, segment.size + total - length)
            parts: tuple[Buffer, ...] = (frame_of_parts(_WRITE, head, data, seed), head, data)
            segment.append((frame(_BASE, named, seed), named, *parts) if named else parts, total)
            self._budget -= total
        return place

    def sync(self) -> None:
        """Return when everything appended before the call is on disk; raises JournalError."""
        self._ahead.flushing()
        self._flushing.wait()
        self._ahead.flushed()

    def close(self) -> None:
        """Flush, close, and release the folder."""
        self._ahead.stop()
        with self._append_lock:
            self._segment.trim()
        self._flushing.wait()
        self.abandon()

    def abandon(self) -> None:
        """Close without a flush, as a kill would."""
        self._ahead.stop()
        self._flushing.close()
        self._bell.close()
        self.parking.close()
        os.close(self._lock_descriptor)

    def _room(self, total: int, reserve: int) -> Segment:
        if self._budget - total < reserve:
            self._budget = self._bytes_max - self.folder.bytes_on_disk()
            if self._budget - total < reserve:
                raise JournalFull(f"the journal holds its {self._bytes_max} bytes and nothing drains")
        if self._segment.size + total > self._segment_bytes:
            self._rotate()
        return self._segment

    def _rotate(self) -> None:
        segment = self._header.segment + 1
        header = msgspec.structs.replace(self._header, segment=segment, first_sequence=self.next_sequence)
        path = self.folder.files(header.incarnation).path(header.segment)
        fresh = Segment.create(path, header)
        self._segment.trim()
        self._segment = self._ahead.segment = fresh
        self._header, self.segment = header, segment
        self._flushing.follow(fresh)
