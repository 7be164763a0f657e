"""Journals on disk, as mount, courier and import see them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Protocol

from app.core.frames import JournalHeader, Record
from app.core.ids import VersionId
from app.core.operations import FileOperationRequest


class PlacedRecord(NamedTuple):
    """A journal record, the segment that it stands in, and its (first) sequence, 0 for what is not numbered."""

    record: Record
    segment: int
    sequence: int


class TailDamage(NamedTuple):
    """What follows `offset` of a journal file is no record; `lost_bytes` cannot be read."""

    file: str
    offset: int
    reason: str
    lost_bytes: int


class JournalRecords(Protocol):
    """The journal of one incarnation, read once from its first record on disk, also while it grows."""

    header: JournalHeader | None
    damage: list[TailDamage]

    def poll(self, bytes_max: int = ...) -> Sequence[PlacedRecord]:
        """Return the next whole records, [] at the end for now; raises JournalForeign, JournalCorrupt."""

    def finish(self) -> None:
        """Say that the writer is gone: an unreadable tail is damage from now on."""

    def close(self) -> None:
        """Close the files."""


class Journals(Protocol):
    """A mount's (or an import's) folder as its courier sees it."""

    name: str
    project: str
    origin: str

    def incarnations(self) -> Sequence[int]:
        """Return the incarnations on disk, ascending."""

    def records(self, incarnation: int) -> JournalRecords:
        """Return a reader at the first record of an incarnation."""

    def recovered(self) -> AbstractSet[int]:
        """Return the incarnations whose unsealed content a later journal has sealed again."""

    def is_written(self) -> bool:
        """Tell whether a process holds the journal."""

    def remove_below(self, incarnation: int, segment: int) -> None:
        """Remove the segments before `segment`, never under a recovery."""

    def remove_finished(self, incarnation: int) -> bool:
        """Remove all of an incarnation; False while it is the newest and a process holds the journal."""

    def pending_bytes(self, incarnation: int, segment: int, end: int) -> int:
        """Return the journal bytes behind a place, those of later incarnations included."""

    def spare(self) -> dict[str, Any]:
        """Return {"request_id", "incarnation"} of the spare; 0: it is being asked for, {}: nobody asked."""

    def keep_spare(self, request_id: str, incarnation: int) -> None:
        """Write down a question for an incarnation (0) or its answer."""

    def keep_status(self, status: dict[str, Any]) -> None:
        """Replace what the courier says of itself; where the disk is full, the old one stays."""

    def announce_sleep(self) -> None:
        """From here on an append wakes `sleep`; look for work once more before it."""

    def sleep(self, timeout_s: float) -> None:
        """Wait for an append, at most `timeout_s`."""


class Parking(Protocol):
    """Where written bytes are read back from until the store has them: the journal's own record of them, or a copy.

    A place is held from `hold` or `copy` until as many `let_go`: nothing else comes to stand there, whoever removes the
    segment. All but `read` are called one at a time.
    """

    def hold(self, place: int) -> bool:
        """Hold a WRITE record (what `append_write` returned) or, once more, a copy; False where that cannot be had."""

    def copy(self, data: bytes | bytearray) -> int:
        """Put at most 128 KiB on disk and hold them; 0 where the disk refuses."""

    def let_go(self, place: int) -> None:
        """One reader less."""

    def read(self, place: int, *, wait: bool) -> bytes | None:
        """Return the bytes, whole and checked; None where they are not in memory and `wait` is False.

        Raises ContentUnavailable for what is not what was written.
        """

    def close(self) -> None:
        """Let go of everything."""


class OperationLog(Protocol):
    """The journal as its writer sees it: **what a returned call appended survives any kill**.

    Every append raises JournalFull or another JournalError and then leaves nothing behind.
    """

    next_sequence: int

    @property
    def parking(self) -> Parking:
        """Return where what is appended can be read back."""

    @property
    def incarnation(self) -> int:
        """Return the incarnation whose journal this is."""

    @property
    def segment(self) -> int:
        """Return the number of the segment that takes the next record; earlier ones may be removed."""

    @property
    def bytes_on_disk(self) -> int:
        """Return what the folder's journals hold on disk."""

    def append_operation(self, request: FileOperationRequest) -> None:
        """Append a numbered request; its `origin_seq` must be `next_sequence`."""

    def append_write(
        self, inode: int, offset: int, data: bytes | bytearray | memoryview, base: tuple[VersionId, int] | None = None
    ) -> int:
        """Append unsealed content: `data` was written to `inode` at `offset`, with `base` said before it: what this and
        the writes that follow were made to, and its size. Returns its place in `parking`, which is not held yet.
        """

    def sync(self) -> None:
        """Return when everything appended before the call is on disk (group commit)."""

    def close(self) -> None:
        """Flush and release the journal."""
