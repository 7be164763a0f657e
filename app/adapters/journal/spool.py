"""The gateway's spool: every answered call, on disk before its answer.

One write for all answers of a moment. Each start has a fresh random spool id; its files are
`<spool>-<segment:06d>.ws`, and an flock on `<spool>.lock` says that its gateway lives. Spools of dead gateways are
found by `spools` and shipped by the next one. A segment is removed when all of it is acknowledged.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.adapters.journal.folder import SegmentFiles, try_lock
from app.adapters.journal.reader import JournalReader
from app.adapters.journal.segment import Segment
from app.core.decisions import DecisionRecord
from app.core.errors import JournalError, JournalFull
from app.core.frames import FRAME_FORMAT, JournalHeader, RecordType, Run, frame, run_body, split_run
from app.core.messages import DECISIONS
from app.ports import TailDamage

SEGMENT_BYTES: Final = 8 * 1024 * 1024
SPOOL_BYTES_MAX: Final = 512 * 1024 * 1024
DENIALS: Final = "denials"
DENIAL_BYTES_MAX: Final = 64 * 1024 * 1024
RUN_MAX: Final = 256
RUN_BYTES: Final = 128 * 1024
_SUFFIX: Final = ".ws"


class DecisionSpool:
    """See ports.DecisionSpool. Thread-safe; `spool` is its id, `next_sequence` the next record's number."""

    def __init__(
        self, folder: Path, project: str, *, segment_bytes: int = SEGMENT_BYTES, bytes_max: int = SPOOL_BYTES_MAX
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.spool = uuid.uuid4().hex
        self.next_sequence = 1
        self._lock_descriptor = try_lock(folder / f"{self.spool}.lock")
        self._files = spool_files(folder, project, self.spool)
        self._header = JournalHeader(
            FRAME_FORMAT, DECISIONS, project, self.spool, "gateway", 0, 0, self.next_sequence, time.time_ns()
        )
        self._segment = Segment.create(self._files.path(0), self._header)
        self._segment_bytes = segment_bytes
        self._bytes_max = bytes_max
        self._budget = bytes_max - _bytes_in(folder)
        self._append_lock = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()

    def append(self, records: Sequence[DecisionRecord]) -> Sequence[int]:
        """See ports.DecisionSpool: numbers the records (whose own `sequence` is not looked at)."""
        with self._append_lock:
            first, encode = self.next_sequence, self._encoder.encode
            self._append(
                [
                    encode(
                        record if record.sequence == sequence else msgspec.structs.replace(record, sequence=sequence)
                    )
                    for sequence, record in enumerate(records, first)
                ]
            )
            return range(first, self.next_sequence)

    def append_encoded(self, records: Sequence[bytes], first: int) -> None:
        """See ports.DecisionSpool."""
        with self._append_lock:
            if first != self.next_sequence:
                raise JournalError(f"records from {first} on, where {self.next_sequence} is the next")
            self._append(records)

    def _append(self, bodies: Sequence[bytes]) -> None:
        self._rotate_if_full()
        parts: list[bytes] = []
        for run in _runs(bodies):
            body = run_body(run)
            parts += (frame(RecordType.DECISIONS, body, self._segment.seed), body)
        size = sum(map(len, parts))
        self._take(size)
        self._segment.append(parts, size)
        self._budget -= size
        self.next_sequence += len(bodies)

    @property
    def filled(self) -> float:
        """Return the share of the bound that is on disk, read from the folder."""
        return _bytes_in(self._files.folder) / self._bytes_max

    def close(self) -> None:
        """Flush, close and let the next gateway ship what is left."""
        with self._append_lock:
            self._segment.sync()
            self._segment.close()
            if self._lock_descriptor is not None:
                os.close(self._lock_descriptor)

    def _take(self, total: int) -> None:
        if total > self._budget:
            self._budget = self._bytes_max - _bytes_in(self._files.folder)
        if total > self._budget:
            raise JournalFull(f"the spool holds its {self._bytes_max} bytes and nothing drains")

    def _rotate_if_full(self) -> None:
        if self._segment.size < self._segment_bytes:
            return
        header = msgspec.structs.replace(
            self._header, segment=self._header.segment + 1, first_sequence=self.next_sequence
        )
        fresh = Segment.create(self._files.path(header.segment), header)
        self._segment.close()
        self._segment, self._header = fresh, header


class SpoolFolder:
    """All spools of a project as the shipper sees them. See ports.Spools."""

    def __init__(self, folder: Path, project: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._project = project

    def spools(self) -> Sequence[str]:
        """Return the ids of all spools that have a file, in no order."""
        return sorted({path.name.split("-")[0] for path in self._folder.glob(f"*{_SUFFIX}")})

    def open(self, spool: str) -> "SpoolCursor":
        """Return a cursor at the first record on disk."""
        return SpoolCursor(spool_files(self._folder, self._project, spool))

    def is_alive(self, spool: str) -> bool:
        """Tell whether the gateway that writes this spool still runs (this process counts)."""
        path = self._folder / f"{spool}.lock"
        if not path.exists():
            return False
        descriptor = try_lock(path)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def forget(self, spool: str) -> None:
        """Remove what is left of a drained spool of a dead gateway."""
        files = spool_files(self._folder, self._project, spool)
        for segment in files.numbers():
            files.remove(segment)
        (self._folder / f"{spool}.lock").unlink(missing_ok=True)


class SpoolCursor:
    """Reads one spool and removes what is acknowledged. See ports.SpoolRecords."""

    def __init__(self, files: SegmentFiles) -> None:
        self._files = files
        self._reader = JournalReader(files)
        self._last_of: dict[int, int] = {}

    @property
    def damage(self) -> Sequence[TailDamage]:
        """What was found unreadable."""
        return self._reader.damage

    def poll(self) -> list[Run]:
        """Return the next runs, [] at the end."""
        found = []
        for placed in self._reader.poll():
            if placed.sequence:
                bodies = split_run(placed.record.body)
                found.append(Run(placed.sequence, bodies, len(placed.record.body)))
                self._last_of[placed.segment] = placed.sequence + len(bodies) - 1
        return found

    def acknowledge(self, sequence: int) -> None:
        """Remove the segments that hold nothing above `sequence`; the newest is kept."""
        for segment, last in list(self._last_of.items())[:-1]:
            if last <= sequence:
                self._files.remove(segment)
                del self._last_of[segment]

    def finish(self) -> None:
        """Say that the writer is gone."""
        self._reader.finish()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def spool_files(folder: Path, project: str, spool: str) -> SegmentFiles:
    """Return the segments of one spool."""
    return SegmentFiles(folder, f"{spool}-", _SUFFIX, project, spool)


def _runs(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut a moment's answers where they pass RUN_MAX or RUN_BYTES: writev takes 1,024 parts, a frame 16 MiB."""
    for first in range(0, len(bodies), RUN_MAX):
        run = bodies[first : first + RUN_MAX]
        if sum(map(len, run)) <= RUN_BYTES:
            yield run
        else:
            yield from _cut(run)


def _cut(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for index, body in enumerate(bodies):
        if index > start and size + len(body) > RUN_BYTES:
            yield bodies[start:index]
            start, size = index, 0
        size += len(body)
    yield bodies[start:]


def _bytes_in(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total
