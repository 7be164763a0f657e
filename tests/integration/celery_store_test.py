"""Both logs through real worker processes (prefork 2, queues files and record) into a real Postgres."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psycopg
import pytest
import redis
from celery import Celery

from app import bootstrap
from app.core.chunks import chunk_hash, project_key
from app.core.decisions import DecisionRecord
from app.core.ids import ROOT_INODE, first_inode
from app.core.messages import (
    ChunkBatch,
    ChunkData,
    ChunkReply,
    FeedMessage,
    IncarnationReply,
    IncarnationRequest,
    PersistBatch,
    PersistReply,
    RecordBatch,
    RecordReply,
    decode,
    encode,
)
from app.core.operations import FileOperationRequest, Make, encode_request
from app.services.packing import pack
from config.celery import broker_prefix, worker_configuration
from config.settings import Settings, load

ORIGIN = "a" * 32


@pytest.fixture(scope="module")
def environ(server_folder: Path, redis_server, postgres_server) -> dict[str, str]:
    return os.environ | {
        "WEIR_HOME": str(server_folder / "store-home"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def settings(environ) -> Settings:
    return load(environ)


@pytest.fixture(scope="module")
def worker(environ, start_worker):
    return start_worker(environ, "files,record", "--pool", "prefork", "-c", "2", name="test-store")


class Ring:
    """A sender with its reply box, and what it asks of workers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tasks, self.box = bootstrap.tasks(settings), bootstrap.reply_box(settings)
        self.feed = bootstrap.feed_subscriber(settings)

    def ask(self, task: str, payload, kind, queue: str = "files", again_s: float = 3.0):
        """Send until a reply of `kind` comes: what every sender of Weir does."""
        for _ in range(10):
            self.tasks.send(task, pack(encode(payload)) if queue == "record" else encode(payload), queue)
            deadline = time.monotonic() + again_s
            while time.monotonic() < deadline:
                reply = self.box.wait(0.5)
                found = _decoded(kind, reply) if reply else None
                if found is not None and _key(found) == _key(payload):
                    return found
        raise AssertionError(f"no reply to {task}")

    def incarnation(self, request_id: str = "") -> int:
        name = request_id or os.urandom(8).hex()
        request = IncarnationRequest(1, self.settings.project, ORIGIN, "main", name, self.box.address)
        return self.ask("weir.incarnation", request, IncarnationReply).incarnation

    def batch(self, incarnation: int, first: int, last: int) -> PersistBatch:
        requests = tuple(encode_request(_make(incarnation, number)) for number in range(first, last + 1))
        name = f"{incarnation}-{first}-{last}-{os.urandom(4).hex()}"
        return PersistBatch(1, self.settings.project, ORIGIN, "main", incarnation, name, self.box.address, requests)

    def close(self) -> None:
        for part in (self.tasks, self.box, self.feed):
            part.close()


def _decoded(kind, data: bytes):
    try:
        return decode(kind, data)
    except Exception:  # a late reply of another kind
        return None


def _key(message) -> str:
    return getattr(message, "batch_id", "") or getattr(message, "request_id", "")


def _make(incarnation: int, number: int) -> FileOperationRequest:
    name = b"%d-%d" % (incarnation, number)
    operation = Make(ROOT_INODE, name, first_inode(incarnation) + number, 0o100644, 0, 0)
    return FileOperationRequest(number, 1_000 + number, "create", name, "agent", "session", "call", operation)


@pytest.fixture
def ring(worker, settings):
    worker.start()
    ring = Ring(settings)
    yield ring
    ring.close()


@pytest.fixture
def rows(postgres_server, settings):
    """Ask the server; `{own}` is a condition for the rows of this test's project (the server is the session's)."""
    connection = psycopg.connect(postgres_server.admin_url, autocommit=True)
    own = f"project = (select id from projects where project = '{settings.project}')"
    yield lambda statement, *given: connection.execute(statement.replace("{own}", own), given).fetchall()
    connection.close()


def sequences(rows, incarnation: int) -> list[int]:
    found = rows("select sequence from file_events where {own} and incarnation = %s order by position", incarnation)
    return [number for (number,) in found]


def test_a_batch_becomes_events_that_name_their_task_and_go_out_on_the_feed(ring, rows) -> None:
    incarnation = ring.incarnation()
    batch = ring.batch(incarnation, 1, 5)
    reply = ring.ask("weir.persist", batch, PersistReply)
    assert (reply.acked, reply.error, reply.rejected, reply.missing) == (5, "", (), ())
    heard = ring.feed.poll(2)
    assert isinstance(heard, FeedMessage)
    assert (heard.last, len(heard.events)) == (reply.position, 5)
    tasks = {task for (task,) in rows("select task_id from file_events where {own} and incarnation = %s", incarnation)}
    assert len(tasks) == 1
    assert tasks.pop()


def test_the_same_start_asked_for_twice_gets_one_incarnation(ring) -> None:
    assert ring.incarnation("same") == ring.incarnation("same")
    assert ring.incarnation() != ring.incarnation()


def test_the_same_batch_sent_many_times_at_once_is_stored_once(ring, rows) -> None:
    incarnation = ring.incarnation()
    batch = ring.batch(incarnation, 1, 20)
    for _ in range(10):
        ring.tasks.send("weir.persist", encode(batch), "files")
    replies = [decode(PersistReply, ring.box.wait(2) or b"") for _ in range(10)]
    assert {reply.acked for reply in replies} == {20}
    assert sequences(rows, incarnation) == list(range(1, 21))


def test_chunks_sent_ahead_are_kept_and_a_false_name_is_refused(ring, settings) -> None:
    data = os.urandom(1000)
    chunk = ChunkData(chunk_hash(project_key(settings.project), data), len(data), "raw", data)
    batch = ChunkBatch(1, settings.project, "chunks", ring.box.address, (chunk,))
    assert ring.ask("weir.chunks", batch, ChunkReply).stored == (chunk.hash,)
    forged = ChunkData(b"f" * 32, len(data), "raw", data)
    ring.tasks.send("weir.chunks", encode(ChunkBatch(1, settings.project, "f", ring.box.address, (forged,))), "files")
    assert ring.box.wait(1) is None


def test_decisions_of_a_spool_are_recorded_once(ring, settings) -> None:
    record = DecisionRecord(
        1, 1, 1, "id", "agent", "s", "t", "Bash", "/", b"{}", "block", ("r",), "why", "policy", False, False, "v", 5
    )
    batch = RecordBatch(1, settings.project, "b" * 32, "rec", ring.box.address, 1, (msgspec.msgpack.encode(record),))
    first = ring.ask("weir.record", batch, RecordReply, "record")
    again = ring.ask("weir.record", batch, RecordReply, "record")
    assert (first.acked, first.error, again.acked) == (1, "", 1)
    assert again.position == first.position


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def backends(rows) -> set[int]:
    return {pid for (pid,) in rows("select pid from pg_stat_activity where application_name = 'weir files'")}


def test_each_prefork_child_has_connections_of_its_own(ring, rows, worker) -> None:
    def spread() -> bool:
        for _ in range(20):
            ring.tasks.send("weir.incarnation", encode(_request(ring)), "files")
        time.sleep(0.3)
        return len(backends(rows)) >= 2

    _until(spread, 20)
    one, other = children_of(worker.process.process.pid)[:2]
    before = backends(rows)
    os.kill(one, signal.SIGKILL)
    _until(lambda: backends(rows) < before or len(backends(rows) & before) < len(before))
    left = backends(rows) & before
    assert left, "the child that lives kept its own connections"
    assert Path(f"/proc/{other}").exists()
    assert ring.incarnation() > 0


def test_two_children_at_work_at_once_never_take_each_other_s_answers(ring, rows) -> None:
    sent = [_request(ring) for _ in range(40)]
    for request in sent:
        ring.tasks.send("weir.incarnation", encode(request), "files")
    given: dict[str, int] = {}
    deadline = time.monotonic() + 15
    while len(given) < len(sent) and time.monotonic() < deadline:
        reply = _decoded(IncarnationReply, ring.box.wait(0.5) or b"")
        if reply is not None:
            given[reply.request_id] = reply.incarnation
    stored = dict(rows("select request_id, incarnation from incarnations where request_id = any(%s)", list(given)))
    assert given == stored
    assert given.keys() == {request.request_id for request in sent}


def test_what_waits_for_busy_children_stays_in_the_queue_and_what_they_have_is_not_written_down(ring, worker, redis_server) -> None:
    assert ring.incarnation()
    _until(lambda: has_no_task(ring.settings))  # a child has replied before it tells that it is free
    children = children_of(worker.process.process.pid)
    key = f"{broker_prefix(ring.settings)}files"
    with redis.Redis.from_url(redis_server.url) as client:
        for child in children:
            os.kill(child, signal.SIGSTOP)
        try:
            for _ in range(10):
                ring.tasks.send("weir.incarnation", encode(_request(ring)), "files")
            _until(lambda: client.llen(key) <= 8)
            time.sleep(0.3)
            assert client.llen(key) == 8
            assert not client.exists(f"{broker_prefix(ring.settings)}unacked")
        finally:
            for child in children:
                os.kill(child, signal.SIGCONT)
    assert [decode(IncarnationReply, ring.box.wait(2) or b"").incarnation > 0 for _ in range(10)] == [True] * 10


def _request(ring: Ring) -> IncarnationRequest:
    return IncarnationRequest(1, ring.settings.project, ORIGIN, "main", os.urandom(8).hex(), ring.box.address)


def has_no_task(settings: Settings) -> bool:
    """Tell whether the worker knows all its children to be free; it says so between two messages."""
    with Celery("asks", set_as_current=False) as app:
        app.conf.update(worker_configuration(settings))
        name = f"test-store@{socket.gethostname()}"
        return app.control.inspect([name], timeout=5, limit=1).active() == {name: []}


def _until(condition, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_killed_in_the_middle_loses_no_operation_and_doubles_none(ring, rows, worker) -> None:
    incarnation = ring.incarnation()
    for start in range(0, 200, 20):
        batch = ring.batch(incarnation, start + 1, start + 20)
        ring.tasks.send("weir.persist", encode(batch), "files")
        if start % 60 == 0:
            time.sleep(0.01)
            worker.process.kill()
            worker.start()
        assert ring.ask("weir.persist", batch, PersistReply, again_s=2).acked >= start + 20
    assert sequences(rows, incarnation) == list(range(1, 201))


def test_sigterm_drains_what_the_worker_has_taken(ring, rows, worker) -> None:
    incarnation = ring.incarnation()
    batch = ring.batch(incarnation, 1, 500)
    ring.tasks.send("weir.persist", encode(batch), "files")
    time.sleep(0.02)
    worker.process.stop()
    assert b"raised unexpected" not in worker.process.logs()
    worker.start()
    assert ring.ask("weir.persist", batch, PersistReply).acked == 500
    assert sequences(rows, incarnation) == list(range(1, 501))


def test_a_pool_whose_connections_were_cut_serves_the_next_batch(ring, rows, worker) -> None:
    incarnation = ring.incarnation()
    batch = ring.batch(incarnation, 1, 3)
    rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weir files'")
    assert ring.ask("weir.persist", batch, PersistReply).acked == 3


@pytest.fixture
def beat(environ, server_folder):
    log = server_folder / "beat.log"
    command = [sys.executable, "-m", "celery", "-A", "workers", "beat", "--pidfile=", "-l", "INFO"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environ, stdout=file, stderr=file)
    yield log
    process.terminate()
    process.wait(15)


def test_beat_keeps_the_heads_on_the_feed_and_every_one_of_its_tasks_succeeds(
    ring, environ, start_worker, beat
) -> None:
    maintenance = start_worker(environ, "maintenance", "--pool", "prefork", "-c", "1", name="test-maintenance")
    heartbeat = None
    deadline = time.monotonic() + 40
    while heartbeat is None and time.monotonic() < deadline:
        heard = ring.feed.poll(0.5)
        heartbeat = heard if heard is not None and heard.last == heard.first - 1 else None
    assert heartbeat is not None, beat.read_text()
    assert heartbeat.hash == heartbeat.prev_hash
    ring.tasks.send("weir.maintain", b"", "maintenance")
    ring.tasks.send("weir.expire-escalations", b"", "maintenance")
    time.sleep(2)
    text = maintenance.process.logs().decode()
    assert "raised" not in text
    assert "dropped" not in text
    assert "Traceback" not in text
