"""Tickets for changes that the path rules escalate, on the side of the mount: opened with the
refusal, looked up by the next try.

A system call waits for nobody: it is refused with a ticket, and may be tried again once a person has approved it.
**A ticket is on disk before its EACCES is answered**, as a file that the courier sends to the workers until it has an
end. Asked again meanwhile, the same change has the same ticket. Called with llfuse.lock held, but `refresh`; a lock
of its own is between the two, never held over a look at the disk.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from app.core.decisions import DecisionRecord
from app.core.errors import PayloadRefused
from app.core.grants import Grant, grant_for, granted_by
from app.core.messages import FORMAT, decode, encode
from app.ports import TicketBox
from app.services.escalation import EscalationRequest

OPEN_MAX: Final = 100
"""Tickets of one mount that wait; beyond it a refusal has none."""
LEAVE_S: Final = 900.0
"""So long after a person's approval a change may begin. What is open by then may be written until it is closed."""


class WriteLeave:
    """One mount's tickets. `patience_s`: how long a person has for an answer."""

    def __init__(
        self, project: str, box: TicketBox, patience_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._project = project
        self._box = box
        self._patience_s = patience_s
        self._clock = clock
        self._given: dict[bytes, tuple[tuple[Grant, float], ...]] = {}
        self._open: dict[str, tuple[Grant, float]] = {}
        self._lock = threading.Lock()
        for ticket, request in box.waiting():
            self._remember(ticket, request)
        self.refresh()

    def lifted(self, operation: str, path: bytes, agent: str, session: str) -> str:
        """Return the ticket by which a change may be made that a rule escalates; '' where there is none."""
        for grant, until_s in self._given.get(path, ()):
            if grant.covers(operation, path, agent, session) and self._clock() < until_s:
                return grant.ticket
        return ""

    def ask(self, record: DecisionRecord) -> str:
        """Return the ticket of a refusal, a new one unless the same change waits already; '' where none can be had."""
        asked = granted_by(record.id, record)
        if asked is None:
            return ""
        now_s = self._clock()
        with self._lock:
            for ticket, (grant, deadline_s) in self._open.items():
                if grant[1:] == asked[1:] and now_s < deadline_s:
                    return ticket
            if len(self._open) >= OPEN_MAX:
                return ""
        try:
            self._box.open(record.id, encode(self._request(record)))
        except OSError:
            return ""
        with self._lock:
            self._open[record.id] = asked, now_s + self._patience_s
        return record.id

    def refresh(self) -> bool:
        """Look which tickets have an end; return whether any waits. Any thread but a handler's: it reads the disk."""
        now_s, given, over = self._clock(), dict[bytes, tuple[tuple[Grant, float], ...]](), set[str]()
        for ticket, end in self._box.ended():
            over.add(ticket)
            if end.at_s + LEAVE_S <= now_s:
                self._box.forget(ticket)
            elif end.approved and (grant := _grant(ticket, end.request)) is not None:
                given[grant.path] = (*given.get(grant.path, ()), (grant, end.at_s + LEAVE_S))
        self._given = given
        with self._lock:
            self._open = {
                ticket: asked for ticket, asked in self._open.items() if ticket not in over and asked[1] > now_s
            }
        return bool(self._open or given)

    def _remember(self, ticket: str, request: bytes) -> None:
        grant = _grant(ticket, request)
        if grant is not None:
            self._open[ticket] = grant, decode(EscalationRequest, request).deadline_at_ms / 1000

    def _request(self, record: DecisionRecord) -> EscalationRequest:
        at_ms = int(self._clock() * 1000)
        return EscalationRequest(
            FORMAT,
            self._project,
            record.id,
            "",
            at_ms,
            at_ms + int(self._patience_s * 1000),
            record.agent,
            record.session,
            record.tool_call,
            record.tool,
            record.cwd,
            record.input,
            record.rules,
            record.reason,
            record.policy_version,
        )


def _grant(ticket: str, request: bytes) -> Grant | None:
    try:
        asked = decode(EscalationRequest, request)
    except PayloadRefused:
        return None
    return grant_for(ticket, asked.agent, asked.session, asked.input)
