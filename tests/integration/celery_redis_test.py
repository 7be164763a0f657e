"""The Redis adapters on a real server: bounds, time-outs, forgery, restarts."""

import os
import signal
import time
from pathlib import Path

import pytest
import redis

from app import bootstrap
from app.adapters.redis.bounded import BoundedCache
from app.adapters.redis.signing import Signer
from app.core.chunks import chunk_hash, project_key
from app.core.decisions import Judgement, RuleRef, Verdict, ruling
from app.core.errors import BrokerUnavailable
from app.core.messages import ChunkData, FeedMessage, encode
from config.celery import QUEUES, broker_prefix
from config.secret_files import secret_bytes
from config.settings import Settings, load

APPROVAL = ruling(Judgement(Verdict.APPROVE, (RuleRef("r", "f.yaml", 3),), "reason", "remedy", "v1"))
NAME = b"n" * 32


def project(folder: Path, url: str) -> Settings:
    return load({"WEIR_HOME": str(folder / "home"), "REDIS_URL": url})


@pytest.fixture
def settings(short_path, redis_server) -> Settings:
    return project(short_path, redis_server.url)


@pytest.fixture
def raw(redis_server):
    client = redis.Redis.from_url(redis_server.url)
    yield client
    client.close()


def closing(request, part):
    request.addfinalizer(part.close)
    return part


def message(settings: Settings, first: int) -> FeedMessage:
    return FeedMessage(1, settings.project, "files", first, first, b"p" * 32, b"h" * 32)


def test_replies_come_first_in_first_out_and_an_empty_wait_ends_in_time(settings, request) -> None:
    box, replies = closing(request, bootstrap.reply_box(settings)), closing(request, bootstrap.replies(settings))
    replies.push(box.address, b"1")
    replies.push(box.address, b"2")
    assert (box.wait(1), box.wait(1)) == (b"1", b"2")
    begun = time.monotonic()
    assert box.wait(0.2) is None
    assert 0.15 < time.monotonic() - begun < 1


def test_who_only_asks_whether_a_reply_is_there_does_not_wait_until_redis_looks_at_its_clock(settings, request) -> None:
    box, replies = closing(request, bootstrap.reply_box(settings)), closing(request, bootstrap.replies(settings))
    begun = time.monotonic()
    assert [box.wait(0) for _ in range(30)] == [None] * 30
    assert time.monotonic() - begun < 1  # a blocking pop of 1 ms takes Redis up to 0.1 s where nothing else wakes it
    replies.push(box.address, b"1")
    assert box.wait(0) == b"1"


def test_a_forged_reply_or_one_of_another_list_never_reaches_who_waits(settings, raw, request) -> None:
    box, replies = closing(request, bootstrap.reply_box(settings)), closing(request, bootstrap.replies(settings))
    other = f"{settings.key_prefix}reply:other"
    replies.push(other, b"an approval for somebody else")
    for forged in (b"approve", b"", bytes(32) + b"approve", raw.lpop(other)):
        raw.rpush(box.address, forged)
    replies.push(box.address, b"genuine")
    assert [box.wait(0.5) for _ in range(5)] == [None, None, None, None, b"genuine"]


def test_a_reply_list_without_a_reader_expires_and_never_grows_past_its_bound(settings, raw, request) -> None:
    replies = closing(request, bootstrap.replies(settings))
    address = f"{settings.key_prefix}reply:gone"
    for index in range(1010):
        replies.push(address, b"%d" % index)
    assert raw.llen(address) == 1000
    assert raw.lindex(address, -1).endswith(b"1009")
    assert 0 < raw.ttl(address) <= 60


def test_a_frozen_redis_makes_every_sender_fail_within_a_second(short_path, own_redis, request) -> None:
    settings = project(short_path, own_redis.url)
    tasks, replies = closing(request, bootstrap.tasks(settings)), closing(request, bootstrap.replies(settings))
    feed = closing(request, bootstrap.feed_publisher(settings))
    tasks.send("weir.validate", b"x", "validate")
    calls = {
        "send": lambda: tasks.send("weir.validate", b"x", "validate"),
        "send again": lambda: tasks.send("weir.validate", b"x", "validate"),
        "push": lambda: replies.push(f"{settings.key_prefix}reply:x", b"x"),
        "publish": lambda: feed.publish(message(settings, 1)),
    }
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        for name, call in calls.items():
            begun = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                call()
            assert time.monotonic() - begun < 1, name
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)
    time.sleep(0.1)
    assert tasks.send("weir.validate", b"x", "validate")


def test_sender_replies_and_feed_heal_after_redis_was_killed(short_path, own_redis, request) -> None:
    settings = project(short_path, own_redis.url)
    tasks, replies = closing(request, bootstrap.tasks(settings)), closing(request, bootstrap.replies(settings))
    box, feed = closing(request, bootstrap.reply_box(settings)), closing(request, bootstrap.feed_publisher(settings))
    subscriber = closing(request, bootstrap.feed_subscriber(settings))
    feed.publish(message(settings, 1))
    assert subscriber.poll(1) == message(settings, 1)
    own_redis.kill()
    assert subscriber.poll(0.05) is None
    with pytest.raises(BrokerUnavailable):
        tasks.send("weir.validate", b"x", "validate")
    own_redis.start()
    assert tasks.send("weir.validate", b"x", "validate")
    replies.push(box.address, b"again")
    assert box.wait(2) == b"again"
    heard = None
    for _ in range(40):
        feed.publish(message(settings, 2))
        heard = heard or subscriber.poll(0.1)
    assert heard == message(settings, 2)


def test_a_full_queue_refuses_what_would_only_pile_up(settings, raw, request) -> None:
    tasks = closing(request, bootstrap.tasks(settings))
    raw.lpush(f"{broker_prefix(settings)}files", *[b"x"] * QUEUES["files"].length_max)
    with pytest.raises(BrokerUnavailable, match="full"):
        tasks.send("weir.persist", b"x", "files")
    assert tasks.send("weir.record", b"x", "record")


def test_two_projects_on_one_redis_never_see_each_other(short_path, settings, redis_server, raw, request) -> None:
    other = project(short_path / "other", redis_server.url)
    subscriber = closing(request, bootstrap.feed_subscriber(other))
    closing(request, bootstrap.feed_publisher(settings)).publish(message(settings, 1))
    assert subscriber.poll(0.2) is None
    closing(request, bootstrap.tasks(settings)).send("weir.validate", b"x", "validate")
    assert raw.llen(f"{broker_prefix(settings)}validate") == 1
    assert raw.llen(f"{broker_prefix(other)}validate") == 0


def test_a_subscriber_skips_what_is_not_signed_or_does_not_decode(settings, raw, request) -> None:
    subscriber = closing(request, bootstrap.feed_subscriber(settings))
    channel = f"{settings.key_prefix}feed:files"
    raw.publish(channel, encode(message(settings, 6)))
    raw.publish(channel, Signer(secret_bytes(settings.secrets / "cache.key")).sign(channel.encode(), b"\xc1junk"))
    closing(request, bootstrap.feed_publisher(settings)).publish(message(settings, 7))
    heard = [subscriber.poll(0.5), subscriber.poll(0.5), subscriber.poll(0.5)]
    assert heard == [None, None, message(settings, 7)]
    assert subscriber.refused == 2


def test_a_shared_decision_is_found_again_by_another_process(settings, request) -> None:
    closing(request, bootstrap.shared_decisions(settings)).put([(NAME, APPROVAL)], 60)
    assert closing(request, bootstrap.shared_decisions(settings)).get([NAME, b"m" * 32], "v1") == {NAME: APPROVAL}


def test_whoever_writes_to_redis_cannot_approve(settings, raw, request) -> None:
    decisions = closing(request, bootstrap.shared_decisions(settings))
    decisions.put([(NAME, APPROVAL)], 60)
    key = f"{settings.key_prefix}decision:".encode()
    genuine = raw.get(key + NAME)
    forgeries = {
        "moved to another call": (b"o" * 32, genuine),
        "one bit changed": (b"a" * 32, genuine[:-1] + bytes([genuine[-1] ^ 1])),
        "no MAC": (b"b" * 32, genuine[32:]),
        "empty": (b"c" * 32, b""),
        "MAC of another key": (b"d" * 32, bytes(32) + genuine[32:]),
    }
    for name, (fingerprint, value) in forgeries.items():
        raw.set(key + fingerprint, value)
        assert decisions.get([fingerprint], "v1") == {}, name
    assert decisions.forged == len(forgeries)


def test_a_shared_decision_of_another_project_is_a_forgery(settings, short_path, redis_server, raw, request) -> None:
    other = project(short_path / "other", redis_server.url)
    (other.secrets).mkdir(exist_ok=True)
    closing(request, bootstrap.shared_decisions(settings)).put([(NAME, APPROVAL)], 60)
    (other.secrets / "cache.key").write_text((settings.secrets / "cache.key").read_text())
    raw.set(f"{other.key_prefix}decision:".encode() + NAME, raw.get(f"{settings.key_prefix}decision:".encode() + NAME))
    theirs = closing(request, bootstrap.shared_decisions(other))
    assert theirs.get([NAME], "v1") == {}
    assert theirs.forged == 1


def test_an_old_shared_decision_is_ignored_even_if_its_key_was_kept_alive(settings, raw, request) -> None:
    decisions = closing(request, bootstrap.shared_decisions(settings))
    decisions.put([(NAME, APPROVAL)], 1)
    raw.persist(f"{settings.key_prefix}decision:".encode() + NAME)
    assert decisions.get([NAME], "v2") == {}
    time.sleep(1.05)
    assert decisions.get([NAME], "v1") == {}
    assert decisions.stale == 2


def test_the_cache_key_is_private_and_never_in_redis(settings, raw, request) -> None:
    closing(request, bootstrap.shared_decisions(settings)).put([(NAME, APPROVAL)], 60)
    place = settings.secrets / "cache.key"
    assert place.stat().st_mode & 0o777 == 0o600
    secret = bytes.fromhex(place.read_text())
    dumped = b"".join(raw.dump(key) or b"" for key in raw.keys(f"{settings.key_prefix}*"))
    assert secret not in dumped
    assert secret.hex().encode() not in dumped


def test_a_cached_chunk_that_is_not_what_its_name_says_is_not_served(settings, raw, request) -> None:
    import zstandard

    cache = closing(request, bootstrap.chunk_cache(settings))
    key = project_key(settings.project)
    plain, packed = os.urandom(5000), b"abc" * 3000
    chunks = [
        ChunkData(chunk_hash(key, plain), len(plain), "raw", plain),
        ChunkData(chunk_hash(key, packed), len(packed), "zstd", zstandard.compress(packed)),
    ]
    cache.put(chunks)
    assert cache.get([c.hash for c in chunks]) == {chunks[0].hash: plain, chunks[1].hash: packed}
    bomb = b"z" + zstandard.compress(bytes(512 * 1024 * 1024))
    for forged in (b"r" + b"other bytes", b"z" + b"not zstd", b"", bomb):
        raw.set(f"{settings.key_prefix}chunk:".encode() + chunks[0].hash, forged)
        assert cache.get([chunks[0].hash]) == {}
    assert cache.refused == 4


def test_a_cache_stays_within_its_bytes_and_drops_the_oldest(settings, redis_server, raw, request) -> None:
    cache = closing(request, BoundedCache(redis_server.url, settings.key_prefix, "t", budget_bytes=10_000, ttl_s=60))
    for index in range(50):
        cache.put([(b"%d:\n\0" % index, bytes(1000))], 1_000_000 + index)
    assert cache.held_bytes() <= 10_000
    kept = cache.get([b"%d:\n\0" % index for index in range(50)])
    assert [value is not None for value in kept] == [False] * 40 + [True] * 10
    assert cache.put([(b"49:\n\0", bytes(1000))], 1_000_050) == 0
    assert cache.held_bytes() == 10_000, "the same entry again counts once"
    assert cache.trim(1_000_000 + 120_000) == 10
    assert not raw.exists(f"{settings.key_prefix}t-bytes", f"{settings.key_prefix}t-index")


def test_caches_are_silent_while_redis_is_away(short_path, own_redis, request) -> None:
    settings = project(short_path, own_redis.url)
    chunks, decisions = bootstrap.chunk_cache(settings), bootstrap.shared_decisions(settings)
    own_redis.kill()
    chunks.put([ChunkData(b"h" * 32, 1, "raw", b"x")])
    decisions.put([(NAME, APPROVAL)], 60)
    with pytest.raises(BrokerUnavailable):
        chunks.get([b"h" * 32])
