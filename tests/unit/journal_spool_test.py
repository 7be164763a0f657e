"""The decision spool: an answer that was given is on disk, and reaches the store once, whatever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.adapters.journal.spool import DecisionSpool, SpoolFolder
from app.core.decisions import DecisionRecord
from app.core.errors import BrokerUnavailable, JournalFull
from app.core.messages import RecordBatch, RecordReply, decode, encode
from app.services.packing import unpack
from app.services.spool_shipping import SpoolShipper

PROJECT = "0" * 32


def record(number: int = 0) -> DecisionRecord:
    return DecisionRecord(
        1, 0, 5, f"id{number}", "agent", "s", "t", "Bash", "/", b"{}", "approve", (), "because", "policy", False, False, "v", 7
    )


class Store:
    """weir.record and its broker: loses and doubles."""

    address = "box"

    def __init__(self, seed: int = 0, loss: float = 0.0, double: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.double = loss, double
        self.logs: dict[str, list[bytes]] = {}
        self.replies: list[bytes] = []
        self.away = False

    def send(self, name: str, payload: bytes, queue: str) -> str:
        if self.away:
            raise BrokerUnavailable("away")
        assert (name, queue) == ("weir.record", "record")
        for _ in range(0 if self.random.random() < self.loss else 2 if self.random.random() < self.double else 1):
            self.work(decode(RecordBatch, unpack(payload)))
        return "id"

    def work(self, batch: RecordBatch) -> None:
        log = self.logs.setdefault(batch.spool, [])
        error = ""
        if batch.first_sequence > len(log) + 1:
            error = "gap"
        else:
            log.extend(batch.records[len(log) + 1 - batch.first_sequence :])
        if self.random.random() >= self.loss:
            self.replies.append(encode(RecordReply(1, batch.batch_id, batch.spool, len(log), 0, error)))

    def wait(self, timeout_s: float):
        return self.replies.pop(0) if self.replies else None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.05
        return self.now


def shipper_of(folder: Path, store: Store, own=()) -> SpoolShipper:
    shipper = SpoolShipper(PROJECT, SpoolFolder(folder, PROJECT), store, store, Clock())
    shipper._own = frozenset(own)
    shipper._stop.set()  # no idle waits in step
    return shipper


def drain(shipper: SpoolShipper, true) -> None:
    for _ in range(5000):
        shipper.step()
        if true():
            return
    raise AssertionError(f"not shipped: {shipper.error} {shipper.problems}")


def ids(log: list[bytes]) -> list[str]:
    import msgspec

    return [msgspec.msgpack.decode(raw, type=DecisionRecord).id for raw in log]


def test_answers_get_consecutive_numbers_and_one_write(tmp_path):
    spool = DecisionSpool(tmp_path, PROJECT)
    assert list(spool.append([record(1), record(2)])) == [1, 2]
    assert list(spool.append([record(3)])) == [3]
    assert spool.next_sequence == 4
    spool.close()


@pytest.mark.parametrize("seed", range(5))
def test_every_answer_reaches_the_store_once_over_a_bad_broker(tmp_path, seed):
    store, spool = Store(seed, loss=0.3, double=0.3), DecisionSpool(tmp_path, PROJECT, segment_bytes=3000)
    shipper = shipper_of(tmp_path, store, [spool.spool])
    rng = random.Random(seed)
    count = 0
    for _ in range(40):
        batch = [record(count + i) for i in range(rng.randrange(1, 60))]
        spool.append(batch)
        count += len(batch)
        shipper.step()
    drain(shipper, lambda: shipper.acked.get(spool.spool) == count)
    assert ids(store.logs[spool.spool]) == [f"id{i}" for i in range(count)]
    assert len(list(tmp_path.glob("*.ws"))) <= 2
    spool.close()


def test_the_spool_of_a_dead_gateway_is_shipped_and_removed_by_the_next(tmp_path):
    old = DecisionSpool(tmp_path, PROJECT)
    old.append([record(i) for i in range(10)])
    os.close(old._lock_descriptor)
    store = Store()
    shipper = shipper_of(tmp_path, store)
    drain(shipper, lambda: not list(tmp_path.glob("*.ws")))
    assert len(store.logs[old.spool]) == 10


def test_the_spool_of_another_living_gateway_is_left_alone(tmp_path):
    other = DecisionSpool(tmp_path, PROJECT)
    other.append([record()])
    store = Store()
    shipper = shipper_of(tmp_path, store)
    for _ in range(10):
        shipper.step()
    assert store.logs == {}
    other.close()


def test_a_full_spool_says_so_and_heals_when_it_is_shipped(tmp_path):
    store = Store()
    spool = DecisionSpool(tmp_path, PROJECT, segment_bytes=1000, bytes_max=6000)
    shipper = shipper_of(tmp_path, store, [spool.spool])
    with pytest.raises(JournalFull):
        for _ in range(1000):
            spool.append([record()])
    drain(shipper, lambda: shipper.acked.get(spool.spool) == spool.next_sequence - 1)
    spool.append([record()])
    spool.close()


def test_the_spool_of_a_mount_is_shipped_while_it_is_written_and_kept_until_its_writer_is_gone(tmp_path):
    store, spool = Store(), DecisionSpool(tmp_path, PROJECT)
    shipper = SpoolShipper(PROJECT, SpoolFolder(tmp_path, PROJECT), store, store, Clock(), all_living=True)
    shipper._stop.set()
    spool.append([record(0)])
    drain(shipper, lambda: shipper.acked.get(spool.spool) == 1)
    for _ in range(50):
        shipper.step()
    spool.append([record(1)])
    drain(shipper, lambda: shipper.acked.get(spool.spool) == 2)
    spool.append([record(2)])
    spool.close()
    drain(shipper, lambda: not list(tmp_path.glob("*.ws")))
    assert len(store.logs[spool.spool]) == 3


def test_redis_away_keeps_the_answers_and_stop_is_bounded(tmp_path):
    store, spool = Store(), DecisionSpool(tmp_path, PROJECT)
    store.away = True
    spool.append([record()])
    shipper = SpoolShipper(PROJECT, SpoolFolder(tmp_path, PROJECT), store, store)
    shipper.start([spool.spool])
    time.sleep(0.2)
    began = time.monotonic()
    assert not shipper.stop(0.3)
    assert time.monotonic() - began < 5
    spool.close()
    store.away = False
    second = SpoolShipper(PROJECT, SpoolFolder(tmp_path, PROJECT), store, store)
    second.start([])
    deadline = time.monotonic() + 10
    while not store.logs and time.monotonic() < deadline:
        time.sleep(0.01)
    assert second.stop()
    assert len(store.logs[spool.spool]) == 1


def test_answers_that_wait_for_redis_at_a_stop_are_shipped_when_it_is_back(tmp_path):
    store, spool = Store(), DecisionSpool(tmp_path, PROJECT)
    shipper = SpoolShipper(PROJECT, SpoolFolder(tmp_path, PROJECT), store, store)
    send = store.send

    def away_until_the_stop(name: str, payload: bytes, queue: str) -> str:
        store.away = not shipper._stop.is_set()
        return send(name, payload, queue)

    store.send = away_until_the_stop
    spool.append([record(i) for i in range(3)])
    shipper.start([spool.spool])
    deadline = time.monotonic() + 10
    while not shipper.error and time.monotonic() < deadline:
        time.sleep(0.01)
    assert shipper.stop(10)
    assert ids(store.logs[spool.spool]) == ["id0", "id1", "id2"]
    spool.close()


WRITER = """
import sys, os
from pathlib import Path
sys.path.insert(0, {root!r})
from app.adapters.journal.spool import DecisionSpool
from app.core.decisions import DecisionRecord
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        spool = DecisionSpool(Path({path!r}), "0" * 32, segment_bytes=20_000)
        n = 0
        while True:
            records = [DecisionRecord(1, 0, 5, "id%d" % (n + i), "a", "s", "t", "Bash", "/", b"{{}}", "approve", (), "r", "policy",
                       False, False, "v", 7) for i in range(5)]
            last = list(spool.append(records))[-1]
            n += 5
            os.write(1, b"%s %d\\n" % (spool.spool.encode(), last))
    os.write(1, b"pid %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


@pytest.mark.thorough
def test_kill_nine_loses_no_answer_that_was_given(tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(root=root, path=str(tmp_path))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    given: dict[str, int] = {}
    try:
        for turn in range(50):
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
            pid, before, killed = 0, len(given), False
            while (line := parent.stdout.readline()) != b"dead\n":
                words = line.decode().split()
                if words[0] == "pid":
                    pid = int(words[1])
                else:
                    given[words[0]] = int(words[1])
                if pid and not killed and len(given) > before:
                    time.sleep(turn * 0.0002)
                    os.kill(pid, signal.SIGKILL)
                    killed = True
    finally:
        parent.stdin.close()
        parent.wait()
        parent.stdout.close()
    store = Store(1, loss=0.1, double=0.1)
    shipper = shipper_of(tmp_path, store)
    drain(shipper, lambda: not list(tmp_path.glob("*.ws")))
    assert len(given) == 50
    for spool, last in given.items():
        assert len(store.logs[spool]) >= last
        assert ids(store.logs[spool]) == [f"id{i}" for i in range(len(store.logs[spool]))]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_shipper_that_dies_says_so_since_nothing_would_be_recorded_any_more(tmp_path):
    told = []
    spool = DecisionSpool(tmp_path, PROJECT)
    store = Store()

    def broken(name: str, payload: bytes, queue: str) -> str:
        raise SystemExit  # what no one expected; quiet in a thread

    store.send = broken
    spool.append([record()])
    shipper = SpoolShipper(PROJECT, SpoolFolder(tmp_path, PROJECT), store, store)
    shipper.start([spool.spool], died=told.append)
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told == ["spool-shipper"]
    shipper.stop(0.1)
    spool.close()
