"""What workers promise, on doubles that implement the ports."""

from collections.abc import Sequence

import pytest

from app.core.decisions import Asked, Judgement, Ruling, ValidateBatch, ValidateReply, Verdict
from app.core.errors import BrokerUnavailable, PayloadRefused, StoreUnavailable
from app.core.messages import (
    ChunkBatch,
    ChunkData,
    FeedMessage,
    PersistBatch,
    PersistReply,
    Rejection,
    decode,
)
from app.ports import LogHead
from app.services.persist import Persister
from app.services.upkeep import Upkeep
from app.services.worker_validation import WorkerValidator, fingerprint

PROJECT = "p" * 32
HEAD = FeedMessage(1, PROJECT, "files", 1, 2, b"a" * 32, b"b" * 32)


class Diary:
    """Replies, feed, cache and writer in one, so that the order of what a service does can be read."""

    def __init__(self, *, feed_gone: bool = False, store_gone: bool = False) -> None:
        self.lines: list[str] = []
        self.replies: list[bytes] = []
        self.feed_gone, self.store_gone = feed_gone, store_gone

    def append(self, batch: PersistBatch, task_id: str) -> tuple[PersistReply, Sequence[FeedMessage]]:
        if self.store_gone:
            raise StoreUnavailable("gone")
        self.lines.append(f"commit {task_id}")
        return PersistReply(1, batch.batch_id, 3, 2, 2, (Rejection(2, 2, "policy"),)), [HEAD]

    def put_chunks(self, project: str, chunks: Sequence[ChunkData]) -> None:
        self.lines.append(f"chunks {len(chunks)}")

    def register_incarnation(self, project: str, origin: str, origin_name: str, request_id: str) -> int:
        return 7

    def publish(self, message: FeedMessage) -> None:
        if self.feed_gone:
            raise BrokerUnavailable("gone")
        self.lines.append("publish")

    def push(self, address: str, payload: bytes) -> None:
        self.lines.append("reply")
        self.replies.append(payload)

    def put(self, chunks: Sequence[ChunkData]) -> None:
        self.lines.append("cache")

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        return {}


def persister(diary: Diary) -> Persister:
    return Persister(PROJECT, diary, diary, diary, diary)


def batch(project: str = PROJECT) -> PersistBatch:
    return PersistBatch(1, project, "o", "main", 3, "b1", "reply", (b"1", b"2"))


def test_a_batch_is_published_after_its_commit_and_acknowledged_last() -> None:
    diary = Diary()
    summary = persister(diary).persist(batch(), "task")
    assert diary.lines == ["commit task", "publish", "reply", "cache"]
    assert summary._asdict() == {"requests": 2, "acked": 2, "position": 2, "rejected": 1, "missing": 0, "error": ""}


def test_a_feed_that_is_gone_does_not_hold_the_acknowledgement() -> None:
    diary = Diary(feed_gone=True)
    one = persister(diary)
    one.persist(batch(), "task")
    assert diary.lines == ["commit task", "reply", "cache"]
    assert one.unpublished == 1


def test_what_was_not_committed_is_neither_published_nor_acknowledged() -> None:
    diary = Diary(store_gone=True)
    with pytest.raises(StoreUnavailable):
        persister(diary).persist(batch(), "task")
    assert diary.lines == []


def test_a_payload_of_another_project_is_refused() -> None:
    diary = Diary()
    with pytest.raises(PayloadRefused):
        persister(diary).persist(batch("q" * 32), "task")
    with pytest.raises(PayloadRefused):
        persister(diary).put_chunks(ChunkBatch(1, "q" * 32, "b", "reply", ()))
    assert diary.lines == []


class Rules:
    """Approves everything but `boom`, which it fails to judge, and `now`, which read the clock."""

    version = "v1"

    def __init__(self) -> None:
        self.judged: list[str] = []

    def judge(self, call: Asked) -> Judgement:
        command = call.input["command"]
        self.judged.append(command)
        if command == "boom":
            raise RecursionError
        return Judgement(Verdict.APPROVE, (), "", "", "v1", reads=("clock",) if command == "now" else ())


class Shelf:
    """A shared cache in a dictionary."""

    def __init__(self, *, gone: bool = False) -> None:
        self.kept: dict[bytes, Ruling] = {}
        self.gone = gone
        self.forged = self.stale = 3

    def get(self, fingerprints: Sequence[bytes], policy_version: str) -> dict[bytes, Ruling]:
        if self.gone:
            raise BrokerUnavailable("gone")
        self.forged += 1
        return {name: self.kept[name] for name in fingerprints if name in self.kept}

    def put(self, entries: Sequence[tuple[bytes, Ruling]], ttl_s: int) -> None:
        self.kept.update(entries)


def calls(*commands: str, agent: str = "a") -> tuple[Asked, ...]:
    return tuple(Asked("Bash", {"command": command}, agent) for command in commands)


def ask(validator: WorkerValidator, *commands: str) -> ValidateReply:
    return validator.decide_batch(ValidateBatch(2, PROJECT, "b", "reply", 45, calls(*commands)), "task")


def test_a_call_that_cannot_be_judged_is_blocked_and_the_rest_is_answered() -> None:
    validator = WorkerValidator(PROJECT, "w", Rules(), Diary(), None)
    reply = ask(validator, "ls", "boom", "pwd")
    assert [found.verdict for found in reply.rulings] == ["approve", "block", "approve"]
    assert validator.faults == 1


def test_only_what_depends_on_the_call_alone_is_shared() -> None:
    diary, shelf, rules = Diary(), Shelf(), Rules()
    validator = WorkerValidator(PROJECT, "w", rules, diary, shelf)
    asked = ValidateBatch(2, PROJECT, "b", "reply", 45, calls("ls", "now", "boom"))
    first = validator.answer(asked, "task")
    second = validator.answer(asked, "task")
    assert (first.cached, second.cached) == (0, 1)
    assert rules.judged == ["ls", "now", "boom", "now", "boom"]
    assert [decode(ValidateReply, reply).layers[0] for reply in diary.replies] == ["policy", "shared-cache"]
    assert (second.approved, second.blocked, second.escalated) == (2, 1, 0)
    told = decode(ValidateReply, diary.replies[1])
    assert (told.forged, told.stale) == (1, 0)
    assert told.worker_us >= told.shared_us


def test_a_shared_cache_that_is_gone_costs_nothing_but_the_judging() -> None:
    reply = ask(WorkerValidator(PROJECT, "w", Rules(), Diary(), Shelf(gone=True)), "ls")
    assert reply.layers == ("policy",)


def test_a_batch_of_another_project_is_refused() -> None:
    validator = WorkerValidator(PROJECT, "w", Rules(), Diary(), None)
    with pytest.raises(PayloadRefused):
        validator.answer(ValidateBatch(2, "q" * 32, "b", "reply", 45, calls("ls")), "task")


@pytest.mark.parametrize(
    "other",
    [
        Asked("Read", {"command": "ls"}, "a"),
        Asked("Bash", {"command": "ls "}, "a"),
        Asked("Bash", {"command": "ls", "timeout": 1}, "a"),
        Asked("Bash", {"command": "ls"}, "b"),
        Asked("Bash", {"command": "ls"}, "a", session="s"),
        Asked("Bash", {"command": "ls"}, "a", cwd="/"),
        Asked("Bash", {"command": "ls"}, "a", context={"x": 1}),
    ],
)
def test_two_calls_that_differ_never_share_a_judgement(other: Asked) -> None:
    call = Asked("Bash", {"command": "ls"}, "a")
    assert fingerprint(PROJECT, "v1", call) != fingerprint(PROJECT, "v1", other)
    assert fingerprint(PROJECT, "v1", call) != fingerprint(PROJECT, "v2", call)
    assert fingerprint(PROJECT, "v1", call) != fingerprint("q" * 32, "v1", call)


def test_the_order_of_input_keys_does_not_matter() -> None:
    one, other = Asked("T", {"a": 1, "b": 2}, "x"), Asked("T", {"b": 2, "a": 1}, "x")
    assert fingerprint(PROJECT, "v", one) == fingerprint(PROJECT, "v", other)


class Reader:
    """A files log of five events."""

    def head(self, log: str = "files") -> LogHead:
        return LogHead(5, b"b" * 32) if log == "files" else LogHead(0, bytes(32))


class Log:
    def catch_up(self) -> int:
        return 7


def test_maintenance_trims_the_caches_and_sees_to_the_log() -> None:
    assert Upkeep(PROJECT, Reader(), Log(), Diary(), [lambda _: 2, lambda _: 3]).maintain(1) == (5, 7)


def test_the_heartbeat_carries_both_heads() -> None:
    diary = Diary()
    heads = Upkeep(PROJECT, Reader(), Log(), diary, []).heartbeat()
    assert (heads.files, heads.decisions, diary.lines) == (5, 0, ["publish", "publish"])
