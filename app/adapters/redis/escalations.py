"""Open escalations in Redis: a sorted set by deadline and a hash of payloads, at most 10,000, for a day.

Keys `<prefix>escalations` and `<prefix>escalation-payloads`. Taking is one script: each goes to one caller.
"""

from typing import Final

from app.adapters.redis.connection import connect, redis_errors
from app.core.errors import BrokerUnavailable

OPEN_MAX: Final = 10_000
EXPIRES_S: Final = 86_400
_OPEN: Final = """
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return 1
"""
_TAKE: Final = """
local taken = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 100)) do
  local payload = redis.call('HGET', KEYS[2], name)
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  if payload then taken[#taken + 1] = payload end
end
return taken
"""


class RedisWaitingRoom:
    """See WaitingRoom."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client = connect(url)
        self._keys = [f"{prefix}escalations", f"{prefix}escalation-payloads"]
        self._open = self._client.register_script(_OPEN)
        self._take = self._client.register_script(_TAKE)

    def open(self, name: str, payload: bytes, deadline_at_ms: int) -> None:
        """See WaitingRoom."""
        with redis_errors():
            kept = self._open(keys=self._keys, args=[name, deadline_at_ms, payload, OPEN_MAX, EXPIRES_S])
        if not kept:
            raise BrokerUnavailable(f"{OPEN_MAX} escalations wait already")

    def take_due(self, now_ms: int) -> list[bytes]:
        """See WaitingRoom."""
        with redis_errors():
            return list(self._take(keys=self._keys, args=[now_ms]))

    def close(self) -> None:
        """Close the pool."""
        self._client.close()
