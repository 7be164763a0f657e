"""The two logs in Postgres: what writes them and what reads them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from app.core.decisions import DecisionRecord
from app.core.messages import ChunkData, FeedEvent, FeedMessage, PersistBatch, PersistReply, RecordBatch, RecordReply
from app.core.tree import Node


class LogHead(NamedTuple):
    """The last position of a log (0 when empty) and the hash of its row (32 zeros when empty)."""

    position: int
    hash: bytes


class TreeSnapshot(NamedTuple):
    """The confirmed tree at `head` from one REPEATABLE READ transaction, and the last sequences of the asker's
    incarnations.

    `dentries` are (parent, name, inode); `aliases` are (inode, target).
    """

    head: LogHead
    nodes: Iterable[tuple[int, Node]]
    dentries: Iterable[tuple[int, bytes, int]]
    aliases: Iterable[tuple[int, int]]
    last_sequences: dict[int, int]


class LoggedEvent(NamedTuple):
    """A file event as people read it (`weir log`, streams)."""

    log: str
    position: int
    kind: str
    at_ns: int
    agent: str
    session: str
    tool_call: str
    decision: str
    task_id: str
    path: bytes
    inode: int
    origin: str
    origin_name: str
    incarnation: int
    origin_seq: int
    outcome: str
    size: int


class EventFilter(NamedTuple):
    """Which events to read, newest first unless `ascending`; empty means any. `path` is a prefix of whole
    names; times are nanoseconds; `after` and `before` are exclusive positions.
    """

    log: str = "files"
    path: bytes = b""
    agent: str = ""
    since_ns: int = 0
    until_ns: int = 0
    after: int = 0
    limit: int = 50
    ascending: bool = False
    before: int = 0


class FileEventWriter(Protocol):
    """The files log, writing role; one instance a worker process."""

    def register_incarnation(self, project: str, origin: str, origin_name: str, request_id: str) -> int:
        """Return a fresh incarnation number of the project; the same request_id gets the same number."""

    def append(self, batch: PersistBatch, task_id: str) -> tuple[PersistReply, Sequence[FeedMessage]]:
        """Append in one transaction; return the reply and the feed messages to publish after the commit.

        Requests at or below the incarnation's last sequence are skipped if their digests agree. Raises
        nothing for bad requests: they are rejected with their position, or the reply's `error` says why.
        """

    def put_chunks(self, project: str, chunks: Sequence[ChunkData]) -> None:
        """Store chunks whose hash is that of their plain bytes; raises PayloadRefused for any other."""


class LogUpkeep(Protocol):
    """What the files log needs now and then, writing role."""

    def catch_up(self) -> int:
        """Make what was appended since easy to find by path and agent, note how far the log reaches; return how many
        events that was for. Raises ChainBroken if what it reached before is missing or another.
        """


class FileEventReader(Protocol):
    """The files log, reading role."""

    def head(self, log: str = "files") -> LogHead:
        """Return the head of a log."""

    def events_after(self, position: int, limit: int = 1000) -> Sequence[FeedEvent]:
        """Return up to `limit` events after `position`, in order."""

    def load_tree(self, incarnations: Sequence[int] = ()) -> TreeSnapshot:
        """Return the current tree, and the last stored sequence of each incarnation asked for (0 = none)."""

    def last_sequence(self, incarnation: int) -> int:
        """Return the highest stored sequence of an incarnation; 0 for none."""

    def chunk_map(self, inode: int, version: tuple[int, int]) -> dict[int, tuple[bytes, int]]:
        """Return index -> (hash, size) of the chunks of one version; holes are absent. A version that is not stored
        (yet) raises StoreUnavailable: an empty map would read as zeros.
        """

    def chunks(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the plain bytes of the chunks that the store has."""

    def log(self, wanted: EventFilter) -> Iterator[LoggedEvent]:
        """Yield events as people read them."""


class DecisionWriter(Protocol):
    """The decisions log, writing role."""

    def append(self, batch: RecordBatch, task_id: str) -> RecordReply:
        """Append in rows of up to 256 records; records at or below the spool's last sequence are skipped."""


class LoggedDecision(NamedTuple):
    """A recorded decision; its id in the log is `position.leaf`."""

    position: int
    leaf: int
    task_id: str
    spool: str
    record: DecisionRecord


class ChainReport(NamedTuple):
    """How far a log's hash chain is sound: to position `sound_to`; `broken_at` is the first bad one (0 = none)."""

    log: str
    sound_to: int
    broken_at: int
    reason: str


class LogReader(FileEventReader, Protocol):
    """Both logs and the past, reading role: what `weir log`, `weir doctor` and the gateway's heartbeat need besides."""

    def heads(self) -> dict[str, LogHead]:
        """Return the heads of the logs that have one."""

    def tree_at(self, position: int) -> TreeSnapshot:
        """Return the tree as it was at a position."""

    def chunk_map_at(self, inode: int, position: int) -> dict[int, tuple[bytes, int]]:
        """Return an inode's content map as it was at a position."""

    def decisions(self, wanted: EventFilter) -> Iterator[LoggedDecision]:
        """Yield decision records, newest first unless `ascending`; `path` is not looked at."""

    def verify_chain(self, log: str = "files") -> ChainReport:
        """Recompute every hash of a log."""

    def close(self) -> None:
        """Close its connections; a process that ends without it waits for the pool's threads."""
