"""A person's answer to an escalation: sent to the workers until one says what stands."""

import uuid
from typing import Final

from app.core.decisions import Verdict
from app.core.errors import RequestInvalid
from app.core.messages import FORMAT, decode, encode
from app.ports import ReplyBox, Seal, Tasks
from app.services.escalation import ANSWER, QUEUE, AnswerReply, AnswerRequest
from app.services.one_reply import Asker, or_unavailable

PATIENCE_S: Final = 15.0
REASON_CHARACTERS_MAX: Final = 500


class Approver:
    """Answers tickets in one person's name. A message that is sent again has the same request id: it wins once."""

    def __init__(self, project: str, tasks: Tasks, replies: ReplyBox, seal: Seal) -> None:
        self._project = project
        self._asker = Asker(tasks, replies)
        self._seal = seal

    def answer(self, ticket: str, verdict: Verdict, by: str, reason: str) -> AnswerReply:
        """Return what stands; raises RequestInvalid for a ticket that nobody knows, Unavailable without an answer."""
        if len(reason) > REASON_CHARACTERS_MAX:
            raise RequestInvalid(f"--reason: {len(reason)} characters; say it in {REASON_CHARACTERS_MAX}")
        request_id = uuid.uuid4().hex
        request = AnswerRequest(FORMAT, self._project, request_id, self._asker.address, ticket, verdict, by, reason)
        payload = self._seal.sign(ANSWER.encode(), encode(request))
        found = self._asker.ask(ANSWER, QUEUE, payload, lambda data: _mine(data, request_id), PATIENCE_S)
        reply = or_unavailable(found, "the answer")
        if not reply.state:
            raise RequestInvalid(f"no escalation {ticket!r} waits; `weir approvals` lists them")
        return reply


def _mine(data: bytes, request_id: str) -> AnswerReply | None:
    reply = decode(AnswerReply, data)
    return reply if reply.request_id == request_id else None
