"""Commits what a gateway's spool sends: append to the decisions log, then reply."""

from typing import NamedTuple

from app.core.messages import RecordBatch, encode
from app.ports import DecisionWriter, Replies
from app.services.persist import require_project


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
        """Append one batch; raises Unavailable or StoreRefused with nothing appended and nothing replied."""
        require_project(self._project, batch.project)
        reply = self._writer.append(batch, task_id)
        self._replies.push(batch.reply_to, encode(reply))
        return RecordSummary(len(batch.records), reply.acked, reply.position, reply.error)
