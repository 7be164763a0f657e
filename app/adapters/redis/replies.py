"""Reply lists: a worker appends, the one process that the list belongs to pops; first in, first out.

Key `<prefix>reply:<random>`. A list that nobody reads is cut to its newest 1,000 and expires after 60 s.
Replies are signed (signing.py): a forged verdict or acknowledgement is dropped and counted.
"""

import secrets
from typing import Final

from app.adapters.redis.connection import SOCKET_TIMEOUT_S, connect, redis_errors
from app.adapters.redis.signing import Signer
from app.core.errors import PayloadRefused

EXPIRES_S: Final = 60
LENGTH_MAX: Final = 1000
BLOCK_MAX_S: Final = 2.0
BLOCK_MIN_S: Final = 0.001


class RedisReplyBox:
    """The reply list of this process. One thread waits on it; its connection is its own."""

    def __init__(self, url: str, prefix: str, key: bytes) -> None:
        self.signer = Signer(key)
        self.address = f"{prefix}reply:{secrets.token_hex(16)}"
        # the socket must outlive the longest block, or every quiet wait would end as an error
        self._client = connect(url, socket_timeout_s=BLOCK_MAX_S + SOCKET_TIMEOUT_S, connections=1)

    def wait(self, timeout_s: float) -> bytes | None:
        """See ReplyBox."""
        with redis_errors():
            value = self._pop() if timeout_s <= 0 else self._pop_within(timeout_s)
        return None if value is None else self.signer.open(self.address.encode(), value)

    def _pop(self) -> bytes | None:
        # not BLPOP with a short time-out: Redis looks at time-outs when something wakes it, up to 0.1 s late
        return self._client.lpop(self.address)  # type: ignore[return-value]  # one value, not a list

    def _pop_within(self, timeout_s: float) -> bytes | None:
        popped = self._client.blpop([self.address], timeout=min(max(timeout_s, BLOCK_MIN_S), BLOCK_MAX_S))
        return popped[1] if popped else None  # type: ignore[return-value]  # decode_responses is off

    def close(self) -> None:
        """Close the connection; the list expires by itself."""
        self._client.close()


class RedisReplies:
    """The worker's side: pushes to the lists of this project only, whatever address a payload names."""

    def __init__(self, url: str, prefix: str, key: bytes) -> None:
        self._own = f"{prefix}reply:"
        self._signer = Signer(key)
        self._client = connect(url)

    def push(self, address: str, payload: bytes) -> None:
        """See Replies; raises PayloadRefused for an address that is not a reply list of this project."""
        if not address.startswith(self._own):
            raise PayloadRefused("reply_to is not a reply list of this project")
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.rpush(address, self._signer.sign(address.encode(), payload))
            pipe.ltrim(address, -LENGTH_MAX, -1)
            pipe.expire(address, EXPIRES_S)
            pipe.execute()

    def close(self) -> None:
        """Close the pool."""
        self._client.close()
