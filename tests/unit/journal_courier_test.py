"""The courier against a broker that loses, doubles and delays: everything journalled arrives once, in order, whole."""

import errno
import random
from pathlib import Path

import pytest
import zstandard

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.journals import FolderJournals
from app.adapters.journal.recovery import recover
from app.core.chunks import chunk_hash, project_key
from app.core.errors import BrokerUnavailable, StoreUnavailable
from app.core.ids import CHUNK_BYTES
from app.core.messages import (
    ChunkBatch,
    ChunkReply,
    IncarnationReply,
    IncarnationRequest,
    PersistBatch,
    PersistReply,
    decode,
    encode,
)
from app.core.operations import Content, FileOperationRequest, Make, decode_request, kind_of
from app.services.courier import Courier, Ports
from app.services.sealing import VersionMaps
from app.services.shipment import packed

PROJECT = "0" * 32
KEY = project_key(PROJECT)


class Store:
    """A store, its broker and its reader in one: loses, doubles and delays by `faults` (chances)."""

    address = "box"

    def __init__(self, seed: int = 0, loss: float = 0.0, double: float = 0.0, delay: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.double, self.delay = loss, double, delay
        self.events: dict[int, list[bytes]] = {}
        self.data: dict[bytes, bytes] = {}
        self.maps: dict[tuple[int, tuple[int, int]], dict[int, tuple[bytes, int]]] = {}
        self.replies: list[bytes] = []
        self.delayed: list[tuple[str, bytes]] = []
        self.sent: list[str] = []
        self.mismatches = 0
        self.broker_away = self.store_away = False
        self.forget_ahead = 0.0
        self.next_incarnation = 100
        self.given: dict[str, int] = {}

    # Tasks
    def send(self, name: str, payload: bytes, queue: str) -> str:
        if self.broker_away:
            raise BrokerUnavailable("away")
        self.sent.append(name)
        if self.random.random() < self.loss:
            return ""
        times = 2 if self.random.random() < self.double else 1
        for _ in range(times):
            if self.random.random() < self.delay:
                self.delayed.append((name, payload))
            else:
                self.work(name, payload)
        return "id"

    def work(self, name: str, payload: bytes) -> None:
        reply = getattr(self, name.replace("weir.", "do_"))(payload)
        if self.random.random() >= self.loss:
            self.replies.append(encode(reply))

    def do_incarnation(self, payload: bytes):
        asked = decode(IncarnationRequest, payload)
        number = self.given.setdefault(asked.request_id, self.next_incarnation + len(self.given))
        return IncarnationReply(1, asked.request_id, number)

    def do_chunks(self, payload: bytes):
        batch = decode(ChunkBatch, payload)
        for chunk in batch.chunks:
            if self.random.random() >= self.forget_ahead:
                self.put(chunk)
        return ChunkReply(1, batch.batch_id, tuple(c.hash for c in batch.chunks))

    def put(self, chunk) -> None:
        plain = zstandard.ZstdDecompressor().decompress(chunk.data) if chunk.encoding == "zstd" else chunk.data
        assert chunk_hash(KEY, plain) == chunk.hash
        assert len(plain) == chunk.size_bytes
        self.data[chunk.hash] = plain

    def do_persist(self, payload: bytes):
        batch = decode(PersistBatch, payload)
        requests = [decode_request(raw) for raw in batch.requests]
        log = self.events.setdefault(batch.incarnation, [])
        first = requests[0].origin_seq
        assert [r.origin_seq for r in requests] == list(range(first, first + len(requests)))
        answer = (1, batch.batch_id, batch.incarnation, len(log), 0)
        if first > len(log) + 1:
            return PersistReply(*answer, error="gap")
        for raw, request in zip(batch.requests, requests, strict=True):
            if request.origin_seq <= len(log) and log[request.origin_seq - 1] != raw:
                self.mismatches += 1
                return PersistReply(*answer, error="digest-mismatch")
        fresh = [(raw, r) for raw, r in zip(batch.requests, requests, strict=True) if r.origin_seq > len(log)]
        for chunk in batch.chunks:
            self.put(chunk)
        named = {ref.hash for _raw, r in fresh if isinstance(r.operation, Content) for ref in r.operation.chunks}
        missing = tuple(named - {b""} - self.data.keys())
        if missing:
            return PersistReply(*answer, missing=missing)
        for raw, request in fresh:
            log.append(raw)
            self.fold(batch.incarnation, request)
        return PersistReply(1, batch.batch_id, batch.incarnation, len(log), len(log))

    def fold(self, incarnation: int, request: FileOperationRequest) -> None:
        content = request.operation
        if isinstance(content, Content):
            base = self.maps.get((content.inode, content.base), {})
            kept = {i: entry for i, entry in base.items() if i * CHUNK_BYTES < content.size}
            for ref in content.chunks:
                kept.pop(ref.index, None)
                if ref.hash:
                    kept[ref.index] = (ref.hash, ref.size_bytes)
            self.maps[content.inode, (incarnation, request.origin_seq)] = kept

    # ReplyBox
    def wait(self, timeout_s: float):
        if self.broker_away:
            raise BrokerUnavailable("away")
        while self.delayed and self.random.random() < 0.5:
            self.work(*self.delayed.pop(self.random.randrange(len(self.delayed))))
        return self.replies.pop(0) if self.replies else None

    # FileEventReader
    def last_sequence(self, incarnation: int) -> int:
        self.ask()
        return len(self.events.get(incarnation, []))

    def chunk_map(self, inode: int, version):
        self.ask()
        return dict(self.maps.get((inode, version), {}))

    def chunks(self, hashes):
        self.ask()
        return {name: self.data[name] for name in hashes if name in self.data}

    def ask(self) -> None:
        if self.store_away:
            raise StoreUnavailable("away")

    def content(self, inode: int, version, size: int) -> bytes:
        whole = bytearray(size)
        for index, (name, length) in self.maps[inode, version].items():
            whole[index * CHUNK_BYTES : index * CHUNK_BYTES + length] = self.data[name]
        return bytes(whole)


class NoCache:
    def get(self, hashes):
        return {}

    def put(self, chunks):
        pass


class Quiet(FolderJournals):
    """The real folder, without real sleep."""

    slept = 0

    def sleep(self, timeout_s: float) -> None:
        self.slept += 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


class Mount:
    """Writes a journal as the mount does, and remembers what every file must hold."""

    def __init__(self, folder: MountFolder, incarnation: int, last=None, **kind) -> None:
        self.folder = folder
        self.incarnation = incarnation
        self.writer = recover(folder, incarnation, last or {}, lambda inode: None, **kind).writer
        self.files: dict[int, bytearray] = {}
        self.versions: dict[int, tuple[int, int]] = {}
        self.dirty: set[int] = set()
        self.inode = incarnation << 32

    def numbered(self, operation) -> None:
        sequence = self.writer.next_sequence
        self.writer.append_operation(
            FileOperationRequest(sequence, sequence, kind_of(operation), b"p", "a", "", "", operation)
        )
        if isinstance(operation, Content):
            self.versions[operation.inode] = (self.incarnation, sequence)

    def create(self) -> int:
        self.inode += 1
        self.numbered(Make(1, b"%d" % self.inode, self.inode, 0o100644, 0, 0))
        self.files[self.inode] = bytearray()
        return self.inode

    def write(self, inode: int, offset: int, data: bytes) -> None:
        self.writer.append_write(inode, offset, data)
        held = self.files[inode]
        if len(held) < offset:
            held.extend(bytes(offset - len(held)))
        held[offset : offset + len(data)] = data
        self.dirty.add(inode)

    def seal(self, inode: int) -> None:
        if inode in self.dirty:
            self.numbered(Content(inode, self.versions.get(inode, (0, 0)), len(self.files[inode]), 7))
            self.dirty.discard(inode)

    def truncate(self, inode: int, size: int) -> None:
        self.seal(inode)
        held = self.files[inode]
        del held[size:]
        held.extend(bytes(size - len(held)))
        self.numbered(Content(inode, self.versions.get(inode, (0, 0)), size, 7, truncated=True))

    def random_step(self, rng: random.Random) -> None:
        inode = self.create() if not self.files or rng.random() < 0.1 else rng.choice(list(self.files))
        size = len(self.files[inode])
        match rng.randrange(6):
            case 0 | 1:
                self.write(inode, rng.randrange(size + 1), rng.randbytes(rng.choice([1, 100, 5000])))
            case 2:
                self.write(inode, size + rng.choice([0, 10, CHUNK_BYTES * 2]), rng.randbytes(50))
            case 3:
                self.write(inode, rng.randrange(size + 1) // CHUNK_BYTES * CHUNK_BYTES, rng.randbytes(CHUNK_BYTES))
            case 4:
                self.truncate(inode, rng.randrange(size + 1) if rng.random() < 0.5 else size + rng.choice([1, CHUNK_BYTES]))
            case _:
                self.seal(inode)

    def seal_all(self) -> None:
        for inode in sorted(self.dirty):
            self.seal(inode)


@pytest.fixture
def folder(tmp_path: Path) -> MountFolder:
    return MountFolder(tmp_path / "main", PROJECT)


def courier_of(folder: MountFolder, store: Store, clock: Clock | None = None) -> Courier:
    return Courier(Ports(Quiet(folder), store, store, store, NoCache()), clock or Clock())


def drain(courier: Courier, steps: int = 4000) -> None:
    for _ in range(steps):
        courier.step()
        if courier.is_drained or courier.status.state == "stopped":
            return
    raise AssertionError(f"not drained: {courier.status.__dict__}")


def assert_store_holds(store: Store, mount: Mount) -> None:
    assert len(store.events[mount.incarnation]) == mount.writer.next_sequence - 1
    for inode, version in mount.versions.items():
        assert store.content(inode, version, len(mount.files[inode])) == bytes(mount.files[inode])


def test_everything_journalled_arrives_in_order_and_whole(folder):
    store, mount = Store(), Mount(folder, 1)
    rng = random.Random(1)
    for _ in range(300):
        mount.random_step(rng)
    mount.seal_all()
    drain(courier_of(folder, store))
    assert_store_holds(store, mount)
    assert folder.spare()["incarnation"] == 100


@pytest.mark.parametrize("compress", [True, False])
def test_content_travels_as_the_flag_says(compress):
    chunks = {b"n": b"a" * 5000, b"r": bytes(range(256))}
    encodings = {name: chunk.encoding for name, chunk in packed(chunks, compress=compress).items()}
    assert encodings == {b"n": "zstd" if compress else "raw", b"r": "raw"}


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(s, marks=pytest.mark.thorough) for s in range(4, 24))])
def test_a_broker_that_loses_doubles_and_delays_changes_nothing(folder, seed):
    store = Store(seed, loss=0.2, double=0.2, delay=0.3)
    store.forget_ahead = 0.2
    mount, rng = Mount(folder, 1, segment_bytes=400_000), random.Random(seed)
    courier = courier_of(folder, store)
    for _ in range(30):
        for _ in range(rng.randrange(20)):
            mount.random_step(rng)
        for _ in range(rng.randrange(5)):
            courier.step()
        if rng.random() < 0.2:  # killed: a new one begins from the journal
            courier = courier_of(folder, store)
    mount.seal_all()
    drain(courier)
    assert courier.status.state != "stopped", courier.status.problem
    assert store.mismatches == 0
    assert_store_holds(store, mount)


def test_one_persist_batch_is_out_at_a_time_and_resent_with_the_same_bytes(folder):
    store, mount, clock = Store(loss=1.0), Mount(folder, 1), Clock()
    mount.create()
    payloads = []
    store.send = lambda name, payload, queue: payloads.append((name, payload)) or "id"
    courier = courier_of(folder, store, clock)
    for _ in range(900):
        courier.step()
    persists = [payload for name, payload in payloads if name == "weir.persist"]
    assert len(persists) >= 3
    assert len(set(persists)) == 1


def test_a_gap_after_a_restored_backup_is_shipped_again(folder):
    store, mount = Store(), Mount(folder, 1)
    for _ in range(20):
        mount.create()
    courier = courier_of(folder, store)
    drain(courier)
    del store.events[1][5:]
    mount.create()
    drain(courier)
    for _ in range(20):
        courier.step()
    drain(courier)
    assert_store_holds(store, mount)
    assert "fell back" in courier.status.problem


def test_a_digest_mismatch_is_an_alarm_and_stops_the_origin(folder):
    store, mount = Store(), Mount(folder, 1)
    mount.create()
    drain(courier_of(folder, store))
    mount.create()
    store.events[1].append(b"another")
    courier = courier_of(folder, store)
    courier._ports.reader.last_sequence = lambda incarnation: 1
    for _ in range(10):
        courier.step()
    assert courier.status.state == "stopped"
    assert "other bytes" in folder.status()["problem"]
    assert len(store.events[1]) == 2


def test_servers_away_for_long_lose_nothing(folder):
    store, mount = Store(), Mount(folder, 1)
    store.broker_away = store.store_away = True
    courier = courier_of(folder, store)
    for _ in range(50):
        mount.create()
        courier.step()
    assert courier.status.state == "waiting"
    assert not courier.is_drained
    store.broker_away = False
    for _ in range(20):
        courier.step()
    store.store_away = False
    drain(courier)
    assert_store_holds(store, mount)


def test_acknowledged_segments_go_and_needed_ones_stay(folder):
    store, mount = Store(), Mount(folder, 1, segment_bytes=100_000)
    kept = mount.create()
    mount.write(kept, 0, b"unsealed")
    for _ in range(30):
        mount.write(mount.create(), 0, b"x" * 20_000)
    drain(courier_of(folder, store))
    assert folder.files(1).numbers()[0] == 0, "the unsealed write stands in the first segment"
    mount.seal_all()
    courier = courier_of(folder, store)
    drain(courier)
    mount.create()
    courier.step()
    drain(courier)
    assert len(folder.files(1).numbers()) <= 2
    assert_store_holds(store, mount)


def test_incarnations_are_drained_in_order_and_recovered_content_arrives(folder):
    store, first = Store(), Mount(folder, 1)
    inode = first.create()
    first.write(inode, 0, b"hello ")
    first.seal(inode)
    first.write(inode, 6, b"world")
    first.writer.abandon()
    second = Mount(folder, 2)
    assert second.writer.next_sequence == 2
    second.create()
    courier = courier_of(folder, store)
    drain(courier)
    drain(courier)
    assert len(store.events[1]) == 2
    assert len(store.events[2]) == 2
    assert store.content(inode, (2, 1), 11) == b"hello world"
    assert folder.incarnations() == [2]
    second.writer.close()


def test_a_mount_that_is_gone_ends_the_courier_when_all_is_shipped(folder):
    store, mount = Store(), Mount(folder, 1)
    inode = mount.create()
    mount.write(inode, 0, b"data")
    mount.seal_all()
    mount.writer.close()
    courier = courier_of(folder, store)
    assert courier.run(lambda: False, exit_when_drained=lambda: True)
    assert_store_holds(store, mount)
    assert folder.status()["acked"] == 2


def test_stop_ends_within_its_bound_and_the_next_courier_ships_the_rest(folder):
    store, mount = Store(), Mount(folder, 1)
    mount.create()
    store.broker_away = True
    assert not courier_of(folder, store).run(lambda: True, drain_s=0.2)
    store.broker_away = False
    assert courier_of(folder, store).run(lambda: True)
    assert_store_holds(store, mount)


def test_a_stop_ends_soon_where_the_servers_stop_too(folder):
    store, mount, clock = Store(), Mount(folder, 1), Clock()
    mount.create()
    store.broker_away = True
    assert not courier_of(folder, store, clock).run(lambda: True, drain_s=1000.0)
    assert clock.now < 5
    store.broker_away = False
    assert courier_of(folder, store).run(lambda: True)
    assert_store_holds(store, mount)


class FullDisk(MountFolder):
    """Takes no small file while it is full."""

    full = True

    def keep_status(self, status):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().keep_status(status)

    def keep_spare(self, request_id, incarnation):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().keep_spare(request_id, incarnation)


def test_on_a_full_disk_the_journal_is_shipped_all_the_same_and_one_line_says_so(tmp_path, capsys):
    folder = FullDisk(tmp_path / "main", PROJECT)
    store, mount = Store(), Mount(folder, 1)
    mount.create()
    courier = courier_of(folder, store)
    drain(courier)
    courier.run(lambda: True)
    assert_store_holds(store, mount)
    assert capsys.readouterr().err.count("No space left") == 1
    folder.full = False
    courier.run(lambda: True)
    assert folder.status()["state"] == "idle"


def test_a_disk_that_refuses_in_the_middle_is_waited_for(folder):
    class Refusing(Quiet):
        refusing = 3

        def records(self, incarnation):
            if self.refusing:
                self.refusing -= 1
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().records(incarnation)

    store, mount = Store(), Mount(folder, 1)
    mount.create()
    courier = Courier(Ports(Refusing(folder), store, store, store, NoCache()), Clock())
    courier.step()
    assert (courier.status.state, courier.status.error) == ("waiting", "disk: No space left on device")
    drain(courier)
    assert_store_holds(store, mount)


def test_a_stop_waits_until_all_that_was_written_is_in_the_store(folder):
    store, mount = Store(seed=1, delay=0.5), Mount(folder, 1)
    for _ in range(2500):  # three batches, one after the other
        mount.create()
    assert courier_of(folder, store).run(lambda: True)
    assert_store_holds(store, mount)


def test_large_content_goes_ahead(folder):
    store, mount = Store(), Mount(folder, 1)
    inode = mount.create()
    rng = random.Random(3)
    for index in range(40):
        mount.write(inode, index * CHUNK_BYTES, rng.randbytes(CHUNK_BYTES))
    mount.seal_all()
    drain(courier_of(folder, store))
    assert store.sent.count("weir.chunks") >= 5
    assert_store_holds(store, mount)


def test_what_is_known_of_a_file_goes_with_its_name_and_not_before_the_store_has_it():
    asked: list[int] = []

    class Reader:
        def chunk_map(self, inode: int, version: tuple[int, int]) -> dict[int, tuple[bytes, int]]:  # noqa: ARG002
            asked.append(inode)
            return {}

    maps = VersionMaps(Reader())  # type: ignore[arg-type]
    for inode, sequence in ((7, 1), (8, 2)):
        maps.keep(inode, (1, sequence), {0: (b"h", 1)}, appended=False)
    maps.nameless(7, 3)
    maps.nameless(9, 4)
    maps.keep(8, (1, 5), {0: (b"h", 2)}, appended=False)
    maps.acknowledge(2)
    assert maps.get(7, (1, 1)) == {0: (b"h", 1)}
    maps.acknowledge(5)
    assert (maps.get(7, (1, 1)), maps.get(8, (1, 5)), asked) == ({}, {0: (b"h", 2)}, [7])


def test_what_was_appended_just_before_the_stop_is_shipped_too(folder):
    store, mount = Store(), Mount(folder, 1)
    mount.create()
    courier = courier_of(folder, store)
    drain(courier)

    def stop() -> bool:
        mount.create()
        return True

    assert courier.run(stop)
    assert_store_holds(store, mount)
