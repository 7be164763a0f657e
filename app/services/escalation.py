"""Calls that wait for a person or an expert: kept until their deadline, then blocked.

Nobody can answer one yet; what is here is the end of every escalation that nobody answers. The waiting
caller has the same deadline, so a lost entry ends as the same block.
"""

from typing import Protocol

import msgspec

from app.core.decisions import Judgement, ValidateReply, Verdict
from app.core.errors import PayloadRefused
from app.core.messages import FORMAT, decode, encode
from app.ports import Replies
from app.services.persist import require_project


class EscalationRequest(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.escalate: decision `id` waits until `deadline_at_ms` (wall clock)."""

    format: int
    project: str
    id: str
    reply_to: str
    deadline_at_ms: int
    policy_version: str = ""


class WaitingRoom(Protocol):
    """Where open escalations are kept."""

    def open(self, name: str, payload: bytes, deadline_at_ms: int) -> None:
        """Keep an escalation until it is taken; raises BrokerUnavailable where too many wait."""

    def take_due(self, now_ms: int) -> list[bytes]:
        """Take out escalations past their deadline; each is given to one caller only."""


class Escalations:
    """Open escalations as worker processes serve them."""

    def __init__(self, project: str, room: WaitingRoom, replies: Replies) -> None:
        self._project = project
        self._room = room
        self._replies = replies

    def open(self, request: EscalationRequest) -> str:
        """Keep a request until its deadline; return its id."""
        require_project(self._project, request.project)
        self._room.open(request.id, encode(request), request.deadline_at_ms)
        return request.id

    def expire(self, now_ms: int, task_id: str) -> int:
        """Block what is past its deadline; return how many were."""
        due = self._room.take_due(now_ms)
        for payload in due:
            self._block(payload, task_id)
        return len(due)

    def _block(self, payload: bytes, task_id: str) -> None:
        try:
            request = decode(EscalationRequest, payload)
        except PayloadRefused:
            return  # not written by a worker; nobody waits for it
        judgement = Judgement(
            verdict=Verdict.BLOCK,
            rules=(),
            reason="nobody answered the escalation before its deadline",
            remedy="ask again when somebody can answer, or add a rule",
            policy_version=request.policy_version,
            reads=("clock",),
        )
        reply = ValidateReply(FORMAT, request.id, task_id, "experts", (judgement,), ("experts",), 0)
        self._replies.push(request.reply_to, encode(reply))
