"""What beat asks for: heads as feed heartbeats, caches trimmed, the files log looked at."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.messages import DECISIONS, FILES, FORMAT, FeedMessage
from app.ports import FeedPublisher, FileEventReader, LogHead, LogUpkeep


class Heads(NamedTuple):
    """Positions of the two logs."""

    files: int
    decisions: int


class Maintained(NamedTuple):
    """How many entries were trimmed, how many events can now be found by path and agent without reading past others."""

    trimmed: int
    spanned: int


class Upkeep:
    """Maintenance of one project; `trims` drop what is over a cache's bounds at a wall time in ms, and count."""

    def __init__(
        self,
        project: str,
        reader: FileEventReader,
        log: LogUpkeep,
        feed: FeedPublisher,
        trims: Sequence[Callable[[int], int]],
    ) -> None:
        self._project = project
        self._reader = reader
        self._log = log
        self._feed = feed
        self._trims = trims

    def heartbeat(self) -> Heads:
        """Publish both heads; the gateway does so twice a second, this keeps mounts current without a gateway."""
        files, decisions = self._reader.head(FILES), self._reader.head(DECISIONS)
        self._feed.publish(_head_message(self._project, FILES, files))
        self._feed.publish(_head_message(self._project, DECISIONS, decisions))
        return Heads(files.position, decisions.position)

    def maintain(self, now_ms: int) -> Maintained:
        """Trim the caches and see to the files log; raises ChainBroken if the log is not what it was."""
        trimmed = sum(trim(now_ms) for trim in self._trims)
        return Maintained(trimmed, self._log.catch_up())


def _head_message(project: str, log: str, head: LogHead) -> FeedMessage:
    return FeedMessage(FORMAT, project, log, head.position + 1, head.position, head.hash, head.hash)
