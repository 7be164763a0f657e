"""What services and entry points ask of the outside world: behaviour, units and errors; no vendor.

Every method may raise the `Unavailable` of its server; nothing else unless it says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from app.core.decisions import DecisionRecord, Judgement, ToolCall
from app.core.frames import JournalHeader, Record
from app.core.ids import VersionId
from app.core.messages import ChunkData, FeedEvent, FeedMessage, PersistBatch, PersistReply, RecordBatch, RecordReply
from app.core.operations import FileOperationRequest
from app.core.seal_plan import PlannedRequest
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
    """The gateway's answers on disk, until they are in the decisions log. `spool` is its id, 32 hex digits."""

    spool: str
    next_sequence: int

    def append(self, records: Sequence[DecisionRecord]) -> Sequence[int]:
        """Append with one write and return the sequences given; raises JournalFull or another JournalError."""

    def close(self) -> None:
        """Flush and close; what is not acknowledged is shipped by the next gateway."""


class PlacedRecord(NamedTuple):
    """A journal record, the segment that it stands in, and its sequence (0 for what is not numbered)."""

    record: Record
    segment: int
    sequence: int


class TailDamage(NamedTuple):
    """What follows `offset` of a journal file is no record; `lost_bytes` cannot be read."""

    file: str
    offset: int
    reason: str
    lost_bytes: int


class JournalRecords(Protocol):
    """The journal of one incarnation, read once from its first record on disk, also while it grows."""

    header: JournalHeader | None
    damage: list[TailDamage]

    def poll(self, bytes_max: int = ...) -> Sequence[PlacedRecord]:
        """Return the next whole records, [] at the end for now; raises JournalForeign, JournalCorrupt."""

    def finish(self) -> None:
        """Say that the writer is gone: an unreadable tail is damage from now on."""

    def close(self) -> None:
        """Close the files."""


class Journals(Protocol):
    """A mount's (or an import's) folder as its courier sees it."""

    name: str
    project: str
    origin: str

    def incarnations(self) -> Sequence[int]:
        """Return the incarnations on disk, ascending."""

    def records(self, incarnation: int) -> JournalRecords:
        """Return a reader at the first record of an incarnation."""

    def recovered(self) -> Set[int]:
        """Return the incarnations whose unsealed content a later journal has sealed again."""

    def is_written(self) -> bool:
        """Tell whether a process holds the journal."""

    def remove_below(self, incarnation: int, segment: int) -> None:
        """Remove the segments before `segment`, never under a recovery."""

    def remove_finished(self, incarnation: int) -> bool:
        """Remove all of an incarnation; False while it is the newest and a process holds the journal."""

    def pending_bytes(self, incarnation: int, segment: int, end: int) -> int:
        """Return the journal bytes behind a place, those of later incarnations included."""

    def spare(self) -> dict[str, Any]:
        """Return {"request_id", "incarnation"} of the spare; 0: it is being asked for, {}: nobody asked."""

    def keep_spare(self, request_id: str, incarnation: int) -> None:
        """Write down a question for an incarnation (0) or its answer."""

    def keep_status(self, status: dict[str, Any]) -> None:
        """Replace what the courier says of itself."""

    def announce_sleep(self) -> None:
        """From here on an append wakes `sleep`; look for work once more before it."""

    def sleep(self, timeout_s: float) -> None:
        """Wait for an append, at most `timeout_s`."""


class OperationLog(Protocol):
    """The journal as its writer sees it: **what a returned call appended survives any kill**.

    Every append raises JournalFull or another JournalError and then leaves nothing behind.
    """

    next_sequence: int

    @property
    def incarnation(self) -> int:
        """Return the incarnation whose journal this is."""

    @property
    def segment(self) -> int:
        """Return the number of the segment that takes the next record; earlier ones may be removed."""

    @property
    def bytes_on_disk(self) -> int:
        """Return what the folder's journals hold on disk."""

    def append_operation(self, request: FileOperationRequest) -> None:
        """Append a numbered request; its `origin_seq` must be `next_sequence`."""

    def append_base(self, inode: int, base: VersionId, size: int) -> None:
        """Say that the writes of `inode` that follow were made to `base`, of `size` bytes."""

    def append_write(self, inode: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Append unsealed content."""

    def sync(self) -> None:
        """Return when everything appended before the call is on disk (group commit)."""

    def close(self) -> None:
        """Flush and release the journal."""


class SpoolRecords(Protocol):
    """One spool, read once from its first record on disk."""

    def poll(self) -> Sequence[tuple[int, bytes]]:
        """Return the next (sequence, encoded DecisionRecord)s, [] at the end for now."""

    def acknowledge(self, sequence: int) -> None:
        """Remove the segments that hold nothing above `sequence`; the newest is kept."""

    def finish(self) -> None:
        """Say that the writer is gone."""

    def close(self) -> None:
        """Close the files."""


class Spools(Protocol):
    """All spools of a project as the shipper sees them."""

    def spools(self) -> Sequence[str]:
        """Return the ids of all spools on disk."""

    def open(self, spool: str) -> SpoolRecords:
        """Return a reader at the first record on disk."""

    def is_alive(self, spool: str) -> bool:
        """Tell whether the gateway that writes this spool still runs."""

    def forget(self, spool: str) -> None:
        """Remove what is left of a drained spool of a dead gateway."""


class Server(Protocol):
    """Redis or Postgres as one process runs it, or watches one that somebody else runs."""

    def start(self) -> str:
        """Start, wait until it serves (Postgres: the newest schema), and say in one line what serves."""

    def ended(self) -> int | None:
        """Return its exit code once it has ended; None while it runs, or where it is not ours."""

    def stop(self) -> None:
        """Stop it in order and wait; nothing where it is not ours."""


class Program(NamedTuple):
    """A line of the Procfile, or a further mount: `command` is for sh; a higher `nice` yields."""

    name: str
    command: str
    nice: int = 0


class ProgramState(NamedTuple):
    """A supervised program: `state` is running | starting | backoff | stopping | stopped | exited | fatal."""

    name: str
    state: str
    pid: int
    uptime_s: int
    restarts: int
    log: str


class Supervisor(Protocol):
    """Keeps programs running, restarts with back-off, stops in reverse order of start."""

    def alive(self) -> bool:
        """Tell whether it runs."""

    def launch(self, programs: Sequence[Program]) -> None:
        """Start it, detached, with these programs in this order; raises SetupError with its words if it cannot."""

    def states(self) -> Sequence[ProgramState]:
        """Return all programs in start order; empty while it does not run."""

    def add(self, programs: Sequence[Program]) -> None:
        """Start further programs, also after its own restart."""

    def start(self, name: str) -> None:
        """Start one program that is stopped or has given up; does not wait."""

    def stop(self, names: Sequence[str], timeout_s: float) -> None:
        """Stop programs at the same time and wait; raises SetupError when one does not stop in time."""

    def remove(self, name: str) -> None:
        """Forget a stopped program that was added."""

    def end(self, timeout_s: float) -> None:
        """Stop what still runs and end; returns when it is gone."""


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


class MountJournal(Protocol):
    """A mount's folder as its mount sees it; `damage` is what `start` found at the tails of older journals."""

    damage: list[TailDamage]

    @property
    def path(self) -> Path:
        """Return the folder."""

    def incarnations(self) -> Sequence[int]:
        """Return the incarnations on disk, ascending."""

    def take_spare(self) -> int | None:
        """Return an incarnation that nobody has used, None while the courier has not got one."""

    def start(
        self,
        incarnation: int,
        last_sequences: Mapping[int, int],
        current: Callable[[int], tuple[VersionId, int, bytes] | None],
    ) -> OperationLog:
        """Recover older journals and begin a new one; `current` is (version, size, path) of an inode in the tree.

        Raises JournalError where another process has the folder.
        """

    def pending(self, last_sequences: Mapping[int, int]) -> Iterator[tuple[int, PlannedRequest]]:
        """Yield (incarnation, request) above the store's last sequences, in the order of shipping."""

    def courier(self) -> dict[str, Any]:
        """Return what the courier last said of itself."""


class MountParts(NamedTuple):
    """What a mount works with; `subscriber` None where the feed is to come from the store alone."""

    project: str
    journal: MountJournal
    reader: FileEventReader
    subscriber: FeedSubscriber | None
    cache: ChunkCache | None
    flags: Mapping[str, bool] = {}
