"""Sends a mount's tickets to the workers until each has an end. A thread of the courier.

The broker may lose any of it: weir.escalate is sent again until a worker says that it has the ticket, more seldom after
that, until the reply says how it ended. Nothing approves but such a reply, and the store asks the decisions log again.
"""

from threading import Event
from time import monotonic
from typing import Final

from msgspec.structs import replace

from app.core.decisions import Verdict
from app.core.errors import PayloadRefused, Unavailable
from app.core.messages import decode, encode
from app.ports import ReplyBox, Seal, Tasks, TicketBox
from app.services.escalation import ESCALATE, QUEUE, WAITING, EscalationReply, EscalationRequest

IDLE_S: Final = 0.25
RESEND_S: Final = 3.0
ASK_S: Final = 10.0


class TicketShipper:
    """One mount's; `error` says why nothing is sent."""

    def __init__(self, box: TicketBox, tasks: Tasks, replies: ReplyBox, seal: Seal) -> None:
        self.error = ""
        self._box = box
        self._tasks = tasks
        self._replies = replies
        self._seal = seal
        self._send_s: dict[str, float] = {}

    def run(self, stopping: Event) -> None:
        """Body of the thread."""
        while not stopping.is_set():
            try:
                waits = self.step(monotonic())
                self.error = ""
                stopping.wait(0.0 if waits else IDLE_S)
            except (Unavailable, OSError) as error:
                self.error = str(error)
                stopping.wait(RESEND_S)

    def step(self, now_s: float) -> bool:
        """Send what is due and take a reply; return whether a ticket waits."""
        waiting = self._box.waiting()
        for ticket, request in waiting:
            if self._send_s.get(ticket, 0.0) <= now_s:
                self._send(ticket, request, now_s)
        self._send_s = {ticket: self._send_s[ticket] for ticket, _ in waiting if ticket in self._send_s}
        if waiting and (reply := self._replies.wait(IDLE_S)) is not None:
            self._take(reply, now_s)
        return bool(waiting)

    def _send(self, ticket: str, request: bytes, now_s: float) -> None:
        try:
            asked = replace(decode(EscalationRequest, request), reply_to=self._replies.address)
        except PayloadRefused:  # no mount of this build wrote it
            self._box.end(ticket, approved=False)
            return
        self._tasks.send(ESCALATE, self._seal.sign(ESCALATE.encode(), encode(asked)), QUEUE)
        self._send_s[ticket] = now_s + RESEND_S

    def _take(self, data: bytes, now_s: float) -> None:
        try:
            reply = decode(EscalationReply, data)
        except PayloadRefused:
            return
        if reply.ticket not in self._send_s:
            return
        if reply.state == WAITING:
            self._send_s[reply.ticket] = now_s + ASK_S
        else:
            self._box.end(reply.ticket, approved=reply.state == Verdict.APPROVE)
