"""A person's answer to an escalation: sent to the workers until one says what stands."""

import time
import uuid
from typing import Final

from app.core.decisions import Verdict
from app.core.errors import PayloadRefused, RequestInvalid, Unavailable
from app.core.messages import FORMAT, decode, encode
from app.ports import ReplyBox, Seal, Tasks
from app.services.escalation import ANSWER, QUEUE, AnswerReply, AnswerRequest

RESEND_S: Final = 3.0
PATIENCE_S: Final = 15.0
REASON_CHARACTERS_MAX: Final = 500


class Approver:
    """Answers tickets in one person's name. A message that is sent again has the same request id: it wins once."""

    def __init__(self, project: str, tasks: Tasks, replies: ReplyBox, seal: Seal) -> None:
        self._project = project
        self._tasks = tasks
        self._replies = replies
        self._seal = seal

    def answer(self, ticket: str, verdict: Verdict, by: str, reason: str) -> AnswerReply:
        """Return what stands; raises RequestInvalid for a ticket that nobody knows, Unavailable without an answer."""
        if len(reason) > REASON_CHARACTERS_MAX:
            raise RequestInvalid(f"--reason: {len(reason)} characters; say it in {REASON_CHARACTERS_MAX}")
        request_id = uuid.uuid4().hex
        request = AnswerRequest(FORMAT, self._project, request_id, self._replies.address, ticket, verdict, by, reason)
        reply = self._ask(self._seal.sign(ANSWER.encode(), encode(request)), request_id)
        if not reply.state:
            raise RequestInvalid(f"no escalation {ticket!r} waits; `weir approvals` lists them")
        return reply

    def _ask(self, payload: bytes, request_id: str) -> AnswerReply:
        until = time.monotonic() + PATIENCE_S
        resend_at = 0.0
        while (now := time.monotonic()) < until:
            if now >= resend_at:
                self._tasks.send(ANSWER, payload, QUEUE)
                resend_at = now + RESEND_S
            reply = _reply(self._replies.wait(1.0))
            if reply is not None and reply.request_id == request_id:
                return reply
        raise Unavailable("no worker says what became of the answer: see `weir status`, then `weir approvals`")


def _reply(data: bytes | None) -> AnswerReply | None:
    try:
        return None if data is None else decode(AnswerReply, data)
    except PayloadRefused:
        return None
