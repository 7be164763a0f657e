"""Calls that wait for a person: kept in the store until somebody answers, blocked at their deadline.

- A ticket has one end, the first that is appended to the decisions log: a person's answer, the deadline, or the bound
  on what may wait. Whoever comes later is told the one that stands.
- weir.escalate may come any number of times: it opens, or answers with the end, or, after the deadline, is the end.
- What opens or answers a ticket is sealed: who can write to the broker can do neither.
"""

from typing import Final, NamedTuple

import msgspec

from app.core.decisions import RECORD_FORMAT, DecisionRecord, Verdict
from app.core.errors import PayloadRefused
from app.core.messages import FORMAT, M, decode, encode
from app.ports import Replies, Seal, Ticket, Tickets
from app.services.persist import require_project

ESCALATE: Final = "weir.escalate"
ANSWER: Final = "weir.answer-escalation"
QUEUE: Final = "experts"
WAITING: Final = "waiting"
PERSON: Final = "person"
DEADLINE: Final = "deadline"
BORDER: Final = "border"
AGENT_MAX: Final = 100
"""Open tickets of one agent: what a person can still read. Beyond it the agent's escalations are blocks."""
ALL_MAX: Final = 1_000
DUE_MAX: Final = 200
_ENDS: Final = (Verdict.APPROVE, Verdict.BLOCK)


class EscalationRequest(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.escalate, sealed: call and reason of decision `ticket`, which waits until `deadline_at_ms`
    (wall clock). `input` is the call's JSON, of a long one the beginning.
    """

    format: int
    project: str
    ticket: str
    reply_to: str
    asked_at_ms: int
    deadline_at_ms: int
    agent: str
    session: str
    tool_call: str
    tool: str
    cwd: str
    input: bytes
    rules: tuple[str, ...]
    reason: str
    policy_version: str


class EscalationReply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a ticket: `state` is waiting, approve or block; the rest is of its terminal decision."""

    format: int
    ticket: str
    state: str
    id: str = ""
    layer: str = ""
    reason: str = ""


class AnswerRequest(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.answer-escalation, sealed: a person's `verdict` (approve | block) on a ticket."""

    format: int
    project: str
    request_id: str
    reply_to: str
    ticket: str
    verdict: str
    by: str
    reason: str


class AnswerReply(msgspec.Struct, frozen=True, array_like=True):
    """What stands after an answer; `won` if it is that answer. An unknown ticket has an empty `state`."""

    format: int
    request_id: str
    won: bool
    state: str = ""
    layer: str = ""
    reason: str = ""


class TicketSummary(NamedTuple):
    """What Flower shows of a task about one ticket."""

    ticket: str
    state: str


class Escalations:
    """Open escalations as worker processes serve them; times are wall clock."""

    def __init__(self, project: str, tickets: Tickets, replies: Replies, seal: Seal) -> None:
        self._project = project
        self._tickets = tickets
        self._replies = replies
        self._seal = seal

    def open(self, sealed: bytes, now_ms: int, task_id: str) -> TicketSummary:
        """Keep an escalation, or end it where nothing may wait any more; tell the gateway which."""
        request = self._unsealed(EscalationRequest, ESCALATE, sealed)
        require_project(self._project, request.project)
        end = self._tickets.ended(request.ticket) or self._end_at_once(request, now_ms, task_id)
        reply = _reply(request.ticket, end)
        self._replies.push(request.reply_to, encode(reply))
        return TicketSummary(request.ticket, reply.state)

    def answer(self, sealed: bytes, now_ms: int, task_id: str) -> TicketSummary:
        """End a ticket as a person says, unless it has an end; tell the gateway and the person what stands."""
        answer = self._unsealed(AnswerRequest, ANSWER, sealed)
        require_project(self._project, answer.project)
        if answer.verdict not in _ENDS:
            raise PayloadRefused(f"AnswerRequest: verdict {answer.verdict!r}")
        kept = self._tickets.request(answer.ticket)
        request = None if kept is None else decode(EscalationRequest, kept)
        if request is None:
            end = self._tickets.ended(answer.ticket)
        else:
            end = self._end(request, _answered(request, answer, now_ms, task_id))
        reply = _reply(answer.ticket, end)
        won = end is not None and end.id == _end_id(answer.ticket, answer.request_id)
        state = reply.state if end else ""
        said = AnswerReply(FORMAT, answer.request_id, won, state, reply.layer, reply.reason)
        self._replies.push(answer.reply_to, encode(said))
        return TicketSummary(answer.ticket, state or "unknown")

    def expire(self, now_ms: int, task_id: str) -> int:
        """Block what is past its deadline; return how many were looked at."""
        due = self._tickets.due(now_ms, DUE_MAX)
        for kept in due:
            try:
                request = decode(EscalationRequest, kept)
            except PayloadRefused:
                continue  # of an older build: its gateway has blocked its caller, and the others go on
            self._end(request, _unanswered(request, now_ms, task_id))
        return len(due)

    def _end_at_once(self, request: EscalationRequest, now_ms: int, task_id: str) -> DecisionRecord | None:
        if now_ms >= request.deadline_at_ms:
            return self._tickets.end(request.ticket, _unanswered(request, now_ms, task_id))
        ticket = Ticket(request.ticket, request.agent, request.deadline_at_ms, encode(request))
        if self._tickets.open(ticket, AGENT_MAX, ALL_MAX):
            return None
        record = _record(request, "full", Verdict.BLOCK, too_many(request.agent), BORDER, now_ms, task_id)
        return self._tickets.end(request.ticket, record)

    def _end(self, request: EscalationRequest, record: DecisionRecord) -> DecisionRecord:
        end = self._tickets.end(request.ticket, record)
        self._replies.push(request.reply_to, encode(_reply(request.ticket, end)))
        return end

    def _unsealed(self, kind: type[M], place: str, sealed: bytes) -> M:
        body = self._seal.open(place.encode(), sealed)
        if body is None:
            raise PayloadRefused(f"{kind.__name__}: the seal is not of this project's key")
        return decode(kind, body)


def too_many(agent: str) -> str:
    """Say why one more escalation cannot wait."""
    return f"{AGENT_MAX} escalations of {agent!r} (or {ALL_MAX} of all agents) wait for a person already"


def _answered(request: EscalationRequest, answer: AnswerRequest, now_ms: int, task_id: str) -> DecisionRecord:
    if now_ms >= request.deadline_at_ms:
        return _unanswered(request, now_ms, task_id)
    verdict = Verdict(answer.verdict)
    word = "approved" if verdict is Verdict.APPROVE else "denied"
    reason = f"{word} by {answer.by}" + (f": {answer.reason}" if answer.reason else "")
    return _record(request, answer.request_id, verdict, reason, PERSON, now_ms, task_id)


def _unanswered(request: EscalationRequest, now_ms: int, task_id: str) -> DecisionRecord:
    reason = "nobody answered the escalation before its deadline"
    return _record(request, DEADLINE, Verdict.BLOCK, reason, DEADLINE, now_ms, task_id)


def _end_id(ticket: str, ending: str) -> str:
    return f"{ticket}.{ending}"


def _record(
    request: EscalationRequest, ending: str, verdict: Verdict, reason: str, layer: str, now_ms: int, task_id: str
) -> DecisionRecord:
    return DecisionRecord(
        RECORD_FORMAT,
        1,
        now_ms * 1_000_000,
        _end_id(request.ticket, ending),
        request.agent,
        request.session,
        request.tool_call,
        request.tool,
        request.cwd,
        request.input,
        verdict,
        request.rules,
        reason,
        layer,
        cached=False,
        degraded=False,
        policy_version=request.policy_version,
        duration_us=max(now_ms - request.asked_at_ms, 0) * 1000,
        task_id=task_id,
    )


def _reply(ticket: str, end: DecisionRecord | None) -> EscalationReply:
    if end is None:
        return EscalationReply(FORMAT, ticket, WAITING)
    return EscalationReply(FORMAT, ticket, end.verdict, end.id, end.layer, end.reason)
