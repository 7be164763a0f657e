"""A worker that is told to end does so, whatever has become of Redis: the supervisor kills after 30 s, the pool after 25."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from config.celery import broker_prefix
from config.settings import load
from workers.ending import OVERDUE_EXIT
from workers.pool import STOP_S

REPOSITORY = Path(__file__).resolve().parents[2]
HEARTBEAT_S = 2.0
HURRIED = "import workers.ending as e; e.ENDS_S = 0.5; from celery.__main__ import main; main()"
"""A worker whose time to end is over sooner than 30 s."""


def ends(worker) -> float:
    """Return the seconds from SIGTERM until the worker is gone."""
    begun = time.monotonic()
    worker.process.stop(STOP_S)
    return time.monotonic() - begun


@pytest.fixture
def started(short_path, own_redis, start_worker) -> Callable:
    def start(*options: str):
        given = {"WEIR_HOME": str(short_path / "h"), "REDIS_URL": own_redis.url}
        return start_worker(os.environ | given, "record", *options, name=f"ending-{time.monotonic_ns()}")

    return start


def test_a_worker_ends_where_its_heartbeat_is_the_first_to_find_redis_gone(started, own_redis) -> None:
    workers = [started("--pool", "solo"), started("--pool", "prefork", "-c", "1")]
    pids = [worker.process.process.pid for worker in workers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(HEARTBEAT_S + 0.2)  # the next one is due before anything else
    own_redis.kill()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)
    assert max(ends(worker) for worker in workers) < 10


def test_a_worker_ends_in_time_while_redis_is_frozen(started, own_redis) -> None:
    worker = started("--pool", "solo")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        time.sleep(HEARTBEAT_S + 0.2)
        assert ends(worker) < STOP_S
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)


def test_a_worker_ends_at_once_while_redis_answers(started) -> None:
    assert max(ends(started("--pool", "solo")), ends(started("--pool", "prefork", "-c", "1"))) < 5


def test_a_worker_whose_child_never_ends_leaves_when_its_time_is_over(short_path, own_redis) -> None:
    """Its pool waits for the child without end: nobody would start another worker, and the queue stood still."""
    environ = os.environ | {"WEIR_HOME": str(short_path / "h"), "REDIS_URL": own_redis.url}
    words = ["-A", "workers", "worker", "-Q", "record", "--pool", "prefork", "-c", "1", "--without-mingle", "-l", "INFO"]
    log = short_path / "worker.log"
    with log.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-c", HURRIED, *words], cwd=REPOSITORY, env=environ, stdout=file, stderr=file
        )
    children: list[int] = []
    try:
        give_up = time.monotonic() + 60
        while " ready." not in log.read_text():
            assert worker.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)
        children = [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        worker.terminate()
        assert worker.wait(15) == OVERDUE_EXIT, log.read_text()
        assert "not ended" in log.read_text()
    finally:
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.kill()
        worker.wait()


def test_a_worker_goes_on_after_redis_refused_to_be_written_to(short_path, started, own_redis) -> None:
    """A full disk makes Redis say so (MISCONF): a worker that ended over it left its queue to nobody."""
    workers = [started("--pool", "solo"), started("--pool", "prefork", "-c", "1")]
    client = redis.Redis.from_url(own_redis.url)
    client.config_set("min-replicas-to-write", 1)
    time.sleep(3)
    client.config_set("min-replicas-to-write", 0)
    settings = load({"WEIR_HOME": str(short_path / "h"), "REDIS_URL": own_redis.url})
    queue = f"{broker_prefix(settings)}record"
    client.lpush(queue, b"not a message")
    give_up = time.monotonic() + 15
    while client.llen(queue):
        assert time.monotonic() < give_up, [worker.process.log.read_text()[-2000:] for worker in workers]
        time.sleep(0.1)
    assert [worker.process.process.poll() for worker in workers] == [None, None]
    client.close()
