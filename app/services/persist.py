"""Commits what a courier sends: append, then publish, then reply.

The order matters: a message is published only after its commit, and the reply comes last, so that an
acknowledged sequence is in Postgres. A crash between them loses a message or a reply, never an event: the
mount reads the gap, the courier sends the same bytes again.
"""

from typing import NamedTuple

from app.core.errors import BrokerUnavailable, PayloadRefused
from app.core.messages import FORMAT, ChunkBatch, ChunkReply, FeedMessage, PersistBatch, PersistReply, encode
from app.ports import ChunkCache, FeedPublisher, FileEventWriter, Replies
from app.services.carrying import with_content


class PersistSummary(NamedTuple):
    """What one batch came to, in counts: safe to show to whoever may open Flower."""

    requests: int
    acked: int
    position: int
    rejected: int
    missing: int
    error: str


class Persister:
    """The files log as a worker process serves it. `unpublished` counts feed messages that pub/sub did not take; with
    `carries` small content goes along with them.
    """

    def __init__(
        self,
        project: str,
        writer: FileEventWriter,
        feed: FeedPublisher,
        replies: Replies,
        cache: ChunkCache,
        *,
        carries: bool = True,
    ) -> None:
        self.unpublished = 0
        self._project = project
        self._writer = writer
        self._feed = feed
        self._replies = replies
        self._cache = cache
        self._carries = carries

    def persist(self, batch: PersistBatch, task_id: str) -> PersistSummary:
        """Append one batch; raises Unavailable or StoreRefused with nothing appended and nothing replied."""
        require_project(self._project, batch.project)
        reply, messages = self._writer.append(batch, task_id)
        for message in with_content(messages, batch.chunks) if self._carries else messages:
            self._publish(message)
        self._replies.push(batch.reply_to, encode(reply))
        self._cache.put(batch.chunks)
        return _summary(batch, reply)

    def put_chunks(self, batch: ChunkBatch) -> int:
        """Store content sent ahead; return how many chunks are now in Postgres."""
        require_project(self._project, batch.project)
        self._writer.put_chunks(batch.project, batch.chunks)
        stored = tuple(chunk.hash for chunk in batch.chunks)
        self._replies.push(batch.reply_to, encode(ChunkReply(FORMAT, batch.batch_id, stored)))
        self._cache.put(batch.chunks)
        return len(stored)

    def _publish(self, message: FeedMessage) -> None:
        try:
            self._feed.publish(message)
        except BrokerUnavailable:
            self.unpublished += 1


def require_project(own: str, named: str) -> None:
    """Raise PayloadRefused for a payload of another project: a worker serves one."""
    if named != own:
        raise PayloadRefused("the payload is of another project than this worker's")


def _summary(batch: PersistBatch, reply: PersistReply) -> PersistSummary:
    rejected, missing = len(reply.rejected), len(reply.missing)
    return PersistSummary(len(batch.requests), reply.acked, reply.position, rejected, missing, reply.error)
