"""The gateway's own cache of workers' rulings: one dict, no lock, bounded in entries and bytes.

Only the event loop writes. Eviction is CLOCK (a hit sets a bit; the oldest entry without one goes, one with it goes
round again), so a hit moves nothing. An OrderedDict, because the first key of a plain dict that loses its first keys
is found by walking over the lost ones. A key is the whole question, or its full digest where that is long: never a
shortened hash, because two calls under one key would share an approval.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

import blake3
import msgspec

from app.core.decisions import Ruling

_INLINE_BYTES: Final = 512
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
        self._entries: OrderedDict[CacheKey, _Entry] = OrderedDict()
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._ttl_ns = ttl_s * 1_000_000_000
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0

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
        if ruling.reads or ruling.policy_version != key[0]:
            return
        size = len(key[1]) + len(ruling.reason) + len(ruling.shown) + _ENTRY_BYTES
        before = self._entries.pop(key, None)
        self._entries[key] = _Entry(ruling, now_ns + self._ttl_ns, size)
        self._bytes += size if before is None else size - before.size_bytes
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            self._evict()

    def clear(self) -> None:
        """Forget everything (the policy changed)."""
        self._entries.clear()
        self._bytes = 0

    def figures(self) -> CacheFigures:
        """Return what the cache holds and did."""
        return CacheFigures(len(self._entries), self._bytes, self._hits, self._misses, self._evictions)

    def _evict(self) -> None:
        key, entry = self._entries.popitem(last=False)
        while entry.visited:
            entry.visited = False
            self._entries[key] = entry
            key, entry = self._entries.popitem(last=False)
        self._bytes -= entry.size_bytes
        self._evictions += 1
