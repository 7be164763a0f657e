"""The segments of one incarnation (or spool), read from its first segment on disk to its end, also while it grows.

A whole record is seen once, in order. What is behind the last whole record is no record yet: it is looked at
again. It becomes damage, reported with offset and reason, only when nothing more can come: a further segment
exists, or the writer is gone. Zeros up to the end of the file are none: the writer puts them there for records to
come. A tail never raises; numbers that do not follow each other do.
"""

import os
from typing import Final

from app.adapters.journal.folder import SegmentFiles
from app.core.errors import JournalCorrupt, JournalError
from app.core.frames import (
    BODY_MAX,
    FRAME_BYTES,
    JournalHeader,
    Record,
    Tail,
    check_owner,
    numbers_of,
    read_header,
    records,
)
from app.ports import PlacedRecord, TailDamage

READ_BYTES: Final = 1024 * 1024
GLANCE_BYTES: Final = 64 * 1024
"""Behind the last few records there are often megabytes of zeros: reading 1 MiB of them takes 100 us."""
_HEADER_BYTES: Final = 64 * 1024
_NOTHING: Final = bytes(FRAME_BYTES)


class JournalReader:
    """Reads one series of segments. `next_sequence` is that of the next numbered record, 0 before the first header."""

    def __init__(self, files: SegmentFiles) -> None:
        self.header: JournalHeader | None = None
        self.next_sequence = 0
        self.damage: list[TailDamage] = []
        self._files = files
        self._descriptor = -1
        self._segment = -1
        self._seed = 0
        self._offset = 0
        self._glance_bytes = GLANCE_BYTES
        self._tail = Tail(0, "end")

    def poll(self, bytes_max: int = READ_BYTES) -> list[PlacedRecord]:
        """Return the next whole records (about `bytes_max`), [] at the end. Raises JournalForeign, JournalCorrupt."""
        while True:
            if self._descriptor < 0 and not self._open_next():
                return []
            found = self._read(bytes_max)
            if found:
                return found
            if self._following() is None:
                return []
            found = self._read(bytes_max)  # what came between the read and the rotation
            if found:
                return found
            self._leave()

    def finish(self) -> None:
        """Say that the writer is gone: an unreadable tail is damage from now on. Call after a `poll` of []."""
        if self._descriptor >= 0:
            self._note_damage()

    def close(self) -> None:
        """Close the segment."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _following(self) -> int | None:
        return next((number for number in self._files.numbers() if number > self._segment), None)

    def _open_next(self) -> bool:
        while (segment := self._following()) is not None:
            try:
                descriptor = os.open(self._files.path(segment), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._segment = segment
                continue
            if self._enter(descriptor, segment):
                return True
            os.close(descriptor)
            if self._files.numbers()[-1:] == [segment]:
                return False
            path = self._files.path(segment)
            self.damage.append(TailDamage(path.name, 0, "header", path.stat().st_size))
            self._segment = segment
        return False

    def _enter(self, descriptor: int, segment: int) -> bool:
        """Begin with a segment; False where it has no whole header: its maker is at it, or was stopped there."""
        try:
            header, self._seed, self._offset = read_header(os.pread(descriptor, _HEADER_BYTES, 0))
        except JournalCorrupt:
            return False
        try:
            check_owner(header, self._files.project, self._files.origin)
            self._check_numbers(header)
        except JournalError:
            os.close(descriptor)
            raise
        self._descriptor, self._segment, self.header = descriptor, segment, header
        return True

    def _check_numbers(self, header: JournalHeader) -> None:
        if self.next_sequence and header.first_sequence != self.next_sequence:
            raise JournalCorrupt(
                f"{self._files.path(header.segment).name} begins with sequence {header.first_sequence}, "
                f"{self.next_sequence} and what follows it are lost"
            )
        self.next_sequence = header.first_sequence

    def _read(self, bytes_max: int) -> list[PlacedRecord]:
        if os.pread(self._descriptor, FRAME_BYTES, self._offset) in {b"", _NOTHING}:
            self._tail = Tail(self._offset, "end")
            return []
        found: list[PlacedRecord] = []
        for wanted in (min(self._glance_bytes, bytes_max), bytes_max, BODY_MAX + FRAME_BYTES + 1):
            start = self._offset
            data = os.pread(self._descriptor, wanted, start)
            found = self._parse(data)
            # who was not done with half of it has much more to read
            self._glance_bytes = READ_BYTES if self._offset - start > wanted // 2 else GLANCE_BYTES
            if found or len(data) < wanted:
                break
        return found

    def _parse(self, data: bytes) -> list[PlacedRecord]:
        found = []
        base = self._offset
        for item in records(data, 0, self._seed):
            if isinstance(item, Tail):
                self._tail = Tail(base + item.offset, item.reason)
                break
            count = numbers_of(item)
            placed = Record(item.type, item.body, base + item.offset, base + item.end)
            found.append(PlacedRecord(placed, self._segment, self.next_sequence if count else 0))
            self.next_sequence += count
        self._offset = self._tail.offset
        return found

    def _note_damage(self) -> None:
        name = self._files.path(self._segment).name
        end = os.fstat(self._descriptor).st_size
        lost = end - self._offset - zeros_at_end(self._descriptor, self._offset, end)
        if lost and not any(known.file == name for known in self.damage):
            reason = "checksum" if self._tail.reason == "end" else self._tail.reason
            self.damage.append(TailDamage(name, self._offset, reason, lost))

    def _leave(self) -> None:
        self._note_damage()
        self.close()


def zeros_at_end(descriptor: int, start: int, end: int) -> int:
    """Return how many bytes before `end` (down to `start`) are zeros."""
    low = end
    while low > start:
        block = max(start, low - _HEADER_BYTES)
        data = os.pread(descriptor, low - block, block)
        kept = len(data.rstrip(b"\0"))
        if kept:
            return end - block - kept
        low = block
    return end - start
