"""The courier process on real Redis, worker and Postgres: killed and restarted at will, everything arrives once."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import bootstrap
from app.adapters.journal.recovery import recover
from app.core.ids import CHUNK_BYTES, first_inode
from app.core.operations import Content, FileOperationRequest, Make, kind_of
from config.settings import Settings, load

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environ(server_folder: Path, redis_server, postgres_server) -> dict[str, str]:
    return os.environ | {
        "WEIR_HOME": str(server_folder / "courier-home"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def settings(environ, start_worker) -> Settings:
    start_worker(environ, "files", "--pool", "prefork", "-c", "2", name="test-courier")
    return load(environ)


@pytest.fixture
def reader(settings):
    made = bootstrap.file_event_reader(settings)
    yield made
    made.close()


class Process:
    """`python -m app.entry.courier`, stopped at the end."""

    def __init__(self, environ: dict[str, str], mount: str, *options: str) -> None:
        self.argv = [sys.executable, "-m", "app.entry.courier", "--mount", mount, *options]
        self.environ = environ
        self.start()

    def start(self) -> None:
        self.child = subprocess.Popen(self.argv, env=self.environ, cwd=REPOSITORY)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def end(self, timeout_s: float = 30) -> int:
        self.child.terminate()
        return self.child.wait(timeout_s)


def until(true, timeout_s: float = 30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


class Writer:
    """A journal as a mount writes it, and what its files must hold."""

    def __init__(self, folder, reader) -> None:
        self.incarnation = until(folder.take_spare)
        last = {i: reader.last_sequence(i) for i in folder.incarnations()}
        self.log = recover(folder, self.incarnation, last, lambda inode: None).writer
        self.files: dict[int, bytearray] = {}
        self.versions: dict[int, tuple[int, int]] = {}
        self.inode = first_inode(self.incarnation)

    def numbered(self, operation) -> int:
        sequence = self.log.next_sequence
        self.log.append_operation(
            FileOperationRequest(sequence, time.time_ns(), kind_of(operation), b"p", "a", "", "", operation)
        )
        return sequence

    def save(self, inode: int, offset: int, data: bytes) -> None:
        if inode not in self.files:
            self.numbered(Make(1, b"f%d" % inode, inode, 0o100644, 0, 0))
            self.files[inode] = bytearray()
        held = self.files[inode]
        held.extend(bytes(max(offset - len(held), 0)))
        held[offset : offset + len(data)] = data
        self.log.append_write(inode, offset, data)
        base = self.versions.get(inode, (0, 0))
        self.versions[inode] = (self.incarnation, self.numbered(Content(inode, base, len(held), 5)))

    def assert_stored(self, reader) -> None:
        assert reader.last_sequence(self.incarnation) == self.log.next_sequence - 1
        for inode, version in self.versions.items():
            chunk_map = reader.chunk_map(inode, version)
            chunks = reader.chunks([name for name, _size in chunk_map.values()])
            whole = bytearray(len(self.files[inode]))
            for index, (name, size) in chunk_map.items():
                whole[index * CHUNK_BYTES : index * CHUNK_BYTES + size] = chunks[name]
            assert whole == self.files[inode]


def test_a_courier_killed_again_and_again_ships_everything_once(settings, reader, environ):
    folder = bootstrap.mount_folder(settings, "killed")
    courier = Process(environ, "killed")
    rng = random.Random(7)
    try:
        writer = Writer(folder, reader)
        for round_number in range(6):
            for _ in range(60):
                inode = writer.inode + rng.randrange(8)
                size = len(writer.files.get(inode, b""))
                writer.save(inode, rng.randrange(size + 1), rng.randbytes(rng.choice([10, 4096, 200_000])))
                time.sleep(0.002)
            if round_number < 5:
                courier.kill()
                courier.start()
        until(lambda: reader.last_sequence(writer.incarnation) == writer.log.next_sequence - 1, 60)
        writer.assert_stored(reader)
        until(lambda: folder.status().get("acked") == writer.log.next_sequence - 1 and folder.status()["state"] == "idle")
        assert folder.status()["problem"] == ""
        assert folder.status()["pending_bytes"] == 0
        writer.log.close()
        assert courier.end() == 0
    finally:
        courier.kill()


def test_sigterm_ships_what_is_in_the_journal_first(settings, reader, environ):
    folder = bootstrap.mount_folder(settings, "term")
    courier = Process(environ, "term")
    try:
        writer = Writer(folder, reader)
        for number in range(2000):
            writer.save(writer.inode + number, 0, b"content %d" % number)
        assert courier.end() == 0
        assert reader.last_sequence(writer.incarnation) == 4000
        writer.log.close()
    finally:
        courier.kill()


def test_a_courier_left_behind_by_its_mount_drains_and_ends(settings, reader, environ):
    folder = bootstrap.mount_folder(settings, "orphan")
    courier = Process(environ, "orphan")
    try:
        writer = Writer(folder, reader)
        writer.save(writer.inode, 0, b"x" * 1000)
        courier.kill()
        writer.save(writer.inode, 1000, b"y" * 1000)
        writer.log.abandon()
        last = Process(environ, "orphan", "--exit-when-drained")
        assert last.child.wait(30) == 0
        writer.assert_stored(reader)
        assert folder.incarnations() == []
    finally:
        courier.kill()


def test_one_courier_a_mount(settings, environ):
    folder = bootstrap.mount_folder(settings, "single")
    courier = Process(environ, "single")
    try:
        until(lambda: folder.is_locked("courier"))
        second = Process(environ, "single", "--exit-when-drained")
        assert second.child.wait(20) == 0
        until(lambda: folder.spare().get("incarnation"))
        assert courier.end() == 0
    finally:
        courier.kill()


def test_redis_away_for_a_while_loses_nothing(short_path, own_redis, postgres_server, start_worker):
    environ = os.environ | {
        "WEIR_HOME": str(short_path / "h"),
        "REDIS_URL": own_redis.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
    }
    settings = load(environ)
    start_worker(environ, "files", "--pool", "solo", name="test-courier-redis")
    folder = bootstrap.mount_folder(settings, "away")
    reader = bootstrap.file_event_reader(settings)
    courier = Process(environ, "away")
    try:
        writer = Writer(folder, reader)
        for number in range(50):
            writer.save(writer.inode + number, 0, b"before")
        own_redis.kill()
        for number in range(50):
            writer.save(writer.inode + number, 3, b"while away")
        until(lambda: folder.status().get("state") == "waiting", 20)
        own_redis.start()
        until(lambda: reader.last_sequence(writer.incarnation) == writer.log.next_sequence - 1, 90)
        writer.assert_stored(reader)
        writer.log.close()
    finally:
        courier.kill()
        reader.close()
