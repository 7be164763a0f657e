"""One incarnation's way out of the journal: read, planned, composed, in order, and removed when acknowledged."""

from collections import deque
from typing import Final, NamedTuple

from app.core.chunks import Extent
from app.core.frames import FRAME_BYTES
from app.core.seal_plan import PlannedRequest, SealPlan
from app.ports import JournalRecords, Journals
from app.services.sealing import Sealer
from app.services.shipment import Draft

PLANNED_BYTES_MAX: Final = 16 * 1024 * 1024


class _Waiting(NamedTuple):
    sequence: int
    from_segment: int
    end: tuple[int, int]


class IncarnationDrain:
    """Takes the records above `acked` from a journal; `place` is (segment, end) of the last record read.

    `finished` is for an incarnation that nothing is appended to any more.
    """

    def __init__(self, journals: Journals, incarnation: int, acked: int, sealer: Sealer) -> None:
        self.incarnation = incarnation
        self.acked = acked
        self.place = (0, 0)
        self.records: JournalRecords = journals.records(incarnation)
        self._journals = journals
        self._sealer = sealer
        self._plan: SealPlan | None = None
        self._planned: deque[PlannedRequest] = deque()
        self._planned_bytes = 0
        self._unacked: deque[_Waiting] = deque()
        self._acked_place = (0, 0)
        self._at_end = False
        self._removed_below = -1

    @property
    def is_drained(self) -> bool:
        """Tell whether the end was seen since `look_again`, and everything numbered up to it is acknowledged."""
        return self._at_end and not self._unacked and not self._planned

    @property
    def acked_place(self) -> tuple[int, int]:
        """Return (segment, end) of what is acknowledged."""
        return self._acked_place if self._unacked else self.place

    def begins_above(self, sequence: int) -> bool:
        """Tell whether the journal on disk lacks what follows `sequence`."""
        self._read()
        header = self.records.header
        return header is None or header.first_sequence > sequence + 1

    def look_again(self) -> None:
        """What was known of the journal's end is old now."""
        self._at_end = False

    def fill(self, draft: Draft) -> None:
        """Move requests from the journal into the draft; raises Unavailable, and may then be called again."""
        while not draft.is_full:
            if not self._planned and not self._read():
                return
            while self._planned and not draft.is_full:
                planned = self._planned[0]
                draft.add(self._sealer.seal(planned.request, planned.body, planned.changes))
                self._planned.popleft()
                self._planned_bytes -= _weight(planned)

    def acknowledge(self, sequence: int) -> None:
        """Everything up to `sequence` is in the store."""
        self.acked = max(self.acked, sequence)
        while self._unacked and self._unacked[0].sequence <= self.acked:
            self._acked_place = self._unacked.popleft().end
        self._sealer.acknowledge(self.acked)

    def remove_acknowledged(self) -> None:
        """Remove the segments that nothing unacknowledged or unsealed needs, but for the one being read."""
        unsealed = self._plan.oldest_unsealed() if self._plan else None
        needed = [self.place[0], *(waiting.from_segment for waiting in self._unacked)]
        needed += [unsealed[0]] if unsealed else []
        below = min(needed)
        if below > self._removed_below:  # looking whether there are any takes longer than all else after an answer
            self._journals.remove_below(self.incarnation, below)
            self._removed_below = below

    def remove_finished(self, *, recovered: bool) -> bool:
        """Remove the drained journal; False where unsealed writes wait for a recovery, or somebody recovers now."""
        unsealed = self._plan is not None and self._plan.oldest_unsealed() is not None
        return (recovered or not unsealed) and self._journals.remove_finished(self.incarnation)

    def finish(self) -> None:
        """The writer is gone: an unreadable tail is damage now."""
        self.records.finish()

    def close(self) -> None:
        """Close the journal's files."""
        self.records.close()

    def _read(self) -> bool:
        """Plan about PLANNED_BYTES_MAX of records, at least until one request is complete; False at the end."""
        while self._planned_bytes < PLANNED_BYTES_MAX:
            found = self.records.poll()
            self._at_end = not found
            if not found:
                break
            plan = self._plan or self._begin()
            for placed in found:
                planned = plan.feed(placed.record, placed.segment)
                if planned is not None and planned.request.origin_seq > self.acked:
                    self._keep(planned)
            self.place = (found[-1].segment, found[-1].record.end)
            if self._planned:
                return True
        return bool(self._planned)

    def _begin(self) -> SealPlan:
        header = self.records.header
        last = header.first_sequence - 1 if header else 0
        self._plan = plan = SealPlan(self.incarnation, last_sequence=last, recovers=False)
        return plan

    def _keep(self, planned: PlannedRequest) -> None:
        self._planned.append(planned)
        self._planned_bytes += _weight(planned)
        segment, offset = planned.place
        end = (segment, offset + FRAME_BYTES + len(planned.body))
        self._unacked.append(_Waiting(planned.request.origin_seq, planned.from_place[0], end))


def _weight(planned: PlannedRequest) -> int:
    weight = len(planned.body)
    for change in planned.changes:
        if isinstance(change, Extent):
            weight += len(change.data)
    return weight
