"""Whoever reaches Redis may push anything into a queue: workers drop it, count it, and go on with what is theirs."""

import base64
import json
import os
import pickle
import time
import uuid
from pathlib import Path

import kombu.serialization
import pytest
import redis

from app import bootstrap
from app.core.messages import encode
from app.services.escalation import EscalationRequest
from config.celery import broker_prefix
from config.settings import Settings, load

QUEUES = {"experts": "prefork", "validate": "solo"}
pytestmark = pytest.mark.timeout(240)


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def whole(queue: str, **other) -> dict:
    """A message as a sender makes it, but for `other`."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    _, _, body = kombu.serialization.dumps([[b"payload"], {}, embed], serializer="msgpack")
    return {
        "body": base64_of(body),
        "content-encoding": "binary",
        "content-type": "application/x-msgpack",
        "headers": {"task": "weir.escalate", "id": str(uuid.uuid4())},
        "properties": {
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
            "delivery_info": {"exchange": queue, "routing_key": queue},
            "priority": 0,
        },
    } | other


def packed(value) -> str:
    return base64_of(kombu.serialization.dumps(value, serializer="msgpack")[2])


def junk(queue: str, bomb: Path) -> list[bytes]:
    """Each ended a worker, or ran in it, somewhere in kombu or Celery if it were let in."""
    good = whole(queue)
    headers, properties = good["headers"], good["properties"]
    pickled = base64_of(pickle.dumps([[Bomb(bomb)], {}, {}]))
    messages = [
        None, 7, "text", [], {}, {"body": 1}, {"__type__": "uuid", "__value__": "x"}, {"__type__": "none", "__value__": 1},
        {"__type__": "decimal", "__value__": "x"}, whole(queue, properties=None), whole(queue, properties={}),
        whole(queue, headers=None), whole(queue, headers=[]), whole(queue, headers={}), whole(queue, headers="x"),
        whole(queue, body=None), whole(queue, body={"a": 1}), whole(queue, body="no base64!"), whole(queue, body=""),
        whole(queue, properties=properties | {"delivery_tag": {"a": 1}}),
        whole(queue, properties=properties | {"delivery_tag": "\ud800"}),
        whole(queue, properties=properties | {"delivery_info": None}),
        whole(queue, properties=properties | {"body_encoding": "rot13"}),
        whole(queue, headers=headers | {"task": []}), whole(queue, headers=headers | {"task": "os.system"}),
        whole(queue, headers=headers | {"id": None}), whole(queue, headers=headers | {"timelimit": "ab"}),
        whole(queue, headers=headers | {"eta": "never"}), whole(queue, headers=headers | {"expires": {}}),
        whole(queue, headers=headers | {"expires": "some day"}),
        whole(queue, headers=headers | {"compression": "zlib"}), whole(queue, headers=headers | {"retries": "x"}),
        whole(queue, body=packed("text")), whole(queue, body=packed([])), whole(queue, body=packed([1, 2, 3])),
        whole(queue, body=packed([["text"], {}, {}])), whole(queue, body=packed([[b"a", b"b"], {}, {}])),
        whole(queue, body=packed([[b"a"], {"x": b"y"}, {}])),
        whole(queue, body=packed([[b"a"], {}, {"callbacks": [{"task": "weir.maintain", "args": [b""]}]}])),
        whole(queue, **{"content-type": "application/x-python-serialize", "body": pickled}),
        whole(queue, **{"content-type": "application/x-python-serialize", "content-encoding": "binary", "body": pickled}),
        whole(queue, **{"content-type": "application/json", "body": base64_of(b"[[], {}, {}]")}),
        whole(queue, **{"content-type": 7}), whole(queue, **{"content-encoding": "no-such"}),
    ]  # fmt: skip
    raw = [b"", b"\x00", b"\xff\xfe", b"{", b"[" * 100_000, b"x" * 1_000_000, pickle.dumps(Bomb(bomb)), b"NaN", b'"\xed\xa0\x80"']
    return [*raw, *(json.dumps(message).encode() for message in messages)]


@pytest.fixture(scope="module")
def project(server_folder: Path, redis_server, postgres_server) -> tuple[Settings, dict[str, str]]:
    home = str(server_folder / "junk-home")
    environ = os.environ | {"WEIR_HOME": home, "REDIS_URL": redis_server.url, "PYTHONUNBUFFERED": "1"}
    environ |= {"DATABASE_URL": postgres_server.reader_url, "WEIR_WRITER_URL": postgres_server.writer_url}
    return load(environ), environ


@pytest.mark.parametrize("queue", QUEUES)
def test_junk_in_a_queue_is_dropped_and_counted_and_the_same_worker_goes_on(
    project, start_worker, redis_server, queue, tmp_path
):
    settings, environ = project
    worker = start_worker(environ, queue, "--pool", QUEUES[queue], "-c", "1", name=f"junk-{queue}")
    pid, bomb = worker.process.process.pid, tmp_path / "ran"
    client = redis.Redis.from_url(redis_server.url)
    key = f"{broker_prefix(settings)}{queue}"
    sent = junk(queue, bomb)
    count = bootstrap.dropped_messages(settings)
    give_up = time.monotonic() + 30
    for number, message in enumerate(sent, 1):
        client.lpush(key, message)
        while count.counts().get(queue, 0) < number:  # one by one: who ends the worker is named
            assert worker.process.status == "running", (message[:300], worker.process.logs()[-3000:])
            assert time.monotonic() < give_up, (message[:300], worker.process.logs()[-3000:])
            time.sleep(0.005)
    assert count.counts() == {**count.counts(), queue: len(sent)}
    assert (worker.process.status, worker.process.process.pid) == ("running", pid)
    assert not bomb.exists()
    while client.exists(f"{broker_prefix(settings)}unacked"):
        assert time.monotonic() < give_up, client.hgetall(f"{broker_prefix(settings)}unacked")
        time.sleep(0.05)
    assert b"Traceback" not in worker.process.logs()
    client.close()


def test_what_our_senders_make_still_gets_in(project, start_worker, redis_server):
    settings, environ = project
    worker = start_worker(environ, "maintenance,record", "--pool", "solo", name="junk-ours")
    with redis.Redis.from_url(redis_server.url) as client:
        box = bootstrap.reply_box(settings)
        tasks = bootstrap.tasks(settings)
        now_ms = time.time_ns() // 1_000_000
        request = EscalationRequest(
            1, settings.project, "one", box.address, now_ms, now_ms - 1, "a", "", "", "Bash", "/", b"{}", (), "", "v1"
        )
        tasks.send("weir.escalate", bootstrap.seal(settings).sign(b"weir.escalate", encode(request)), "maintenance")
        tasks.send("weir.expire-escalations", b"", "maintenance")
        assert box.wait(10), worker.process.logs()[-3000:]
        assert not client.hexists(f"{settings.key_prefix}dropped", "maintenance")
        tasks.close()
        box.close()
