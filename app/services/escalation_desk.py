"""The gateway's side of escalations: sends weir.escalate, and keeps callers with `wait_ms` until there is an answer.

In the event loop, beside validation: a line and a reply list of its own, so that who waits here holds up no verdict.
- An escalate verdict is recorded before it comes here, and its id is the ticket.
- Nothing here approves but the sealed reply of a worker, which says what the decisions log holds.
- weir.escalate is sent again until a worker says that it has the ticket, and around the deadline while somebody waits:
  the broker may lose any of it. While the broker is away nobody waits; one ticket a look tries it.
- Who still waits GRACE_NS after the deadline is blocked here, and that is recorded as an answer of its own.
"""

import asyncio
import time
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from app.core.decisions import Decision, Judgement, ToolCall, Verdict
from app.core.errors import PayloadRefused
from app.core.messages import FORMAT, decode, encode
from app.ports import Seal
from app.services.answers import Answered, answered_of
from app.services.escalation import (
    AGENT_MAX,
    ALL_MAX,
    BORDER,
    DEADLINE,
    ESCALATE,
    QUEUE,
    WAITING,
    EscalationReply,
    EscalationRequest,
    too_many,
)
from app.services.task_line import Letter
from app.services.validation import Line
from app.services.waiting import Answer
from app.telemetry.metrics import Metrics

WAIT_BEYOND_MS: Final = 5_000
"""A caller may wait this long past the deadline of its escalation: the answer to it has to come back."""
GRACE_NS: Final = 3_000_000_000
INPUT_BYTES_MAX: Final = 16 * 1024
_LOOK_S: Final = 0.25
_RESEND_NS: Final = 3_000_000_000
_RESEND_MAX_NS: Final = 30_000_000_000
_ASK_NS: Final = 10_000_000_000
_FORGET_NS: Final = 15_000_000_000
_LATE_NS: Final = 50_000_000
"""Past the deadline by this much a worker's clock agrees that it has come."""
_ENDED_MAX: Final = 1_000
_json: Final = msgspec.json.Encoder()

Settle = Callable[[ToolCall, int, Judgement, str, Answer], None]


class _Open:
    """A ticket without an end; `answer` is set while its caller waits."""

    __slots__ = (
        "answer", "answered", "call", "deadline_ns", "decision", "opened", "pause_ns", "payload", "send_ns",
        "started_ns", "timer",
    )  # fmt: skip

    def __init__(self, call: ToolCall, answered: Answered, started_ns: int, payload: bytes, deadline_ns: int) -> None:
        self.call = call
        self.answered = answered
        self.decision = answered.decision()
        self.started_ns = started_ns
        self.payload = payload
        self.deadline_ns = deadline_ns
        self.answer: Answer | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.opened = False
        self.pause_ns = _RESEND_NS
        self.send_ns = 0

    def sent(self, now: int) -> None:
        """Set when it goes out again: until a worker has it, then while its caller waits, and past the deadline."""
        next_ns = now + (_ASK_NS if self.opened else self.pause_ns)
        if not self.opened:
            self.pause_ns = min(2 * self.pause_ns, _RESEND_MAX_NS)
        if self.answer is not None and next_ns > self.deadline_ns:
            next_ns = max(now + _RESEND_NS // 3, self.deadline_ns + _LATE_NS)
        self.send_ns = next_ns

    def is_due(self, now: int) -> bool:
        """Tell whether it is to be sent now."""
        return self.send_ns <= now and (not self.opened or self.answer is not None)


class EscalationDesk:
    """Open escalations of one gateway. `settle` answers a call with a judgement, recorded first."""

    def __init__(
        self, project: str, line: Line, seal: Seal, settle: Settle, metrics: Metrics, *, patience_ms: int
    ) -> None:
        self._project = project
        self._line = line
        self._seal = seal
        self._settle = settle
        self._patience_ms = patience_ms
        self._open: dict[str, _Open] = {}
        self._of_agent: Tally[str] = Tally()
        self._ended: OrderedDict[str, Decision] = OrderedDict()
        self._away = False
        self._closing = False
        self._sent = metrics.counter("weir_escalations_sent_total", "weir.escalate tasks, those sent again included.")
        self._refused = metrics.counter("weir_escalations_refused_total", "Escalations blocked: too many were open.")
        self._odd = metrics.counter("weir_escalation_replies_refused_total", "Replies about unknown escalations.")
        metrics.gauge("weir_escalations_open", "Escalations without an answer.", lambda: len(self._open))
        metrics.gauge("weir_escalations_waited_for", "Callers that wait for one.", lambda: self._waiting)

    def ended(self, ticket: str) -> Decision | None:
        """Return how a recent escalation ended."""
        return self._ended.get(ticket)

    def escalate(self, call: ToolCall, answered: Answered, started_ns: int, answer: Answer) -> None:
        """Open a ticket for a recorded escalate verdict; answer now, or within the call's `wait_ms`."""
        if self._of_agent[call.agent] >= AGENT_MAX or len(self._open) >= ALL_MAX:
            self._refused.add()
            self._settle(call, started_ns, _blocked(answered.decision(), too_many(call.agent)), BORDER, answer)
            return
        ticket = self._keep(call, answered, started_ns)
        if call.wait_ms > 0 and not self._away and not self._closing:
            ticket.answer = answer
            wait_ms = min(call.wait_ms, self._patience_ms + WAIT_BEYOND_MS)
            ticket.timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._release, ticket)
        else:
            answer(answered)
        if not self._away:
            self._send(ticket, time.monotonic_ns())

    def on_reply(self, data: bytes) -> None:
        """Take what a worker says of a ticket; what does not decode or is not known here is counted and dropped."""
        self._away = False
        try:
            reply = decode(EscalationReply, data)
            ticket = self._open.get(reply.ticket)
            end = None if reply.state == WAITING else Verdict(reply.state)
        except (PayloadRefused, ValueError):
            self._odd.add()
            return
        if ticket is None or end is Verdict.ESCALATE:
            self._odd.add(reply.ticket not in self._ended)
        elif end is None:
            ticket.opened = True
            ticket.sent(time.monotonic_ns())
        else:
            self._end(ticket, reply, end)

    def on_failure(self, _number: int) -> None:
        """Note that the broker takes nothing: who waits for a ticket that no worker has is answered now."""
        self._away = True
        for ticket in self._open.values():
            if not ticket.opened:
                self._release(ticket)

    def look(self) -> None:
        """Send what is due again, end what is over; calls itself every 0.25 s."""
        now = time.monotonic_ns()
        due = [ticket for ticket in self._open.values() if ticket.is_due(now)]
        for ticket in due[:1] if self._away else due:
            self._send(ticket, now)
        for ticket in list(self._open.values()):
            if ticket.answer is not None and now > ticket.deadline_ns + GRACE_NS:
                self._block(ticket)
            elif now > ticket.deadline_ns + _FORGET_NS:
                self._forget(ticket)
        asyncio.get_running_loop().call_later(_LOOK_S, self.look)

    def close(self) -> None:
        """Let nobody wait any more: the gateway stops."""
        self._closing = True
        for ticket in self._open.values():
            self._release(ticket)

    @property
    def _waiting(self) -> int:
        return sum(ticket.answer is not None for ticket in self._open.values())

    def _keep(self, call: ToolCall, answered: Answered, started_ns: int) -> _Open:
        found = answered.ruling.ground
        at_ms = time.time_ns() // 1_000_000
        request = EscalationRequest(
            FORMAT,
            self._project,
            answered.id,
            self._line.address,
            at_ms,
            at_ms + self._patience_ms,
            call.agent,
            call.session,
            call.tool_call,
            call.tool,
            call.cwd,
            shown_input(call),
            found.rules,
            found.reason,
            found.policy_version,
        )
        payload = self._seal.sign(ESCALATE.encode(), encode(request))
        deadline_ns = time.monotonic_ns() + self._patience_ms * 1_000_000
        ticket = self._open[answered.id] = _Open(call, answered, started_ns, payload, deadline_ns)
        self._of_agent[call.agent] += 1
        return ticket

    def _send(self, ticket: _Open, now: int) -> None:
        self._sent.add()
        ticket.sent(now)
        self._line.post(Letter(0, ESCALATE, QUEUE, ticket.payload))

    def _end(self, ticket: _Open, reply: EscalationReply, verdict: Verdict) -> None:
        end = msgspec.structs.replace(
            ticket.decision,
            id=reply.id,
            verdict=verdict,
            reason=reply.reason,
            remedy="" if verdict is Verdict.APPROVE else _remedy(reply.layer),
            layer=reply.layer,
            cached=False,
            degraded=False,
            duration_us=(time.monotonic_ns() - ticket.started_ns) // 1000,
        )
        self._ended[ticket.decision.id] = end
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
        self._forget(ticket)
        if (answer := _take(ticket)) is not None:
            answer(answered_of(end))

    def _block(self, ticket: _Open) -> None:
        self._forget(ticket)
        if (answer := _take(ticket)) is not None:
            judgement = _blocked(ticket.decision, "the escalation's deadline passed, and no answer to it came back")
            self._settle(ticket.call, ticket.started_ns, judgement, DEADLINE, answer)

    def _release(self, ticket: _Open) -> None:
        """Answer a waiting caller with the ticket; it stays open."""
        if (answer := _take(ticket)) is not None:
            answer(ticket.answered)

    def _forget(self, ticket: _Open) -> None:
        if self._open.pop(ticket.decision.id, None) is not None:
            self._of_agent[ticket.call.agent] -= 1
            if not self._of_agent[ticket.call.agent]:
                del self._of_agent[ticket.call.agent]


def shown_input(call: ToolCall) -> bytes:
    """Return a call's input as JSON for the person who is asked; of a long one its beginning, which says so."""
    whole = _json.encode(call.input)
    if len(whole) <= INPUT_BYTES_MAX:
        return whole
    beginning = whole[:INPUT_BYTES_MAX].decode(errors="replace")
    return _json.encode({"cut": f"the first {INPUT_BYTES_MAX} of {len(whole)} bytes", "beginning": beginning})


def _take(ticket: _Open) -> Answer | None:
    answer, ticket.answer = ticket.answer, None
    if ticket.timer is not None:
        ticket.timer.cancel()
        ticket.timer = None
    return answer


def _blocked(decision: Decision, reason: str) -> Judgement:
    remedy = "ask again when a person can answer, or add a rule"
    return Judgement(Verdict.BLOCK, decision.rules, reason, remedy, decision.policy_version, decision.commands)


def _remedy(layer: str) -> str:
    return "ask again when a person can answer, or add a rule" if layer in {DEADLINE, BORDER} else "do it another way"
