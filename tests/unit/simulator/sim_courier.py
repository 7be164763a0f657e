"""The model courier: reads its machine's journals, composes, ships, and believes only what the store acknowledged."""

from random import Random

import msgspec
from sim_faults import Broken
from sim_mount import Disk, Journal
from sim_store import CHUNK, PROJECT, Broker, ChunkMap, Store

from app.core.chunks import chunk_hash, compose, project_key, touched
from app.core.frames import Record, records
from app.core.ids import VersionId
from app.core.messages import FORMAT, ChunkData, PersistBatch, PersistReply
from app.core.operations import ChunkRef, Content, encode_request
from app.core.seal_plan import PlannedRequest, SealPlan

KEY = project_key(PROJECT)
IN_FLIGHT = 2


class Courier:
    """Memory dies with the process (`restart`); up to two batches are out, which is more than the protocol allows."""

    def __init__(
        self, name: str, disk: Disk, store: Store, broker: Broker, rng: Random, faults: frozenset[str]
    ) -> None:
        self.name, self.disk, self.store, self.broker, self.rng, self.faults = name, disk, store, broker, rng, faults
        self.restart()

    def restart(self) -> None:
        self.incarnation = 0
        self._open(None)

    def _open(self, journal: Journal | None) -> None:
        self.journal = journal
        self.incarnation = 0 if journal is None else journal.incarnation
        self.plan = SealPlan(self.incarnation)
        self.at = 0 if journal is None else journal.start
        self.ready: list[tuple[int, bytes, dict[bytes, bytes]]] = []
        self.maps: dict[tuple[int, VersionId], tuple[ChunkMap, int]] = {}
        self.kept: dict[bytes, bytes] = {}
        self.trusted: set[int] = set()
        self.sent = self.acked = 0
        self.send_all = False

    def drained(self) -> bool:
        return self.journal is not None and self.acked >= self.plan.last_sequence and self.at_end

    def step(self) -> None:
        """Read, ship, or go on to the next incarnation."""
        if self.journal is None or self.incarnation not in self.disk.journals:
            self._open(self.disk.journals[min(self.disk.journals)] if self.disk.journals else None)
            if self.journal is None:
                return
        self._read()
        if self.acked >= self.plan.last_sequence and max(self.disk.journals) > self.incarnation:
            if self.plan.oldest_unsealed() is None or self.incarnation in self.disk.recovered():
                del self.disk.journals[self.incarnation]
                self._open(None)
        elif self.acked < self.plan.last_sequence:
            self._ship()

    @property
    def at_end(self) -> bool:
        return self.at == len(self.journal.data)

    def _read(self) -> None:
        for record in records(self.journal.data, self.at, self.journal.seed):
            if not isinstance(record, Record):
                break
            self.at = record.end
            planned = self.plan.feed(record)
            if planned is not None:
                self.ready.append(self._seal(planned))

    def _seal(self, planned: PlannedRequest) -> tuple[int, bytes, dict[bytes, bytes]]:
        request, content = planned.request, planned.request.operation
        if not isinstance(content, Content):
            return request.origin_seq, planned.body, {}
        held, size = self._map(content.inode, content.base)
        indexes = touched(planned.changes, size, CHUNK)
        base = {i: self._chunk(held[i]) for i in indexes if i in held}
        made = compose(base, size, planned.changes, content.size, CHUNK)
        names = {i: chunk_hash(KEY, data) for i, data in sorted(made.items())}
        merged = {i: name for i, name in {**held, **names}.items() if name and i * CHUNK < content.size}
        self.maps[content.inode, (self.incarnation, request.origin_seq)] = (merged, content.size)
        refs = tuple(ChunkRef(i, name, len(made[i])) for i, name in names.items())
        chunks = {names[i]: data for i, data in made.items() if names[i]}
        self.kept.update(chunks)
        return (
            request.origin_seq,
            encode_request(msgspec.structs.replace(request, operation=msgspec.structs.replace(content, chunks=refs))),
            chunks,
        )

    def _map(self, inode: int, version: VersionId) -> tuple[ChunkMap, int]:
        own = self.maps.get((inode, version))
        return own if own is not None else (self.store.map_of(inode, version), self.store.size_of(inode, version))

    def _chunk(self, name: bytes) -> bytes:
        found = self.store.chunks.get(name) or self.kept.get(name)
        if found is None:
            raise Broken("a chunk of an acknowledged version is nowhere")
        return found

    def _ship(self) -> None:
        if self.sent <= self.acked or ("resend" not in self.faults and self.rng.random() < 0.4):
            self.sent = self.acked
        elif self.sent >= self.acked + 3 * IN_FLIGHT:
            return
        batch = [one for one in self.ready if one[0] > self.sent][: self.rng.randint(1, 3)]
        if "resend" in self.faults and self.sent > self.acked:
            batch = []
        if not batch:
            return
        self.sent = batch[-1][0]
        whole = self.broker.calm or self.send_all
        self.send_all = False
        chunks = {name: data for _, _, made in batch for name, data in made.items() if whole or self.rng.random() < 0.6}
        message = PersistBatch(
            FORMAT, PROJECT, self.name, self.name, self.incarnation, "", self.name, tuple(body for _, body, _ in batch),
            tuple(ChunkData(name, len(data), "raw", data) for name, data in chunks.items()),
        )  # fmt: skip
        if "resend" in self.faults and self.sent in self.trusted:
            return
        self.trusted.add(self.sent)
        self.broker.send(self.broker.tasks, (self, message))

    def hear(self, reply: PersistReply) -> None:
        if reply.incarnation != self.incarnation:
            return
        if reply.error == "digest-mismatch":
            raise Broken("a re-sent request has other bytes")
        if reply.acked > self.store.last[self.incarnation]:
            raise Broken("acknowledged but not in the store")
        if reply.missing:
            self.send_all = True
        self.acked = max(self.acked, reply.acked)
        if reply.error or reply.missing:
            self.sent = self.acked
        while self.ready and self.ready[0][0] <= self.acked:
            self.ready.pop(0)
