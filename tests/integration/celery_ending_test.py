"""A worker that is told to end does so, whatever has become of Redis: the supervisor kills after 30 s, the pool after 25."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import redis

from config.celery import broker_prefix
from config.settings import load
from workers.pool import STOP_S

HEARTBEAT_S = 2.0


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
