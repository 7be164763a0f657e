"""Written bytes that are on disk only, until the store has them. See ports.Parking.

Most are read where the journal has them anyway: an open descriptor keeps a segment that the courier removes. What no
single record holds is copied to slots of a file without a name, which ends with the process. **A place is an int**: a
WRITE record's segment and offset, or below zero a slot. Every read is checked, by the record's own checksum or the
slot's.
"""

import contextlib
import errno
import heapq
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xxhash

from app.adapters.journal.folder import MountFolder
from app.core.errors import ContentUnavailable, JournalCorrupt
from app.core.frames import FRAME_BYTES, Record, RecordType, read_header, records, split_write
from app.core.ids import CHUNK_BYTES

_OFFSET_BITS: Final = 32
_HEADER_BYTES: Final = 64 * 1024
_RECORD_BYTES: Final = CHUNK_BYTES + 4 * FRAME_BYTES
"""Longer than any WRITE of the kernel's: one read takes the record, and the head of the next."""
_WOULD_WAIT: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP})


def place_of(segment: int, offset: int) -> int:
    """Return the place of a WRITE record; never 0, since a header stands before it."""
    return segment << _OFFSET_BITS | offset


@dataclass
class _Held:
    descriptor: int
    seed: int
    holds: int = 0


class JournalParking:
    """See ports.Parking, of one incarnation's journal."""

    def __init__(self, folder: MountFolder, incarnation: int) -> None:
        self._files = folder.files(incarnation)
        self._held: dict[int, _Held] = {}
        self._copies = _Copies(folder.path)

    def hold(self, place: int) -> bool:
        """See ports.Parking."""
        if place < 0:
            self._copies.hold(place)
            return True
        held = self._held.get(place >> _OFFSET_BITS) or self._open(place >> _OFFSET_BITS)
        if held is None:
            return False
        held.holds += 1
        return True

    def copy(self, data: bytes | bytearray) -> int:
        """See ports.Parking."""
        return self._copies.put(data)

    def let_go(self, place: int) -> None:
        """See ports.Parking."""
        if place < 0:
            self._copies.let_go(place)
            return
        segment = place >> _OFFSET_BITS
        held = self._held.get(segment)
        if held is None:
            return
        held.holds -= 1
        # of the newest one more record may be held at any moment
        if not held.holds and segment != max(self._held):
            del self._held[segment]
            os.close(held.descriptor)

    def read(self, place: int, *, wait: bool) -> bytes | None:
        """See ports.Parking."""
        if place < 0:
            return self._copies.read(place, wait=wait)
        segment, offset = place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)
        held = self._held[segment]
        data = _read(held.descriptor, _RECORD_BYTES, offset, wait=wait)
        if data is None:
            return None
        record = next(records(data, 0, held.seed))
        if not isinstance(record, Record) or record.type != RecordType.WRITE:
            if not wait:
                return None
            raise ContentUnavailable(f"{self._files.path(segment).name}: the record at {offset} is damaged")
        return bytes(split_write(record.body)[2])

    def close(self) -> None:
        """See ports.Parking."""
        while self._held:
            os.close(self._held.popitem()[1].descriptor)
        self._copies.close()

    def _open(self, segment: int) -> _Held | None:
        """Open a segment that the courier may remove from now on."""
        try:
            descriptor = os.open(self._files.path(segment), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            _header, seed, _end = read_header(os.pread(descriptor, _HEADER_BYTES, 0))
        except (OSError, JournalCorrupt):
            os.close(descriptor)
            return None
        for number in [number for number, held in self._held.items() if not held.holds]:
            os.close(self._held.pop(number).descriptor)
        held = self._held[segment] = _Held(descriptor, seed)
        return held


@dataclass
class _Slot:
    length: int
    checksum: int
    holds: int = 1


class _Copies:
    """Slots of 128 KiB, the lowest free one first; the file is emptied when none is held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._slots: dict[int, _Slot] = {}
        self._free: list[int] = []
        self._used = 0

    def put(self, data: bytes | bytearray) -> int:
        """Return the place of a copy, 0 where the disk refuses it."""
        try:
            if self._descriptor < 0:
                self._descriptor = _nameless(self._folder)
            slot = self._free[0] if self._free else self._used
            if os.pwrite(self._descriptor, data, slot * CHUNK_BYTES) != len(data):
                return 0
        except OSError:
            return 0
        if self._free:
            heapq.heappop(self._free)
        else:
            self._used += 1
        self._slots[slot] = _Slot(len(data), xxhash.xxh3_64_intdigest(data))
        return -slot - 1

    def hold(self, place: int) -> None:
        """Hold a copy once more."""
        self._slots[-place - 1].holds += 1

    def let_go(self, place: int) -> None:
        """Free the slot with its last holder."""
        slot = -place - 1
        held = self._slots.get(slot)
        if held is None:
            return
        held.holds -= 1
        if held.holds:
            return
        del self._slots[slot]
        heapq.heappush(self._free, slot)
        if not self._slots:
            self._free, self._used = [], 0
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def read(self, place: int, *, wait: bool) -> bytes | None:
        """See ports.Parking."""
        slot = self._slots[-place - 1]
        data = _read(self._descriptor, slot.length, (-place - 1) * CHUNK_BYTES, wait=wait)
        if data is None:
            return None
        if xxhash.xxh3_64_intdigest(data) == slot.checksum:
            return bytes(data)
        if not wait:
            return None
        raise ContentUnavailable(f"a copy of {slot.length} bytes that waited for the store on disk is damaged")

    def close(self) -> None:
        """Give the disk back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _nameless(folder: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(folder, flags | os.O_TMPFILE, 0o600)
    except OSError:  # not every file system has them
        path = folder / f".parked.{os.getpid()}"
        descriptor = os.open(path, flags | os.O_CREAT | os.O_TRUNC, 0o600)
        path.unlink()
        return descriptor


def _read(descriptor: int, length: int, offset: int, *, wait: bool) -> memoryview | None:
    """Return what is there, at most `length`; None where it is not in memory and nobody may wait for the disk."""
    buffer = bytearray(length)
    try:
        count = os.preadv(descriptor, [buffer], offset, 0 if wait else os.RWF_NOWAIT)
    except OSError as error:
        if not wait and error.errno in _WOULD_WAIT:
            return None
        raise ContentUnavailable(f"bytes that wait for the store: {error.strerror}") from error
    return memoryview(buffer)[:count]
