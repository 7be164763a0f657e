"""The model store: one log, one tree, content, and the broker in front of it that loses, doubles and reorders."""

from random import Random

import msgspec
from sim_faults import Broken

from app.core.chain import EventHeader, payload_digest, row_hash
from app.core.ids import EMPTY_VERSION, GENESIS_HASH, VersionId
from app.core.memory_tree import MemoryTree
from app.core.messages import FORMAT, FeedEvent, FeedMessage, Outcome, PersistBatch, PersistReply, encode
from app.core.operations import Content, FileOperationRequest, decode_request
from app.core.tree import apply

CHUNK = 8
PROJECT = "0" * 32
FORBIDDEN = b"forbidden"
FORBIDDEN_SIZE = 13
POLICY = Outcome("rejected", reason="policy")
ChunkMap = dict[int, bytes]


class Store:
    """See docs/protocol.md section 3."""

    def __init__(self, faults: frozenset[str]) -> None:
        self.faults = faults
        self.log: list[FeedEvent] = []
        self.rows: list[tuple[EventHeader, bytes]] = []
        self.digests: dict[tuple[int, int], bytes] = {}
        self.last: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.tree = MemoryTree()
        self.maps: dict[tuple[int, VersionId], tuple[ChunkMap, int]] = {}
        self.chunks: dict[bytes, bytes] = {}
        self.positions: dict[tuple[int, VersionId], int] = {}
        self.head = GENESIS_HASH

    def register(self, origin_name: str) -> int:
        incarnation = len(self.names) + 1
        self.names[incarnation] = origin_name
        self.last[incarnation] = 0
        return incarnation

    def append(self, batch: PersistBatch) -> tuple[PersistReply, FeedMessage | None]:
        last = self.last.get(batch.incarnation)
        if last is None:
            return self._reply(batch, 0, error="unknown-incarnation"), None
        requests = [decode_request(body) for body in batch.requests]
        if requests[0].origin_seq > last + 1 and "gap-check" not in self.faults:
            return self._reply(batch, last, error="gap"), None
        fresh = []
        for request, body in zip(requests, batch.requests, strict=True):
            seen = self.digests.get((batch.incarnation, request.origin_seq))
            if seen is None or "dedupe" in self.faults:
                fresh.append((request, body))
            elif seen != payload_digest(body):
                return self._reply(batch, last, error="digest-mismatch"), None
        sent = {chunk.hash: chunk.data for chunk in batch.chunks}
        missing = (
            {ref.hash for request, _ in fresh for ref in _refs(request)} - {b""} - sent.keys() - self.chunks.keys()
        )
        if missing and "chunk-check" not in self.faults:
            return self._reply(batch, last, missing=tuple(sorted(missing))), None
        self.chunks.update(sent)
        if not fresh:
            return self._reply(batch, last), None
        first, previous = len(self.log) + 1, self.head
        for request, body in fresh:
            self._commit(batch.incarnation, request, body)
        message = FeedMessage(
            FORMAT, PROJECT, "files", first, len(self.log), previous, self.head, events=tuple(self.log[first - 1 :])
        )
        return self._reply(batch, self.last[batch.incarnation]), message

    def _reply(self, batch: PersistBatch, acked: int, missing: tuple[bytes, ...] = (), error: str = "") -> PersistReply:
        return PersistReply(
            FORMAT, batch.batch_id, batch.incarnation, acked, len(self.log), missing=missing, error=error
        )

    def _commit(self, incarnation: int, request: FileOperationRequest, body: bytes) -> None:
        operation, position = request.operation, len(self.log) + 1
        version = (incarnation, request.origin_seq)
        if FORBIDDEN in request.path or (isinstance(operation, Content) and operation.size == FORBIDDEN_SIZE):
            outcome = POLICY
        else:
            before = self.tree.node(operation.inode)
            outcome = apply(self.tree, request, incarnation, self.names[incarnation])
            if isinstance(operation, Content) and outcome.kind == "composed":
                self._compose(operation, before, version, outcome.size)
                self.positions[operation.inode, (incarnation, -request.origin_seq)] = position
        if isinstance(operation, Content):
            self._keep(operation, version)
        if isinstance(operation, Content) and outcome.kind == "applied":
            self.positions[operation.inode, version] = position
        header = EventHeader(
            PROJECT, "files", position, request.operation_type, position, "", incarnation, request.origin_seq,
            "", "", "", "", "", operation.inode, encode(outcome),
        )  # fmt: skip
        digest = payload_digest(body)
        self.head = row_hash(self.head, header, digest)
        self.rows.append((header, digest))
        self.log.append(
            FeedEvent(position, incarnation, request.origin_seq, self.names[incarnation], body, outcome, self.head)
        )
        self.digests[version] = digest
        self.last[incarnation] = max(self.last[incarnation], request.origin_seq)

    def _keep(self, content: Content, version: VersionId) -> None:
        """The writer's own version: its base and its chunks, whole; also where it never became current."""
        merged = {**self.map_of(content.inode, content.base), **{ref.index: ref.hash for ref in content.chunks}}
        kept = {i: name for i, name in merged.items() if name and i * CHUNK < content.size}
        self.maps[content.inode, version] = (kept, content.size)

    def _compose(self, content: Content, before: object, version: VersionId, size: int) -> None:
        self._keep(content, version)
        added = self.bytes_of(content.inode, version)[content.append_from :]
        joined = self.bytes_of(content.inode, before.version) + added
        pieces = {i // CHUNK: joined[i : i + CHUNK] for i in range(0, len(joined), CHUNK)}
        self.chunks.update({b"composed" + piece: piece for piece in pieces.values()})
        self.maps[content.inode, (version[0], -version[1])] = (
            {i: b"composed" + piece for i, piece in pieces.items()},
            size,
        )

    def map_of(self, inode: int, version: VersionId) -> ChunkMap:
        if version == EMPTY_VERSION:
            return {}
        if (inode, version) not in self.maps:
            raise Broken(f"content of inode {inode:x} names a base {version} that the store never saw")
        return self.maps[inode, version][0]

    def bytes_of(self, inode: int, version: VersionId) -> bytes:
        if version == EMPTY_VERSION:
            return b""
        held, size = self.map_of(inode, version), self.maps[inode, version][1]
        if not self.chunks.keys() >= set(held.values()):
            raise Broken(f"content {version} of inode {inode:x} names a chunk that the store does not have")
        whole = b"".join(
            self.chunks[held[i]].ljust(CHUNK, b"\0") if i in held else bytes(CHUNK) for i in range(-(-size // CHUNK))
        )
        return whole[:size]

    def size_of(self, inode: int, version: VersionId) -> int:
        return 0 if version == EMPTY_VERSION else self.maps[inode, version][1]


class Broker:
    """Messages in flight: persist batches to the store, replies to couriers. A crash of it loses them all."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.tasks: list[tuple[object, PersistBatch]] = []
        self.replies: list[tuple[object, PersistReply]] = []
        self.calm = False

    def send(self, queue: list, message: object) -> None:
        fate = 1.0 if self.calm else self.rng.random()
        if fate > 0.12:
            queue.append(message)
        if fate > 0.88 and not self.calm:
            queue.append(message)

    def take(self, queue: list) -> object:
        """Deliver any of them; now and then leave it to be delivered again."""
        at = 0 if self.calm else self.rng.randrange(len(queue))
        if not self.calm and self.rng.random() < 0.1:
            return queue[at]
        return queue.pop(at)

    def crash(self) -> None:
        self.tasks.clear()
        self.replies.clear()


def _refs(request: FileOperationRequest) -> tuple:
    return request.operation.chunks if isinstance(request.operation, Content) else ()


def without_chunks(operation: object) -> object:
    return msgspec.structs.replace(operation, chunks=()) if isinstance(operation, Content) else operation
