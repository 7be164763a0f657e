"""Asking the workers for a replay, batch after batch, newest decisions first, and adding up what they say."""

import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from app.core.decisions import DecisionRecord
from app.core.errors import RequestInvalid
from app.core.messages import DECISIONS, FORMAT, decode, encode
from app.ports import EventFilter, LogReader
from app.services.one_reply import Asker, or_unavailable
from app.services.replaying import BATCH_MAX, QUEUE, REPLAY, Change, Cursor, ReplayReply, ReplayRequest

PATIENCE_S: Final = 30.0


class Wish(msgspec.Struct, frozen=True):
    """Which decisions, by which version of the rules."""

    version: str
    limit: int
    since_ns: int = 0
    until_ns: int = 0
    agent: str = ""


class Replayed(msgspec.Struct):
    """What all batches came to, so far."""

    judged: int = 0
    skipped: int = 0
    unsure: int = 0
    counts: dict[tuple[str, str], int] = {}
    changes: list[Change] = []

    @property
    def differ(self) -> int:
        """Return how many would be another decision."""
        return sum(count for (old, new), count in self.counts.items() if old != new)

    def add(self, reply: ReplayReply) -> None:
        """Add a batch."""
        self.judged += reply.judged
        self.skipped += reply.skipped
        self.unsure += reply.unsure
        self.changes += reply.changes
        for old, new, count in reply.counts:
            self.counts[old, new] = self.counts.get((old, new), 0) + count


def replay(asker: Asker, project: str, wish: Wish, progress: Callable[[Replayed], None]) -> Replayed:
    """Return what up to `wish.limit` decisions came to; raises RequestInvalid where a worker refuses, Unavailable."""
    whole, after = Replayed(), Cursor()
    while True:
        left = wish.limit - whole.judged - whole.skipped
        if left <= 0:
            return whole
        reply = _batch(asker, project, wish, after, min(left, BATCH_MAX))
        if reply.error:
            raise RequestInvalid(reply.error)
        whole.add(reply)
        progress(whole)
        after = reply.next
        if not after.position:
            return whole


def _batch(asker: Asker, project: str, wish: Wish, after: Cursor, limit: int) -> ReplayReply:
    request_id = uuid.uuid4().hex
    request = ReplayRequest(
        FORMAT, project, request_id, asker.address, wish.version, after, limit, wish.since_ns, wish.until_ns, wish.agent
    )
    found = asker.ask(REPLAY, QUEUE, encode(request), lambda data: _mine(data, request_id), PATIENCE_S)
    return or_unavailable(found, "the replay")


def _mine(data: bytes, request_id: str) -> ReplayReply | None:
    reply = decode(ReplayReply, data)
    return reply if reply.request_id == request_id else None


def record_at(reader: LogReader, position: int, leaf: int) -> DecisionRecord | None:
    """Return one recorded decision."""
    wanted = EventFilter(log=DECISIONS, after=position - 1, before=position + 1, limit=256, ascending=True)
    return next((found.record for found in reader.decisions(wanted) if found.leaf == leaf), None)
