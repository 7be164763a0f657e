"""What beat asks for: heads as feed heartbeats, caches trimmed, the newest link of the chain looked at."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.errors import ChainBroken
from app.core.messages import DECISIONS, FILES, FORMAT, FeedMessage
from app.ports import FeedPublisher, FileEventReader, LogHead


class Heads(NamedTuple):
    """Positions of the two logs."""

    files: int
    decisions: int


class Upkeep:
    """Maintenance of one project; `trims` drop what is over a cache's bounds at a wall time in ms, and count."""

    def __init__(
        self, project: str, reader: FileEventReader, feed: FeedPublisher, trims: Sequence[Callable[[int], int]]
    ) -> None:
        self._project = project
        self._reader = reader
        self._feed = feed
        self._trims = trims

    def heartbeat(self) -> Heads:
        """Publish both heads; the gateway does so twice a second, this keeps mounts current without a gateway."""
        files, decisions = self._reader.head(FILES), self._reader.head(DECISIONS)
        self._feed.publish(_head_message(self._project, FILES, files))
        self._feed.publish(_head_message(self._project, DECISIONS, decisions))
        return Heads(files.position, decisions.position)

    def maintain(self, now_ms: int) -> int:
        """Trim the caches and check that the head is the hash of the last event; return how many were trimmed."""
        self._check_head()
        return sum(trim(now_ms) for trim in self._trims)

    def _check_head(self) -> None:
        head = self._reader.head(FILES)
        last = self._reader.events_after(head.position - 1, limit=1) if head.position else []
        if last and last[0].position == head.position and last[0].hash != head.hash:
            raise ChainBroken(f"the head of the files log does not carry the hash of event {head.position}")


def _head_message(project: str, log: str, head: LogHead) -> FeedMessage:
    return FeedMessage(FORMAT, project, log, head.position + 1, head.position, head.hash, head.hash)
