"""Start of a journal: what a crash left unsealed in older ones is sealed again in the new one, then it is born whole.

The new first segment is written under a temporary name: header (`recovers`), the unsealed writes, their seals; flushed,
renamed into place, the folder flushed. Before the rename nothing has happened; after it the older journals
are never recovered again. Where the store has seen more of an older incarnation than its file holds (power loss),
its unsealed content is left: the store's newer version wins.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from app.adapters.journal.folder import MountFolder, sync_folder
from app.adapters.journal.journals import recovered_incarnations
from app.adapters.journal.reader import JournalReader
from app.adapters.journal.segment import Segment
from app.adapters.journal.writer import JOURNAL_BYTES_MAX, SEGMENT_BYTES, JournalWriter
from app.core.errors import JournalCorrupt, JournalError
from app.core.frames import FRAME_FORMAT, JournalHeader, RecordType, frame, frame_of_parts, write_head
from app.core.ids import EMPTY_VERSION, VersionId
from app.core.messages import FILES
from app.core.operations import encode_request
from app.core.seal_plan import PlannedRequest, SealPlan, Unsealed, seal_again
from app.ports import TailDamage


class CurrentContent(NamedTuple):
    """What the confirmed tree says of an inode whose journal holds no seal of it."""

    version: VersionId
    size: int
    path: bytes = b""


NOTHING_KNOWN: Final = CurrentContent(EMPTY_VERSION, 0)


class OldJournal(NamedTuple):
    """An older incarnation as it was found: `unsealed` is empty where the store has seen more than its file holds."""

    incarnation: int
    last_sequence: int
    unsealed: tuple[Unsealed, ...]
    damage: tuple[TailDamage, ...]
    written_ns: int


class Recovered(NamedTuple):
    """A started journal, and what was found in the older ones."""

    writer: JournalWriter
    old: tuple[OldJournal, ...]
    seals: int


class PendingRequest(NamedTuple):
    """A journalled request that the store has not acknowledged; `planned.changes` is the content that it seals."""

    incarnation: int
    planned: PlannedRequest


def recover(
    folder: MountFolder,
    incarnation: int,
    last_sequences: Mapping[int, int],
    current: Callable[[int], CurrentContent | None],
    *,
    segment_bytes: int = SEGMENT_BYTES,
    bytes_max: int = JOURNAL_BYTES_MAX,
) -> Recovered:
    """Start the journal of a fresh incarnation; `last_sequences` are the store's, of `folder.incarnations()`.

    Raises JournalError where another process has the journal, or the incarnation was used before.
    """
    lock = folder.lock("journal")
    if lock is None:
        raise JournalError(f"{folder.path}: another process writes this journal")
    try:
        with folder.removal():
            return _start(folder, incarnation, last_sequences, current, lock, segment_bytes, bytes_max)
    except BaseException:
        os.close(lock)
        raise


def pending(folder: MountFolder, last_sequences: Mapping[int, int]) -> Iterator[PendingRequest]:
    """Yield the requests above the store's last sequences, incarnation by incarnation, as they will be shipped."""
    for incarnation in folder.incarnations():
        acked = last_sequences.get(incarnation, 0)
        for planned in _planned(JournalReader(folder.files(incarnation)), incarnation, SealPlanHolder()):
            if planned.request.origin_seq > acked:
                yield PendingRequest(incarnation, planned)


class SealPlanHolder:
    """The plan of the journal that `_planned` reads, for whoever wants its remainder."""

    plan: SealPlan | None = None


def _planned(reader: JournalReader, incarnation: int, holder: SealPlanHolder) -> Iterator[PlannedRequest]:
    try:
        while found := reader.poll():
            if holder.plan is None:
                first = reader.header.first_sequence if reader.header else 1
                holder.plan = SealPlan(incarnation, last_sequence=first - 1)
            for placed in found:
                planned = holder.plan.feed(placed.record, placed.segment)
                if planned is not None:
                    yield planned
        reader.finish()
    finally:
        reader.close()


def _examine(folder: MountFolder, incarnation: int, seen: int) -> OldJournal:
    reader, holder = JournalReader(folder.files(incarnation)), SealPlanHolder()
    damage: list[TailDamage] = []
    try:
        for _planned_request in _planned(reader, incarnation, holder):
            pass
    except JournalCorrupt as error:
        damage.append(TailDamage(f"{incarnation:010d}", 0, str(error), 0))
    last = holder.plan.last_sequence if holder.plan else 0
    unsealed = tuple(holder.plan.remainder()) if holder.plan and seen <= last else ()
    files = folder.files(incarnation)
    written = [files.path(number).stat().st_mtime_ns for number in files.numbers()]
    return OldJournal(incarnation, last, unsealed, (*reader.damage, *damage), max(written, default=0))


def _start(
    folder: MountFolder,
    incarnation: int,
    last_sequences: Mapping[int, int],
    current: Callable[[int], CurrentContent | None],
    lock: int,
    segment_bytes: int,
    bytes_max: int,
) -> Recovered:
    for leftover in folder.journal.glob("*.new"):
        leftover.unlink()
    older = folder.incarnations()
    if older and older[-1] >= incarnation:
        raise JournalError(f"incarnation {incarnation} is not fresh: {older[-1]} is on disk")
    done = recovered_incarnations(folder)
    old = tuple(_examine(folder, i, last_sequences.get(i, 0)) for i in older if i not in done)
    header = JournalHeader(
        FRAME_FORMAT, FILES, folder.project, folder.origin, folder.name, incarnation, 0, 1, time.time_ns(), tuple(older)
    )
    target = folder.files(incarnation).path(0)
    fresh = target.with_suffix(".new")
    segment = Segment.create(fresh, header)
    try:
        seals = sum(_seal_again(segment, journal, current, first) for journal, first in _numbered(old))
        segment.sync()
        # a later power loss must not take what the seals above are made to
        _sync_files(folder, older)
        fresh.rename(target)
    except BaseException:
        segment.close()
        fresh.unlink(missing_ok=True)
        raise
    segment.path = target
    sync_folder(folder.journal)
    writer = JournalWriter(
        folder, header, segment, lock, next_sequence=seals + 1, segment_bytes=segment_bytes, bytes_max=bytes_max
    )
    return Recovered(writer, old, seals)


def _sync_files(folder: MountFolder, incarnations: Sequence[int]) -> None:
    """Put older journals on disk."""
    for incarnation in incarnations:
        files = folder.files(incarnation)
        for number in files.numbers():
            descriptor = os.open(files.path(number), os.O_RDONLY)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)


def _numbered(old: tuple[OldJournal, ...]) -> Iterator[tuple[OldJournal, int]]:
    first = 1
    for journal in old:
        yield journal, first
        first += len(journal.unsealed)


def _seal_again(
    segment: Segment, journal: OldJournal, current: Callable[[int], CurrentContent | None], first: int
) -> int:
    for sequence, unsealed in enumerate(journal.unsealed, first):
        for extent in unsealed.writes:
            head = write_head(unsealed.inode, extent.offset)
            framed = frame_of_parts(RecordType.WRITE, head, extent.data, segment.seed)
            segment.append((framed, head, extent.data), len(framed) + len(head) + len(extent.data))
        known = current(unsealed.inode) or NOTHING_KNOWN
        request = seal_again(unsealed, known.version, known.size, sequence, journal.written_ns, known.path)
        body = encode_request(request)
        framed = frame(RecordType.OPERATION, body, segment.seed)
        segment.append((framed, body), len(framed) + len(body))
    return len(journal.unsealed)
