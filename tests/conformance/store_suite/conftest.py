"""The store's suite on each adapter: a store in memory (the model) and the one on Postgres."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.spans import PostgresSpans
from app.core.chain import EventHeader, payload_digest, row_hash
from app.core.chunks import Extent, chunk_hash, compose, project_key
from app.core.errors import PayloadRefused, StoreUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, GENESIS_HASH, first_inode
from app.core.memory_tree import MemoryTree
from app.core.messages import (
    FILES,
    FORMAT,
    ChunkData,
    FeedEvent,
    FeedMessage,
    OriginRange,
    Outcome,
    PersistBatch,
    PersistReply,
    Rejection,
    encode,
)
from app.core.operations import (
    ChunkRef,
    Content,
    FileOperationRequest,
    Operation,
    decode_request,
    encode_request,
    kind_of,
)
from app.core.tree import apply
from app.ports import FileEventWriter, LogHead


class Mount:
    """An origin as the store sees it: one incarnation, its sequences and inodes; sends batches and keeps them."""

    def __init__(self, writer: FileEventWriter, project: str, name: str = "m") -> None:
        self.writer, self.project, self.name = writer, project, name
        self.origin = uuid.uuid4().hex
        self.incarnation = writer.register_incarnation(project, self.origin, name, uuid.uuid4().hex)
        self.sequence = 0
        self.next_inode = first_inode(self.incarnation)
        self.key = project_key(project)

    def inode(self) -> int:
        self.next_inode += 1
        return self.next_inode - 1

    def chunk(self, data: bytes) -> ChunkData:
        return ChunkData(chunk_hash(self.key, data), len(data), "raw", data)

    def batch(self, *operations: Operation, chunks: Sequence[ChunkData] = (), agent: str = "agent") -> PersistBatch:
        """Number the operations and make a batch of them."""
        requests = []
        for operation in operations:
            self.sequence += 1
            now = time.time_ns()
            request = FileOperationRequest(
                self.sequence, now, kind_of(operation), b"seen", agent, "s1", "t1", operation
            )
            requests.append(encode_request(request))
        return self.packed(requests, chunks)

    def packed(self, requests: Sequence[bytes], chunks: Sequence[ChunkData] = ()) -> PersistBatch:
        batch_id = uuid.uuid4().hex
        return PersistBatch(
            FORMAT,
            self.project,
            self.origin,
            self.name,
            self.incarnation,
            batch_id,
            "r",
            tuple(requests),
            tuple(chunks),
        )

    def do(
        self, *operations: Operation, chunks: Sequence[ChunkData] = ()
    ) -> tuple[PersistReply, Sequence[FeedMessage]]:
        """Append operations; the reply must not be an error."""
        reply, feed = self.writer.append(self.batch(*operations, chunks=chunks), "task")
        assert not reply.error, reply
        return reply, feed


class Model:
    """What a project's events fold to: the tree, and the content map of every version; fed with feed events."""

    def __init__(self) -> None:
        self.tree = MemoryTree()
        self.maps: dict[tuple[int, int], dict[int, tuple[bytes, int]]] = {EMPTY_VERSION: {}}

    def fold(self, event: FeedEvent) -> None:
        request = decode_request(event.request)
        if event.outcome.kind == "rejected":
            return
        operation = request.operation
        before = self.tree.node(operation.inode) if isinstance(operation, Content) else None
        outcome = apply(self.tree, request, event.incarnation, event.origin_name)
        assert outcome.kind == event.outcome.kind, (event, outcome)
        if isinstance(operation, Content):
            refs = [(r.index, r.hash, r.size_bytes) for r in operation.chunks]
            own = self._overlay(self.maps[operation.base], refs, operation.size)
            self.maps[(event.incarnation, event.sequence)] = own
            if outcome.kind == "composed":
                assert before is not None
                size = event.outcome.size
                joined = self._overlay(self.maps[before.version], event.outcome.chunks, size)
                self.maps[(event.incarnation, -event.sequence)] = joined

    @staticmethod
    def _overlay(base: dict[int, tuple[bytes, int]], refs: Any, size: int) -> dict[int, tuple[bytes, int]]:
        merged = {**base, **{index: (name, length) for index, name, length in refs}}
        return {i: c for i, c in merged.items() if c[0] and i * CHUNK_BYTES < size}

    def rows(self) -> tuple[dict[int, Any], set[tuple[int, bytes, int]]]:
        names = {(parent, name, inode) for parent, held in self.tree.children.items() for name, inode in held.items()}
        return dict(self.tree.nodes), names


class MemoryStore:
    """See FileEventWriter and FileEventReader, in memory: the contract in its plainest words."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._logs: dict[str, MemoryLog] = {}

    def log_of(self, project: str) -> "MemoryLog":
        return self._logs.setdefault(project, MemoryLog(project))

    def register_incarnation(self, project: str, origin: str, origin_name: str, request_id: str) -> int:
        with self._guard:
            log = self.log_of(project)
            number = log.requests.setdefault(request_id, len(log.requests) + 1)
            log.origins.setdefault(number, (origin, origin_name))
            return number

    def put_chunks(self, project: str, chunks: Sequence[ChunkData]) -> None:
        with self._guard:
            self.log_of(project).store(chunks)

    def append(self, batch: PersistBatch, task_id: str) -> tuple[PersistReply, Sequence[FeedMessage]]:
        with self._guard:
            return self.log_of(batch.project).append(batch, task_id)


class MemoryLog:
    """One project's files log."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.requests: dict[str, int] = {}
        self.origins: dict[int, tuple[str, str]] = {}
        self.events: list[FeedEvent] = []
        self.stored: dict[int, list[FeedEvent]] = {}
        self.data: dict[bytes, bytes] = {}
        self.model = Model()

    def store(self, chunks: Sequence[ChunkData]) -> None:
        for chunk in chunks:
            if chunk_hash(project_key(self.project), chunk.data) != chunk.hash:
                raise PayloadRefused("hash")
            self.data[chunk.hash] = chunk.data

    def append(self, batch: PersistBatch, task_id: str) -> tuple[PersistReply, Sequence[FeedMessage]]:
        known = self.stored.setdefault(batch.incarnation, [])
        first = decode_request(batch.requests[0]).origin_seq

        def reply(**words: Any) -> tuple[PersistReply, Sequence[FeedMessage]]:
            return PersistReply(FORMAT, batch.batch_id, batch.incarnation, len(known), len(self.events), **words), ()

        if self.origins.get(batch.incarnation, ("", ""))[0] != batch.origin:
            return reply(error="unknown-incarnation")
        if first > len(known) + 1:
            return reply(error="gap")
        self.store(batch.chunks)
        requests = [decode_request(r) for r in batch.requests]
        named = {c.hash for r in requests if isinstance(r.operation, Content) for c in r.operation.chunks if c.hash}
        if named - self.data.keys():
            return reply(missing=tuple(sorted(named - self.data.keys())))
        before = self.events[-1].hash if self.events else GENESIS_HASH
        fresh: list[FeedEvent] = []
        rejected: list[Rejection] = []
        for payload, request in zip(batch.requests, requests, strict=True):
            if request.origin_seq <= len(known):
                if known[request.origin_seq - 1].request != payload:
                    return reply(error="digest-mismatch")
                event = known[request.origin_seq - 1]
            else:
                event = self._event(batch, payload, request, task_id)
                known.append(event)
                fresh.append(event)
            if event.outcome.kind == "rejected":
                rejected.append(Rejection(event.sequence, event.position, event.outcome.reason))
        answer, _ = reply(rejected=tuple(rejected))
        if not fresh:
            return answer, ()
        span = OriginRange(batch.incarnation, fresh[0].sequence, fresh[-1].sequence, fresh[0].position)
        odd = tuple(e.position for e in fresh if e.outcome.kind != "applied")
        low, high = fresh[0].position, fresh[-1].position
        return answer, (
            FeedMessage(FORMAT, self.project, FILES, low, high, before, fresh[-1].hash, (span,), odd, tuple(fresh)),
        )

    def _event(self, batch: PersistBatch, payload: bytes, request: FileOperationRequest, task_id: str) -> FeedEvent:
        origin, name = self.origins[batch.incarnation]
        trial = self._outcome(request, batch.incarnation, name)
        position = len(self.events) + 1
        previous = self.events[-1].hash if self.events else GENESIS_HASH
        header = EventHeader(
            self.project, FILES, position, request.operation_type, 0, origin, batch.incarnation, request.origin_seq,
            request.agent_id, request.session, request.tool_call, request.decision, task_id, request.operation.inode,
            encode(trial),
        )  # fmt: skip
        event = FeedEvent(
            position,
            batch.incarnation,
            request.origin_seq,
            name,
            payload,
            trial,
            row_hash(previous, header, payload_digest(payload)),
        )
        self.model.fold(event)
        self.events.append(event)
        return event

    def _outcome(self, request: FileOperationRequest, incarnation: int, name: str) -> Outcome:
        shadow = MemoryTree()
        tree = self.model.tree
        names = [(p, n, i) for p, held in tree.children.items() for n, i in held.items()]
        shadow.fill(tree.nodes.items(), names, tree.aliases.items())
        outcome = apply(shadow, request, incarnation, name)
        if outcome.kind != "composed" or not isinstance(request.operation, Content):
            return outcome
        content, before = request.operation, tree.nodes[request.operation.inode]
        refs = [(r.index, r.hash, r.size_bytes) for r in content.chunks]
        written = Model._overlay(self.model.maps[content.base], refs, content.size)  # noqa: SLF001
        whole = self._bytes(written, content.size)
        current = self._bytes(self.model.maps[before.version], before.size)
        tail = before.size // CHUNK_BYTES
        base = {tail: current[tail * CHUNK_BYTES :]}
        plain = compose(base, before.size, [Extent(before.size, whole[content.append_from :])], outcome.size)
        named = [(i, chunk_hash(project_key(self.project), d), d) for i, d in sorted(plain.items())]
        self.data.update({n: d for _, n, d in named if n})
        return Outcome("composed", size=outcome.size, chunks=tuple((i, n, len(d)) for i, n, d in named))

    def _bytes(self, chunks: dict[int, tuple[bytes, int]], size: int) -> bytes:
        whole = bytearray(size)
        for index, (name, length) in chunks.items():
            whole[index * CHUNK_BYTES : index * CHUNK_BYTES + length] = self.data[name]
        return bytes(whole[:size])


class MemoryReader:
    """One project of a MemoryStore."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def head(self, log: str = FILES) -> LogHead:
        events = self._log.events
        return LogHead(len(events), events[-1].hash) if events and log == FILES else LogHead(0, GENESIS_HASH)

    def events_after(self, position: int, limit: int = 1000) -> Sequence[FeedEvent]:
        return self._log.events[position : position + limit]

    def last_sequence(self, incarnation: int) -> int:
        return len(self._log.stored.get(incarnation, ()))

    def chunk_map(self, _inode: int, version: tuple[int, int]) -> dict[int, tuple[bytes, int]]:
        if version != (0, 0) and version not in self._log.model.maps:
            raise StoreUnavailable(f"version {version} is not in the store")
        return self._log.model.maps.get(version, {})

    def chunks(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return {h: self._log.data[h] for h in hashes if h in self._log.data}

    def rows(self) -> tuple[dict[int, Any], set[tuple[int, bytes, int]]]:
        return self._log.model.rows()


class PostgresReader(PostgresFileReader):
    """With the snapshot as comparable values."""

    def rows(self) -> tuple[dict[int, Any], set[tuple[int, bytes, int]]]:
        snapshot = self.load_tree()
        return dict(snapshot.nodes), {(p, n, i) for p, n, i in snapshot.dentries}


class Store(NamedTuple):
    """One adapter under test: a fresh writer (as another process would have), and readers."""

    name: str
    project: str
    writer: Callable[[], FileEventWriter]
    reader: Callable[[str], Any]
    settle: Callable[[], Any] = lambda: None

    def mount(self, name: str = "m") -> Mount:
        return Mount(self.writer(), self.project, name)

    def read(self) -> Any:
        return self.reader(self.project)


@pytest.fixture
def postgres_store(postgres_server: Any) -> Iterator[Store]:
    opened: list[Any] = []

    def writer() -> FileEventWriter:
        opened.append(PostgresFileWriter(open_pool(postgres_server.writer_url, 2, writing=True)))
        return opened[-1]

    def reader(project: str) -> PostgresReader:
        opened.append(PostgresReader(open_pool(postgres_server.reader_url, 2), project))
        return opened[-1]

    def settle() -> None:
        opened.append(PostgresSpans(open_pool(postgres_server.writer_url, 1, writing=True), project))
        opened[-1].catch_up()

    project = uuid.uuid4().hex
    yield Store("postgres", project, writer, reader, settle)
    for each in opened:
        each.close()


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_store")
    memory = MemoryStore()
    return Store("memory", uuid.uuid4().hex, lambda: memory, lambda project: MemoryReader(memory.log_of(project)))


@pytest.fixture
def ref() -> Callable[[int, ChunkData], ChunkRef]:
    return lambda index, chunk: ChunkRef(index, chunk.hash, chunk.size_bytes)


@pytest.fixture
def model() -> Model:
    return Model()
