"""The gateway's local cache: what it keeps, what it counts, and that threads and time do not confuse it."""

import asyncio
import random
import threading
import time

import msgspec

from app.core.decisions import Asked, Judgement, Ruling, ToolCall, Verdict, ruling
from app.services.decision_cache import AsyncLRUCache, cache_key
from app.services.questions import encode_question, wire_of

APPROVED = ruling(Judgement(Verdict.APPROVE, (), "fine", "", "v1"))
SECOND = 1_000_000_000


class Clock:
    """Monotonic ns, as the test says."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def named(number: int) -> bytes:
    return b"v1 %d" % number


def balanced(cache: AsyncLRUCache) -> bool:
    found = cache.figures()
    return found.kept == found.entries + found.evictions + found.expiries + found.replaced + found.cleared


def test_what_is_set_is_got_until_its_time_is_over() -> None:
    async def scene() -> list[Ruling | None]:
        clock = Clock()
        cache = AsyncLRUCache(10, clock_ns=clock)
        await cache.set(named(1), APPROVED, ttl_s=10)
        clock.now_ns = 10 * SECOND - 1
        found = [await cache.get(named(1)), cache.get_nowait(named(1))]
        clock.now_ns += 1
        return [*found, await cache.get(named(1))]

    assert asyncio.run(scene()) == [APPROVED, APPROVED, None]


def test_as_many_as_fit_are_kept_and_then_what_is_asked_for_stays() -> None:
    cache = AsyncLRUCache(100)
    for number in range(100):
        cache.set_nowait(named(number), APPROVED)
    assert all(cache.get_nowait(named(number)) for number in range(100))
    asked = named(3)
    for number in range(100, 10_000):
        cache.set_nowait(named(number), APPROVED)
        assert cache.get_nowait(asked) is APPROVED
        assert cache.figures().entries <= 100
    assert balanced(cache)


def test_it_is_bounded_in_bytes_too() -> None:
    cache = AsyncLRUCache(bytes_max=10_000)
    for number in range(1000):
        cache.set_nowait(named(number), ruling(Judgement(Verdict.BLOCK, (), "x" * 500, "", "v1")))
    assert 0 < cache.figures().entries < 20
    assert cache.figures().size_bytes <= 10_000
    cache.set_nowait(named(1), ruling(Judgement(Verdict.BLOCK, (), "x" * 20_000, "", "v1")))
    assert cache.get_nowait(named(1)) is None
    assert cache.figures().size_bytes <= 10_000


def test_an_entry_tells_when_it_came_and_how_often_it_answered() -> None:
    clock = Clock()
    cache = AsyncLRUCache(10, clock_ns=clock)
    cache.set_nowait(named(1), APPROVED, 60)
    clock.now_ns = 20 * SECOND
    for _ in range(3):
        cache.get_nowait(named(1))
    found = cache.entry(named(1))
    assert found is not None
    assert (found.access_count, found.expires_in_s) == (3, 40)
    assert abs(time.time() - 20 - found.created_at) < 5
    assert cache.entry(named(2)) is None
    assert cache.figures().misses == 0


def test_the_supervisor_drops_what_is_out_of_time_and_each_counter_is_exact() -> None:
    clock = Clock()
    cache = AsyncLRUCache(1000, clock_ns=clock)
    for number in range(1000):
        cache.set_nowait(named(number), APPROVED, 10 if number % 2 else 1000)
    clock.now_ns = 10 * SECOND
    assert cache.get_nowait(named(1)) is None
    assert cache.clean() == 500
    assert cache.clean() == 0
    found = cache.figures()
    assert (found.entries, found.kept, found.expiries, found.misses) == (500, 1000, 500, 1)
    cache.set_nowait(named(0), APPROVED)
    cache.clear()
    found = cache.figures()
    assert (found.entries, found.size_bytes, found.replaced, found.cleared) == (0, 0, 1, 500)
    assert balanced(cache)


def test_what_went_out_of_time_is_let_go_though_nothing_is_ever_evicted() -> None:
    clock = Clock()
    cache = AsyncLRUCache(100_000, clock_ns=clock)
    for number in range(20_000):
        clock.now_ns += SECOND // 100
        cache.set_nowait(named(number), APPROVED, 1)
        if number % 100 == 0:
            cache.clean()
    assert cache.figures().entries < 300
    assert len(cache._new) + len(cache._old) < 1000


def test_counters_stay_exact_and_bounds_hold_with_four_threads_and_a_cleaner() -> None:
    cache, stop = AsyncLRUCache(500, bytes_max=200_000), threading.Event()
    asked = [0] * 4

    def churn(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(6_000):
            key = named(int(dice.paretovariate(0.6)) % 3_000)
            asked[seed] += 1
            if cache.get_nowait(key) is None:
                cache.set_nowait(key, APPROVED, dice.choice((0.001, 60)))

    def cleaning() -> None:
        while not stop.is_set():
            cache.clean()

    threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(4)]
    cleaner = threading.Thread(target=cleaning)
    for thread in (cleaner, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    cleaner.join()
    found = cache.figures()
    assert found.hits + found.misses == sum(asked)
    assert found.entries <= 500
    assert found.size_bytes <= 200_000
    assert min(found.hits, found.evictions, found.expiries) > 0
    assert balanced(cache)


def test_while_next_to_nothing_is_asked_twice_only_some_is_kept() -> None:
    cache = AsyncLRUCache(100)
    for number in range(10_000):
        cache.get_nowait(named(number))
    assert sum(cache.worth_keeping() for _ in range(800)) == 100
    cache.set_nowait(named(0), APPROVED)
    for _ in range(9_000):
        cache.get_nowait(named(0))
    for number in range(10_000):
        cache.get_nowait(named(number + 1))
    assert cache.worth_keeping()


def test_what_read_the_world_or_belongs_to_another_policy_is_not_kept() -> None:
    cache = AsyncLRUCache()
    assert not cache.set_nowait(b"v2 asked", APPROVED)
    read = ruling(Judgement(Verdict.APPROVE, (), "", "", "v1", reads=("branch",)))
    assert not cache.set_nowait(b"v1 asked", read)
    assert cache.figures().entries == 0


def test_a_question_is_its_key_and_a_long_one_its_whole_digest() -> None:
    def key(command: str, version: str = "v1") -> bytes:
        return cache_key(version, encode_question(ToolCall("Bash", {"command": command}, "a"), version))

    long = key("x" * 10_000)
    assert len(long) == len(b"v1digest") + 32
    assert len({long, key("x" * 9_999), key("x" * 10_000, "v2"), key("ls"), key("ls", "v2"), key("v2 ls")}) == 6
    cache = AsyncLRUCache()
    assert cache.set_nowait(long, APPROVED)
    assert cache.set_nowait(key("ls"), APPROVED)
    assert not cache.set_nowait(key("x" * 10_000, "v2"), APPROVED)
    assert not cache.set_nowait(key("v1 v1", "v2"), APPROVED)


def test_what_goes_to_a_worker_is_the_question_without_the_policy() -> None:
    call = ToolCall("Bash", {"command": "ls"}, "a", "s", "/srv", {"branch": "x"})
    for version in ("v1", "0123456789abcdef" * 2):
        asked = msgspec.msgpack.decode(wire_of(encode_question(call, version), version), type=Asked)
        assert msgspec.structs.astuple(asked) == ("Bash", {"command": "ls"}, "a", "s", "/srv", {"branch": "x"})
