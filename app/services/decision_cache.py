"""The gateway's own cache of workers' rulings: one dict, no lock on the read path, bounded in entries and bytes.

The name is that of the interface; what is dropped is chosen by S3-FIFO (ADR 0004), where a hit moves nothing. What is
new waits in a short queue and leaves it unless it is asked for again there, or soon after (`ghost`: hashes of what
left, in two halves of which the older is dropped whole): where the cache is full, a flood of distinct questions passes
through a tenth of it and does not push out what is asked often. The queues hold the order only; rulings are in the
dict and nowhere else, and what the dict no longer holds is skipped when its turn comes.

A look-up is one `dict.get`, two additions and no await: under the interpreter's lock it is whole, and the additions
have no place where another thread could come between. Its counters are variables of a closure: 30 ns together, as
attributes 40 each. Changes take a lock, for microseconds each: the supervisor's thread drops what is out of time
beside the loop that adds.

A key is the whole question, or its full digest where that is long: never a shortened hash, because two calls under one
key would share an approval.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import blake3
from mypy_extensions import mypyc_attr

from app.core.decisions import Ruling
from app.services.waiting import CacheKey

TTL_S: Final = 300
DRY_SHARE: Final = 8
INLINE_BYTES: Final = 512
_BEFORE_VERSION: Final = 3
_LOOK_EVERY: Final = 4096
_DEAD_MAX: Final = 256
_ENTRY_BYTES: Final = 500
"""Measured order of what an entry costs beside its key: dict slot, entry, ruling, its small strings."""


@mypyc_attr(acyclic=True)
class Entry:
    """A ruling in the cache. Compiled, its numbers lie in it: as objects of their own they were two more places in
    memory that is not at hand. The collector has nothing to do with it.
    """

    __slots__ = ("access_count", "count_before", "created_ns", "expires_ns", "key", "ruling", "size_bytes")

    def __init__(self, key: CacheKey, ruling: Ruling, created_ns: int, expires_ns: int, size_bytes: int) -> None:
        self.key = key
        self.ruling = ruling
        self.created_ns = created_ns
        self.expires_ns = expires_ns
        self.size_bytes = size_bytes
        self.access_count = 0
        self.count_before = 0
        """Of accesses, when its turn to leave came last: it stays if there were more since."""


def cache_key(policy_version: str, asked: bytes) -> CacheKey:
    """Return the key of a question that names the policy's version (which names its engine too) within its first bytes:
    the question itself, one object, as each further one is another 0.1 us where memory is cold.
    """
    return asked if len(asked) <= INLINE_BYTES else policy_version.encode() + b"digest" + blake3.blake3(asked).digest()


class CacheFigures(NamedTuple):
    """What is held now, and counts since the start. Kept = entries + evictions + expiries + replaced + cleared."""

    entries: int
    size_bytes: int
    hits: int
    misses: int
    kept: int
    evictions: int
    expiries: int
    replaced: int
    cleared: int


class EntryFigures(NamedTuple):
    """An entry as a person reads it: Unix time of its keeping, look-ups that it answered, seconds that it has left."""

    created_at: float
    access_count: int
    expires_in_s: float


class GetNowait(Protocol):
    """A look-up."""

    def __call__(self, key: CacheKey, now_ns: int | None = None) -> Ruling | None:
        """Return the ruling of a key unless its time is over."""


def _look_up(
    entries: dict[CacheKey, Entry], clock_ns: Callable[[], int]
) -> tuple[GetNowait, Callable[[], tuple[int, int]]]:
    """Return the look-up of a dict, and what tells its hits and misses."""
    hits = misses = 0
    find = entries.get

    def get_nowait(key: CacheKey, now_ns: int | None = None) -> Ruling | None:
        nonlocal hits, misses
        entry = find(key)
        if entry is None or entry.expires_ns <= (clock_ns() if now_ns is None else now_ns):
            misses += 1
            return None
        entry.access_count += 1
        hits += 1
        return entry.ruling

    return get_nowait, lambda: (hits, misses)


class AsyncLRUCache:
    """Rulings by key, at most `maxsize` of them and `bytes_max` bytes. `clock_ns` is monotonic; who has just read it
    hands in `now_ns`.
    """

    def __init__(
        self, maxsize: int = 50_000, bytes_max: int = 64 << 20, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._entries: dict[CacheKey, Entry] = {}
        self._new: deque[Entry] = deque()
        self._old: deque[Entry] = deque()
        self._ghost: set[int] = set()
        self._ghost_before: set[int] = set()
        self._size_max = maxsize
        self._new_max = max(maxsize // 10, 1)
        self._bytes_max = bytes_max
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._bytes = 0
        self.get_nowait, self._counts = _look_up(self._entries, clock_ns)
        self._kept = self._evictions = self._expiries = self._replaced = self._cleared = 0
        self._dry = False
        self._offered = self._hits_before = self._misses_before = 0
        self._look_at = _LOOK_EVERY

    async def get(self, key: CacheKey) -> Ruling | None:
        """As get_nowait; never suspends."""
        return self.get_nowait(key)

    async def set(self, key: CacheKey, result: Ruling, ttl_s: float = TTL_S) -> None:
        """As set_nowait; never suspends."""
        self.set_nowait(key, result, ttl_s)

    def set_nowait(self, key: CacheKey, result: Ruling, ttl_s: float = TTL_S, now_ns: int | None = None) -> bool:
        """Keep a ruling; one that read anything outside the call, or is of another policy, is refused (False)."""
        ground = result.ground
        version = ground.policy_version.encode()
        if ground.reads or key.find(version, 0, len(version) + _BEFORE_VERSION) < 0:
            return False
        now_ns = self._clock_ns() if now_ns is None else now_ns
        size = len(key) + len(ground.shown) + len(result.commands) + _ENTRY_BYTES
        entry = Entry(key, result, now_ns, now_ns + int(ttl_s * 1e9), size)
        with self._lock:
            self._replace(entry)
            while len(self._entries) > self._size_max or self._bytes > self._bytes_max:
                self._evict(now_ns)
        return True

    def worth_keeping(self) -> bool:
        """Tell whether the next ruling should be kept: while fewer than one question in a hundred is a hit, only one in
        DRY_SHARE is. Keeping costs 2-4 us of a call, most of it in memory that is not at hand.
        """
        self._offered = offered = self._offered + 1
        if offered % DRY_SHARE != 1:
            return not self._dry
        hits, misses = self._counts()
        if misses >= self._look_at:
            self._dry = hits - self._hits_before < (misses - self._misses_before) // 100
            self._hits_before, self._misses_before = hits, misses
            self._look_at = misses + _LOOK_EVERY
        return True

    def clean(self) -> int:
        """Drop what is out of time and return how many; for a supervisor's thread, which locks for one entry."""
        before, now_ns = self._expiries, self._clock_ns()
        for entry in list(self._entries.values()):
            if entry.expires_ns <= now_ns:
                self._expire(entry)
        self._skip_dropped()
        return self._expiries - before

    def clear(self) -> None:
        """Forget everything (the policy changed)."""
        with self._lock:
            self._cleared += len(self._entries)
            for part in (self._entries, self._new, self._old, self._ghost, self._ghost_before):
                part.clear()
            self._bytes = 0

    def entry(self, key: CacheKey) -> EntryFigures | None:
        """Return what is known of an entry, without counting as a look-up."""
        found = self._entries.get(key)
        if found is None:
            return None
        now_ns = self._clock_ns()
        created_at = time.time() - (now_ns - found.created_ns) / 1e9
        return EntryFigures(created_at, found.access_count, (found.expires_ns - now_ns) / 1e9)

    def figures(self) -> CacheFigures:
        """Return what the cache holds and did."""
        held = len(self._entries), self._bytes, *self._counts()
        return CacheFigures(*held, self._kept, self._evictions, self._expiries, self._replaced, self._cleared)

    def _expire(self, entry: Entry) -> None:
        with self._lock:
            if self._entries.get(entry.key) is entry:
                self._drop(entry)
                self._expiries += 1

    def _skip_dropped(self) -> None:
        """Let go of entries that only a queue still names: they fall out when their turn comes, which where nothing is
        evicted is never.
        """
        if len(self._new) + len(self._old) <= len(self._entries) * 5 // 4 + _DEAD_MAX:
            return
        with self._lock:
            for queue in (self._new, self._old):
                living = [entry for entry in queue if self._entries.get(entry.key) is entry]
                queue.clear()
                queue.extend(living)

    # ---- below, the lock is held

    def _replace(self, entry: Entry) -> None:
        before = self._entries.get(entry.key)
        if before is not None:
            self._drop(before)
            self._replaced += 1
        self._entries[entry.key] = entry
        self._bytes += entry.size_bytes
        self._kept += 1
        name = hash(entry.key)
        known = before is not None or name in self._ghost or name in self._ghost_before
        (self._old if known else self._new).append(entry)

    def _evict(self, now_ns: int) -> None:
        young = len(self._new) > self._new_max or not self._old
        entry = (self._new if young else self._old).popleft()
        if self._entries.get(entry.key) is not entry:
            return
        if entry.expires_ns <= now_ns:
            self._expiries += 1
        elif entry.access_count > entry.count_before:
            entry.count_before = entry.access_count
            self._old.append(entry)
            return
        else:
            self._evictions += 1
            if young:
                self._remember(hash(entry.key))
        self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._bytes -= entry.size_bytes

    def _remember(self, name: int) -> None:
        if len(self._ghost) >= self._size_max:
            self._ghost, self._ghost_before = set(), self._ghost
        self._ghost.add(name)

