"""The shared decision cache: workers' rulings, by fingerprint of all that they read.

An entry is `MAC (32) || msgpack [policy version, expires_at_ms, ruling]`. The MAC is BLAKE2b keyed with
secrets/cache.key, which is never in Redis, over project, fingerprint and body: whoever can write to
Redis can neither approve nor move an approval to another call, project or time.
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from app.adapters.redis.bounded import BoundedCache
from app.core.decisions import Ruling
from app.core.errors import BrokerUnavailable

BUDGET_BYTES: Final = 16 * 1024 * 1024
TTL_S: Final = 300
_MAC_BYTES: Final = 32


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    policy_version: str
    expires_at_ms: int
    ruling: Ruling


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Entry)


class RedisSharedDecisions:
    """At most 16 MiB, five minutes. `forged` and `stale` count entries that were ignored."""

    def __init__(self, url: str, prefix: str, project: str, key: bytes) -> None:
        self.forged = 0
        self.stale = 0
        self._project = project.encode()
        self._key = key
        self._cache = BoundedCache(url, prefix, "decision", budget_bytes=BUDGET_BYTES, ttl_s=TTL_S)

    def get(self, fingerprints: Sequence[bytes], policy_version: str) -> dict[bytes, Ruling]:
        """See SharedDecisions."""
        now_ms = _now_ms()
        found: dict[bytes, Ruling] = {}
        for fingerprint, value in zip(fingerprints, self._cache.get(fingerprints), strict=True):
            entry = None if value is None else self._genuine(fingerprint, value)
            if entry is None:
                continue
            if entry.policy_version != policy_version or entry.expires_at_ms <= now_ms:
                self.stale += 1
                continue
            found[fingerprint] = entry.ruling
        return found

    def put(self, entries: Sequence[tuple[bytes, Ruling]], ttl_s: int) -> None:
        """See SharedDecisions."""
        now_ms = _now_ms()
        ttl_s = min(ttl_s, TTL_S)
        sealed = [(name, self._seal(name, ruling, now_ms + ttl_s * 1000)) for name, ruling in entries]
        if not sealed:
            return
        try:
            self._cache.put(sealed, now_ms)
        except BrokerUnavailable:
            return

    def trim(self, now_ms: int) -> int:
        """Drop what is over the bounds; return how many were."""
        return self._cache.trim(now_ms)

    def close(self) -> None:
        """Close the pool."""
        self._cache.close()

    def _seal(self, fingerprint: bytes, ruling: Ruling, expires_at_ms: int) -> bytes:
        body = _encoder.encode(_Entry(ruling.ground.policy_version, expires_at_ms, ruling))
        return self._mac(fingerprint, body) + body

    def _genuine(self, fingerprint: bytes, value: bytes) -> _Entry | None:
        mac, body = value[:_MAC_BYTES], value[_MAC_BYTES:]
        if hmac.compare_digest(mac, self._mac(fingerprint, body)):
            try:
                return _decoder.decode(body)
            except msgspec.DecodeError:
                pass  # an older process wrote another shape under the same key
        self.forged += 1
        return None

    def _mac(self, fingerprint: bytes, body: bytes) -> bytes:
        # lengths first: no two (project, fingerprint, body) give the same text
        text = b"%d:%d:" % (len(self._project), len(fingerprint)) + self._project + fingerprint + body
        return hashlib.blake2b(text, key=self._key, digest_size=_MAC_BYTES).digest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
