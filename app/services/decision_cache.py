"""The gateway's own cache of workers' rulings: S3-FIFO on one dict, no lock, bounded in entries and bytes.

Only the event loop writes, and a hit sets a bit and moves nothing. What is new waits in a short queue and leaves it
unless it is asked for again there, or soon after (`ghost`: hashes of what left, in two halves of which the older is
dropped whole): a flood of distinct questions passes through a few thousand places and does not push out what is asked
often. While fewer than one question in a hundred is a hit, only one in DRY_SHARE is kept at all: keeping costs 2-4 us
of a call, most of it in memory that is not at hand. A key is the whole question, or its
full digest where that is long: never a shortened hash, because two calls under one key would share an approval.
"""

from collections import deque
from typing import Final, NamedTuple

import blake3
import msgspec

from app.core.decisions import Ruling

_INLINE_BYTES: Final = 512
DRY_SHARE: Final = 8
_LOOK_EVERY: Final = 4096
_ENTRY_BYTES: Final = 500
"""Measured order of what an entry costs beside its key: dict slot, entry, ruling, its small strings."""

CacheKey = tuple[str, bytes]


def cache_key(policy_version: str, question: bytes) -> CacheKey:
    """Return the key of an encoded question under a policy (whose version names its engine too)."""
    if len(question) <= _INLINE_BYTES:
        return policy_version, question
    return policy_version, b"digest" + blake3.blake3(question).digest()


class CacheFigures(NamedTuple):
    """Entries and bytes held, hits and misses since the start."""

    entries: int
    size_bytes: int
    hits: int
    misses: int
    evictions: int


class _Entry(msgspec.Struct, gc=False):
    ruling: Ruling
    expires_ns: int
    size_bytes: int
    visited: bool = False


class DecisionCache:
    """Rulings by key for `ttl_s` seconds, at most `entries_max` of them and `bytes_max` bytes."""

    def __init__(self, entries_max: int = 50_000, bytes_max: int = 64 << 20, ttl_s: int = 300) -> None:
        self._entries: dict[CacheKey, _Entry] = {}
        self._new: deque[CacheKey] = deque()
        self._kept: deque[CacheKey] = deque()
        self._ghost: set[int] = set()
        self._ghost_before: set[int] = set()
        self._entries_max = entries_max
        self._new_max = max(entries_max // 10, 1)
        self._bytes_max = bytes_max
        self._ttl_ns = ttl_s * 1_000_000_000
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0
        self._offered = 0
        self._dry = False
        self._hits_before = self._misses_before = 0
        self._look_at = _LOOK_EVERY

    def get(self, key: CacheKey, now_ns: int) -> Ruling | None:
        """Return the ruling of a key unless it is older than its time to live."""
        entry = self._entries.get(key)
        if entry is None or entry.expires_ns <= now_ns:
            self._misses += 1
            return None
        entry.visited = True
        self._hits += 1
        return entry.ruling

    def put(self, key: CacheKey, ruling: Ruling, now_ns: int) -> None:
        """Keep a ruling; one that read anything outside the call, or is of another policy, is not kept."""
        if ruling.reads or ruling.policy_version != key[0] or self._passes_by():
            return
        size = len(key[1]) + len(ruling.reason) + len(ruling.shown) + _ENTRY_BYTES
        before = self._entries.get(key)
        self._entries[key] = _Entry(ruling, now_ns + self._ttl_ns, size)
        self._bytes += size
        if before is not None:
            self._bytes -= before.size_bytes
            return
        name = hash(key)
        (self._kept if name in self._ghost or name in self._ghost_before else self._new).append(key)
        while len(self._new) > self._new_max or len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            self._evict()

    def clear(self) -> None:
        """Forget everything (the policy changed)."""
        for part in (self._entries, self._new, self._kept, self._ghost, self._ghost_before):
            part.clear()
        self._bytes = 0

    def figures(self) -> CacheFigures:
        """Return what the cache holds and did."""
        return CacheFigures(len(self._entries), self._bytes, self._hits, self._misses, self._evictions)

    def _passes_by(self) -> bool:
        """Tell whether this one is left out: while next to nothing is asked twice, one in DRY_SHARE is kept."""
        if self._misses >= self._look_at:
            self._dry = self._hits - self._hits_before < (self._misses - self._misses_before) // 100
            self._hits_before, self._misses_before = self._hits, self._misses
            self._look_at = self._misses + _LOOK_EVERY
        self._offered += 1
        return self._dry and self._offered % DRY_SHARE != 0

    def _evict(self) -> None:
        if len(self._new) > self._new_max or not self._kept:
            key = self._new.popleft()
            if not self._entries[key].visited:
                self._remember(hash(key))
                self._drop(key)
                return
        else:
            key = self._kept.popleft()
            if not self._entries[key].visited:
                self._drop(key)
                return
        self._entries[key].visited = False
        self._kept.append(key)

    def _drop(self, key: CacheKey) -> None:
        self._bytes -= self._entries.pop(key).size_bytes
        self._evictions += 1

    def _remember(self, name: int) -> None:
        if len(self._ghost) >= self._entries_max:
            self._ghost, self._ghost_before = set(), self._ghost
        self._ghost.add(name)
