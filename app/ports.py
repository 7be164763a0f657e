"""What services and entry points ask of the outside world: behaviour, units and errors; no vendor.

Every method may raise the `Unavailable` of its server; nothing else unless it says so.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from app.core.decisions import DecisionRecord, Judgement, ToolCall
from app.core.messages import ChunkData, FeedEvent, FeedMessage, PersistBatch, PersistReply, RecordBatch, RecordReply
from app.core.tree import Node


class LogHead(NamedTuple):
    """The last position of a log (0 when empty) and the hash of its row (32 zeros when empty)."""

    position: int
    hash: bytes


class TreeSnapshot(NamedTuple):
    """The confirmed tree at `head` from one REPEATABLE READ transaction, with the last sequence of the asker's incarnations.

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
    names; times are nanoseconds; `after` is an exclusive position.
    """

    log: str = "files"
    path: bytes = b""
    agent: str = ""
    since_ns: int = 0
    until_ns: int = 0
    after: int = 0
    limit: int = 50
    ascending: bool = False


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
        """Return index -> (hash, size) of the chunks of one version; holes are absent."""

    def chunks(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the plain bytes of the chunks that the store has."""

    def log(self, wanted: EventFilter) -> Iterator[LoggedEvent]:
        """Yield events as people read them."""


class DecisionWriter(Protocol):
    """The decisions log, writing role."""

    def append(self, batch: RecordBatch, task_id: str) -> RecordReply:
        """Append in rows of up to 256 records; records at or below the spool's last sequence are skipped."""


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


class ChunkCache(Protocol):
    """The shared content cache: may lose anything, is checked by hash on the way out."""

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the plain bytes of the chunks it has."""

    def put(self, chunks: Sequence[ChunkData]) -> None:
        """Offer chunks; failures are silent."""


class SharedDecisions(Protocol):
    """The shared decision cache: entries carry a MAC and the policy version."""

    def get(self, fingerprints: Sequence[bytes], policy_version: str) -> dict[bytes, Judgement]:
        """Return the entries that are genuine and of this policy version."""

    def put(self, entries: Sequence[tuple[bytes, Judgement]], ttl_s: int) -> None:
        """Store entries; failures are silent."""


class KernelCache(Protocol):
    """The kernel's caches of one mount; never blocks, may be called with any lock held."""

    def forget_inode(self, inode: int, *, attributes_only: bool = False) -> None:
        """Queue invalidation of an inode's attributes and pages."""

    def forget_entry(self, parent: int, name: bytes) -> None:
        """Queue invalidation of a name (positive or negative)."""

    def forget_everything(self) -> None:
        """Queue invalidation of all that the kernel knows of this mount."""


class Policy(Protocol):
    """A compiled set of rules, or a holder that swaps in the newest one."""

    @property
    def version(self) -> str:
        """Return the version of rules and engine that the next judgement will name."""

    def judge(self, call: ToolCall) -> Judgement:
        """Judge one call: total, in microseconds; doubt is escalate, failure is block."""


class DecisionSpool(Protocol):
    """The gateway's answers on disk, until they are in the decisions log."""

    def append(self, records: Sequence[DecisionRecord]) -> Sequence[int]:
        """Append with one write and return the sequences given; raises JournalFull or another JournalError."""
