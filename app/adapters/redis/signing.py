"""A MAC on whatever Redis hands on: whoever can write to Redis can neither approve, acknowledge nor change a tree.

`MAC (32) || body`: BLAKE2b keyed with secrets/cache.key, which is never in Redis, over the place (key or channel,
with the project in it) and the body, so that nothing can be moved to another project, list or channel either.
"""

import hashlib
import hmac
from typing import Final

MAC_BYTES: Final = 32


class Signer:
    """Signs and opens bodies; `forged` counts what did not open."""

    def __init__(self, key: bytes) -> None:
        self.forged = 0
        self._key = key

    def sign(self, place: bytes, body: bytes) -> bytes:
        """Return the signed form of a body for one place."""
        return self._mac(place, body) + body

    def open(self, place: bytes, value: bytes) -> bytes | None:
        """Return the body, or None (counted) where it was not signed for this place."""
        body = value[MAC_BYTES:]
        if hmac.compare_digest(value[:MAC_BYTES], self._mac(place, body)):
            return body
        self.forged += 1
        return None

    def _mac(self, place: bytes, body: bytes) -> bytes:
        # the length first: no two (place, body) give the same text
        text = b"%d:" % len(place) + place + body
        return hashlib.blake2b(text, key=self._key, digest_size=MAC_BYTES).digest()
