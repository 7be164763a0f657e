"""Commits what a gateway's spool sends: append to the decisions log, then reply.

The task is not signed. **A batch that names anything but a spool of its senders is refused**: `ticket:ID` is where the
workers keep how an escalation ended, and its first record is a person's answer.
"""

import re
from typing import Final, NamedTuple

from app.core.errors import PayloadRefused
from app.core.messages import RecordBatch, encode
from app.ports import DecisionWriter, Replies
from app.services.persist import require_project

SPOOL: Final = re.compile(r"(steering:)?[0-9a-f]{32}")


class RecordSummary(NamedTuple):
    """What one batch came to, in counts."""

    records: int
    acked: int
    position: int
    error: str


class Recorder:
    """The decisions log as a worker process serves it."""

    def __init__(self, project: str, writer: DecisionWriter, replies: Replies) -> None:
        self._project = project
        self._writer = writer
        self._replies = replies

    def record(self, batch: RecordBatch, task_id: str) -> RecordSummary:
        """Append one batch; raises PayloadRefused, Unavailable or StoreRefused: nothing appended, nothing replied."""
        require_project(self._project, batch.project)
        if not SPOOL.fullmatch(batch.spool):
            raise PayloadRefused(f"RecordBatch: {batch.spool[:50]!r} is no spool")
        reply = self._writer.append(batch, task_id)
        self._replies.push(batch.reply_to, encode(reply))
        return RecordSummary(len(batch.records), reply.acked, reply.position, reply.error)
