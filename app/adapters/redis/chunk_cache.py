"""The shared content cache: what the courier sent and the store committed, for mounts that read it cold.

Nothing in it is trusted: a chunk is decompressed within its size and checked by its keyed hash on the way
out, so writing to Redis can neither change content nor make a reader allocate.
"""

import time
from collections.abc import Sequence
from typing import Final

import zstandard

from app.adapters.redis.bounded import BoundedCache
from app.core.chunks import chunk_hash, project_key
from app.core.errors import BrokerUnavailable
from app.core.ids import CHUNK_BYTES
from app.core.messages import ChunkData

BUDGET_BYTES: Final = 64 * 1024 * 1024
TTL_S: Final = 600
_ENCODINGS: Final = {"raw": b"r", "zstd": b"z"}


class RedisChunkCache:
    """At most 64 MiB, ten minutes. `refused` counts entries that were not what their name says."""

    def __init__(self, url: str, prefix: str, project: str, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self.refused = 0
        self._key = project_key(project)
        self._cache = BoundedCache(url, prefix, "chunk", budget_bytes=budget_bytes, ttl_s=TTL_S)

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ChunkCache."""
        found: dict[bytes, bytes] = {}
        for name, value in zip(hashes, self._cache.get(hashes), strict=True):
            plain = None if value is None else _plain(value)
            if plain is not None and chunk_hash(self._key, plain) == name:
                found[name] = plain
            elif value is not None:
                self.refused += 1
        return found

    def put(self, chunks: Sequence[ChunkData]) -> None:
        """See ChunkCache."""
        entries = [(c.hash, _ENCODINGS[c.encoding] + c.data) for c in chunks if c.encoding in _ENCODINGS]
        if not entries:
            return
        try:
            self._cache.put(entries, time.time_ns() // 1_000_000)
        except BrokerUnavailable:
            return

    def trim(self, now_ms: int) -> int:
        """Drop what is over the bounds; return how many were."""
        return self._cache.trim(now_ms)

    def close(self) -> None:
        """Close the pool."""
        self._cache.close()


def _plain(value: bytes) -> bytes | None:
    if value[:1] == b"r":
        return value[1 : CHUNK_BYTES + 1]
    try:
        if zstandard.frame_content_size(value[1:]) > CHUNK_BYTES:
            return None  # a declared size is allocated whole, and overrides max_output_size
        return zstandard.ZstdDecompressor().decompress(value[1:], max_output_size=CHUNK_BYTES)
    except zstandard.ZstdError:
        return None
