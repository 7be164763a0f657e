"""Recorded decisions judged once more, by another version of the rules: weir.replay, one bounded batch a task.

It reads and replies; nothing is recorded, cached or changed. What travels names no command: positions in the
decisions log, old and new verdict, rules. The rules travel by version, through what is kept of them on disk.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from app.core.decisions import Asked, DecisionRecord
from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.messages import DECISIONS, FORMAT, encode
from app.core.policy import Policy, compile_policy
from app.ports import EventFilter, LoggedDecision, LogReader, Replies, RuleBook
from app.services.persist import require_project

REPLAY: Final = "weir.replay"
QUEUE: Final = "maintenance"
BATCH_MAX: Final = 1_000
"""A batch is some tens of ms, and heartbeats wait behind it."""
CHANGES_MAX: Final = 500
JUDGED: Final = frozenset(("policy", "shared-cache", "local-cache", "degraded"))
"""Layers whose answer was the rules'; what a person, a deadline or the border said is none of theirs."""
_ROW_MAX: Final = 256
_input: Final = msgspec.json.Decoder(dict).decode


class Cursor(NamedTuple):
    """The last decision that was looked at, newest first; (0, 0) before the first and after the last."""

    position: int = 0
    leaf: int = 0


class ReplayRequest(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.replay: at most `limit` decisions older than `after`, by rules `version`."""

    format: int
    project: str
    request_id: str
    reply_to: str
    version: str
    after: Cursor
    limit: int
    since_ns: int = 0
    until_ns: int = 0
    agent: str = ""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A decision that would be another one."""

    position: int
    leaf: int
    before: str
    after: str
    rules: tuple[str, ...]


class ReplayReply(msgspec.Struct, frozen=True, array_like=True):
    """What a batch came to: `counts` are (old verdict, new verdict, how many), `changes` the first CHANGES_MAX of them,
    `unsure` depend on branch or time, which are not recorded; `next` is (0, 0) at the end; `error`: why it was none.
    """

    format: int
    request_id: str
    judged: int = 0
    skipped: int = 0
    unsure: int = 0
    counts: tuple[tuple[str, str, int], ...] = ()
    changes: tuple[Change, ...] = ()
    next: Cursor = Cursor()
    error: str = ""


class ReplaySummary(NamedTuple):
    """What Flower shows."""

    judged: int
    skipped: int
    differ: int


class Replayer:
    """Replays as a worker process serves them; the last version asked for stays compiled."""

    def __init__(self, project: str, book: RuleBook, reader: LogReader, replies: Replies) -> None:
        self._project = project
        self._book = book
        self._reader = reader
        self._replies = replies
        self._known: tuple[str, Policy] | None = None

    def replay(self, request: ReplayRequest) -> ReplaySummary:
        """Judge a batch and reply; raises Unavailable with nothing replied."""
        require_project(self._project, request.project)
        try:
            reply = self._batch(request, self._policy(request.version))
        except (RequestInvalid, PolicyInvalid) as error:
            reply = ReplayReply(FORMAT, request.request_id, error=str(error))
        self._replies.push(request.reply_to, encode(reply))
        differ = sum(count for old, new, count in reply.counts if old != new)
        return ReplaySummary(reply.judged, reply.skipped, differ)

    def _policy(self, version: str) -> Policy:
        if self._known is None or self._known[0] != version:
            self._known = (version, compile_policy(self._book.version(version)))
        return self._known[1]

    def _batch(self, request: ReplayRequest, policy: Policy) -> ReplayReply:
        counts: dict[tuple[str, str], int] = {}
        changes: list[Change] = []
        looked = unsure = 0
        last = Cursor()
        limit = max(1, min(request.limit, BATCH_MAX))
        for found in self._older(request, limit):
            looked += 1
            last = Cursor(found.position, found.leaf)
            call = _call(found.record)
            if call is None:
                continue
            judgement = policy.judge(call)
            unsure += bool(judgement.reads)
            pair = (found.record.verdict, judgement.verdict.value)
            counts[pair] = counts.get(pair, 0) + 1
            if pair[0] != pair[1] and len(changes) < CHANGES_MAX:
                changes.append(Change(*last, *pair, tuple([rule.id for rule in judgement.rules])))
        judged = sum(counts.values())
        tally = tuple([(*pair, count) for pair, count in sorted(counts.items())])
        after = last if looked == limit else Cursor()
        return ReplayReply(FORMAT, request.request_id, judged, looked - judged, unsure, tally, tuple(changes), after)

    def _older(self, request: ReplayRequest, limit: int) -> Iterator[LoggedDecision]:
        after, left = request.after, limit
        wanted = EventFilter(
            log=DECISIONS,
            agent=request.agent,
            since_ns=request.since_ns,
            until_ns=request.until_ns,
            before=after.position + 1 if after.position else 0,
            # of the row that the batch before ended in, what it had is read again
            limit=limit + _ROW_MAX,
        )
        for found in self._reader.decisions(wanted):
            if after.position and found.position == after.position and found.leaf >= after.leaf:
                continue
            yield found
            left -= 1
            if not left:
                return


def _call(record: DecisionRecord) -> Asked | None:
    """Return the call that was judged, None where the rules were not asked or it does not decode."""
    if record.layer not in JUDGED:
        return None
    try:
        given = _input(record.input)
    except msgspec.DecodeError:
        return None
    return Asked(record.tool, given, record.agent, record.session, record.cwd)
