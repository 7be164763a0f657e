"""The local cache beside cachetools (TTLCache under an RLock), its locks beside others, its eviction beside others.

usage: bench_cache.py [--rounds 5]

`tool call to decision` is what the gateway does for a call that it has just decoded, as the gateway does it (compiled
where that is built): encoded question, key, look-up at the time that the call arrived. 100,000 places, 90,000 filled; every hundredth question is a new one that is kept for 0.2 s, while a thread drops
what is out of time. `at work`: what 40 agents ask again; `cold`: Zipf (0.9) over all 90,000,
where nearly each entry comes from main memory. Calls are decoded 256 at a time, outside the clock. Times are CPU of the asking
threads a call; `wall` is the run's time over all calls, where 4 threads wait for each other. Writes
$WEIR_HOME/bench/cache/latest.json.
"""

import argparse
import asyncio
import gc
import importlib.util
import statistics
import sys
import threading
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import cachetools
import msgspec
from as_compiled import AS_C
from eviction import TRACES, Lru, Sieve, sessions, zipf
from report import environment, figure, ratios, write

from app.core.decisions import Judgement, Ruling, ToolCall, Verdict, ruling
from app.services.decision_cache import INLINE_BYTES, AsyncLRUCache, cache_key
from app.services.questions import encode_question
from app.services.waiting import CacheKey

PLACES, FILLED, BLOCK, BLOCKS = 100_000, 90_000, 256, 80
VERSION = "0123456789abcdef0123456789abcdef"
RULED = ruling(Judgement(Verdict.APPROVE, (), "It runs the project's tests.", "", VERSION))
BUDGETS = tomllib.loads((Path(__file__).resolve().parents[2] / "config" / "budgets.toml").read_text())["cache"]
_decode = msgspec.json.Decoder(ToolCall).decode
Get = Callable[[CacheKey, int], Any]
Put = Callable[[CacheKey, Ruling, float, int], Any]


def uncounted(cache: AsyncLRUCache) -> Get:
    """Return a look-up without the hit and miss counters, to see what they cost."""
    find = cache._entries.get

    def get_nowait(key: CacheKey, now_ns: int | None = None) -> Ruling | None:
        entry = find(key)
        if entry is None or entry.expires_ns <= (time.monotonic_ns() if now_ns is None else now_ns):
            return None
        entry.access_count += 1
        return entry.ruling

    return get_nowait


class Locked:
    """cachetools' TTLCache under an RLock, as its documentation tells threads to use it."""

    def __init__(self, maxsize: int) -> None:
        self._cache: cachetools.TTLCache[CacheKey, Ruling] = cachetools.TTLCache(maxsize, ttl=300)
        self._lock = threading.RLock()

    def get_nowait(self, key: CacheKey, _now_ns: int) -> Ruling | None:
        with self._lock:
            return self._cache.get(key)

    def set_nowait(self, key: CacheKey, found: Ruling, _ttl_s: float, _now_ns: int) -> None:
        with self._lock:
            self._cache[key] = found

    def clean(self) -> None:
        with self._lock:
            self._cache.expire()


class Run(NamedTuple):
    """CPU us a call of each block, and wall us a call of the whole."""

    blocks_us: list[float]
    wall_us: float


def body(number: int) -> bytes:
    command = f"pytest -q tests/unit/test_{number}.py"
    return msgspec.json.encode(
        {"tool": "Bash", "input": {"command": command}, "agent": "a1", "session": "s1", "cwd": "/home/dev/project"}
    )


def key_of(call: ToolCall) -> CacheKey:
    return cache_key(VERSION, encode_question(call, VERSION))


def filled(cache: Any) -> Any:
    now = time.monotonic_ns()
    for number in range(FILLED):
        cache.set_nowait(key_of(_decode(body(number))), RULED, 300, now)
    return cache


def asking(cache: Any, numbers: list[int], fresh: int, blocks_us: list[float]) -> None:
    """Ask in blocks: the calls are decoded outside the clock, as the gateway has them in hand."""
    get, put, clock = cache.get_nowait, cache.set_nowait, time.monotonic_ns
    for at in range(0, len(numbers), BLOCK):
        calls = [_decode(body(number)) for number in numbers[at : at + BLOCK]]
        for place in range(0, BLOCK, 100):
            fresh += 1
            calls[place] = _decode(body(fresh))
        now = clock()
        begun = time.thread_time_ns()
        for call in calls:
            key = encode_question(call, VERSION)
            if len(key) > INLINE_BYTES or get(key, now) is None:
                put(key, RULED, 0.2, now)
        blocks_us.append((time.thread_time_ns() - begun) / BLOCK / 1000)


def call_to_decision(cache: Any, threads: int, numbers: list[int]) -> Run:
    stop, blocks, share = threading.Event(), [[] for _ in range(threads)], len(numbers) // threads

    def cleaning() -> None:
        while not stop.wait(0.25):
            cache.clean()

    asked = [
        threading.Thread(
            target=asking, args=(cache, numbers[n * share : (n + 1) * share], (n + 1) * 10_000_000, blocks[n])
        )
        for n in range(threads)
    ]
    cleaner = threading.Thread(target=cleaning)
    cleaner.start()
    begun = time.monotonic_ns()
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    wall_us = (time.monotonic_ns() - begun) / len(numbers) / 1000
    stop.set()
    cleaner.join()
    return Run([one for some in blocks for one in some], wall_us)


def measured_calls(rounds: int) -> list[dict[str, Any]]:
    length = BLOCK * BLOCKS
    patterns = {
        "at work": repeats([number % FILLED for number in sessions(1, length * 2)])[:length],
        "cold": [number % FILLED for number in zipf(1, FILLED, length)],
    }
    systems = {"weir": filled(AsyncLRUCache(PLACES, 1 << 30)), "cachetools TTL+RLock": filled(Locked(PLACES))}
    figures = []
    for pattern, numbers in patterns.items():
        for threads in (1, 4):
            runs: dict[str, list[Run]] = {system: [] for system in systems}
            for _ in range(rounds):
                for system, cache in systems.items():
                    runs[system].append(call_to_decision(cache, threads, numbers))
            name = f"tool call to decision, {pattern}, {threads} thread{'s' * (threads > 1)}"
            figures += [call_figure(name, system, some) for system, some in runs.items()]
    share = systems["weir"].figures().entries / PLACES
    return [*figures, figure("places filled at the end", "weir", share, None, "share of 100,000", [share])]


def repeats(asked: list[int]) -> list[int]:
    """Return what was asked before: the first time is no hit."""
    known: set[int] = set()
    return [number for number in asked if number in known or known.add(number)]  # type: ignore[func-returns-value]


def call_figure(name: str, system: str, runs: list[Run]) -> dict[str, Any]:
    every = sorted(one for run in runs for one in run.blocks_us)
    medians = [statistics.median(run.blocks_us) for run in runs]
    wall = round(statistics.median(run.wall_us for run in runs), 3)
    p99 = every[int(len(every) * 0.99)]
    return figure(name, system, statistics.median(medians), p99, "us CPU a call", medians, wall_us=wall)


# ---- the look-up alone, and the locks


def each_ns(act: Callable[[], object], count: int, rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        begun = time.thread_time_ns()
        act()
        found.append((time.thread_time_ns() - begun) / count)
    return found


def lookups(get: Get, keys: list[CacheKey]) -> Callable[[], None]:
    def act() -> None:
        for key in keys:
            get(key, 0)

    return act


def read_as_source(path: str) -> Any:
    """Return a module of its own, not compiled."""
    spec = importlib.util.spec_from_file_location("read_as_source", Path(__file__).resolve().parents[2] / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured_counters(rounds: int) -> list[dict[str, Any]]:
    """The cost of the counters: the same look-up with and without them, turn by turn, keys at hand; both by their
    source, since what is compiled has no twin without counters.
    """
    cache = read_as_source("app/services/decision_cache.py").AsyncLRUCache(PLACES)
    keys = [VERSION.encode() + b"%d" % number for number in range(500)] * 100
    for key in keys:
        cache.set_nowait(key, RULED, 300, 0)
    takes: list[list[float]] = [[], []]
    for _ in range(rounds * 4):
        for get, taken in zip((cache.get_nowait, uncounted(cache)), takes, strict=True):
            taken.extend(each_ns(lookups(get, keys), len(keys), 1))
    counted, bare = (statistics.median(some) for some in takes)
    costs = [a - b for a, b in zip(*takes, strict=True)]
    return [
        figure("look-up alone, keys at hand", "weir", counted / 1000, None, "us CPU a look-up", takes[0]),
        figure("counters of a look-up", "weir", counted - bare, None, "ns CPU a look-up", costs),
    ]


def measured_locks(rounds: int) -> list[dict[str, Any]]:
    """One dict, the same look-up: bare, under an RLock, under an asyncio.Lock."""
    cache = AsyncLRUCache(PLACES)
    keys = [VERSION.encode() + b"%d" % number for number in range(500)] * 40
    for key in keys:
        cache.set_nowait(key, RULED, 3000)
    lock = threading.RLock()

    def under_lock(key: CacheKey, now_ns: int) -> Any:
        with lock:
            return cache.get_nowait(key, now_ns)

    figures = []
    for threads in (1, 4):
        for system, get in (("weir", cache.get_nowait), ("RLock", under_lock)):
            runs = [_threaded(get, keys, threads) for _ in range(rounds)]
            name = f"look-ups from {threads} thread{'s' * (threads > 1)}"
            figures.append(figure(name, system, statistics.median(runs), None, "us wall a look-up", runs))
    return figures + _tasks(cache, keys, lock, rounds)


def _threaded(get: Get, keys: list[CacheKey], threads: int) -> float:
    some = [threading.Thread(target=lookups(get, keys)) for _ in range(threads)]
    begun = time.monotonic_ns()
    for thread in some:
        thread.start()
    for thread in some:
        thread.join()
    return (time.monotonic_ns() - begun) / len(keys) / threads / 1000


def _tasks(cache: AsyncLRUCache, keys: list[CacheKey], lock: Any, rounds: int) -> list[dict[str, Any]]:
    turn = asyncio.Lock()

    async def bare(key: CacheKey) -> Ruling | None:
        return await cache.get(key)

    async def rlock(key: CacheKey) -> Ruling | None:
        with lock:
            return await cache.get(key)

    async def asyncio_lock(key: CacheKey) -> Ruling | None:
        async with turn:
            return await cache.get(key)

    async def all_of(get: Callable[[CacheKey], Awaitable[Ruling | None]]) -> float:
        async def some(mine: list[CacheKey]) -> None:
            for key in mine:
                await get(key)

        begun = time.thread_time_ns()
        await asyncio.gather(*[some(keys[n * 20 : n * 20 + 20]) for n in range(1000)])
        return (time.thread_time_ns() - begun) / 20_000 / 1000

    figures = []
    for system, get in (("weir", bare), ("RLock", rlock), ("asyncio.Lock", asyncio_lock)):
        runs = [asyncio.run(all_of(get)) for _ in range(rounds)]
        figures.append(figure("look-ups from 1,000 tasks", system, statistics.median(runs), None, "us CPU a look-up", runs))
    return figures


# ---- what to evict


class Ours:
    """The cache itself, asked by numbers."""

    def __init__(self, size_max: int) -> None:
        self._cache = AsyncLRUCache(size_max, 1 << 40)

    def asked(self, number: int) -> bool:
        key = VERSION.encode() + b"%d" % number
        if self._cache.get_nowait(key, 0) is not None:
            return True
        self._cache.set_nowait(key, RULED, 300, 0)
        return False


def measured_evictions() -> list[dict[str, Any]]:
    figures = []
    for name, trace in TRACES.items():
        asked = trace(7)
        for size in (500, 5_000):
            for system, policy in (("weir", Ours(size)), ("LRU", Lru(size)), ("SIEVE", Sieve(size))):
                share = sum(map(policy.asked, asked)) / len(asked)
                figures.append(figure(f"hits, {name}, {size} places", system, share, None, "share", [share]))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    begun = environment() | {"compiled": AS_C}
    gc.disable()
    figures = [*measured_calls(rounds), *measured_counters(rounds), *measured_locks(rounds), *measured_evictions()]
    ratios(figures)
    write("cache", begun, figures)
    over = [
        f"{one['figure']}: {one['median']}, budget {bound}"
        for start, bound in (
            ("tool call to decision, at work", BUDGETS["call_to_decision_us"]),
            ("counters", BUDGETS["counters_ns"]),
        )
        for one in figures
        if one["system"] == "weir" and one["figure"].startswith(start) and one["median"] >= bound
    ]
    print("\n".join(over) or "every budget holds")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
