"""Redis as sender, reply list, feed and caches."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.core.decisions import Ruling
from app.core.messages import ChunkData, FeedMessage


class Tasks(Protocol):
    """The broker as a sender sees it."""

    def send(self, name: str, payload: bytes, queue: str) -> str:
        """Enqueue a task with one bytes argument and return its task id; raises BrokerUnavailable within 1 s."""


class ReplyBox(Protocol):
    """The reply list of one process."""

    address: str

    def wait(self, timeout_s: float) -> bytes | None:
        """Return the next reply, or None after `timeout_s` (at most 2)."""


class Replies(Protocol):
    """The worker's side of reply lists."""

    def push(self, address: str, payload: bytes) -> None:
        """Put a reply on a list; lists expire after 60 s without a reader."""


class FeedPublisher(Protocol):
    """Pub/sub, sending."""

    def publish(self, message: FeedMessage) -> None:
        """Publish; losing it is allowed."""


class FeedSubscriber(Protocol):
    """Pub/sub, receiving; reconnects by itself."""

    def poll(self, timeout_s: float) -> FeedMessage | None:
        """Return the next message, or None after `timeout_s` or on a lost connection."""

    def unbroken(self) -> bool:
        """Tell whether one connection has stood since the last call: then whatever was published came, in order."""


class ChunkCache(Protocol):
    """The shared content cache: may lose anything, is checked by hash on the way out."""

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the plain bytes of the chunks it has."""

    def put(self, chunks: Sequence[ChunkData]) -> None:
        """Offer chunks; failures are silent."""


class LocalChunks(Protocol):
    """Chunks on this machine's disk: may lose anything, is checked by hash on the way out; any thread may call."""

    refused: int

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the plain bytes of the chunks it has."""

    def keep(self, chunks: Mapping[bytes, bytes]) -> None:
        """Keep plain chunks, and remove what is over the bound; failures are silent."""


class SharedDecisions(Protocol):
    """The shared decision cache: entries carry a MAC and the policy version. `forged` and `stale`: what it ignored."""

    forged: int
    stale: int

    def get(self, fingerprints: Sequence[bytes], policy_version: str) -> dict[bytes, Ruling]:
        """Return the entries that are genuine and of this policy version."""

    def put(self, entries: Sequence[tuple[bytes, Ruling]], ttl_s: int) -> None:
        """Store entries; failures are silent."""


class DroppedMessages(Protocol):
    """How many messages were dropped from each queue because no sender of ours made them; told for an hour."""

    def add(self, queue: str) -> None:
        """Count one; raises Unavailable."""

    def counts(self) -> Mapping[str, int]:
        """Return the counts by queue; raises Unavailable."""
