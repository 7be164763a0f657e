"""A cache that bounds itself by time and bytes inside a server that also is a broker.

The broker must never evict (noeviction), so the cache cannot lean on maxmemory. Keys of a cache named N:

    <prefix>N:<name>      the value, expires after ttl_s
    <prefix>N-index       sorted set: `<name>:<bytes>` by last use in ms
    <prefix>N-bytes       sum of the bytes in the index; an expired value counts until it is trimmed,
                          so the sum is never below what is really held

One script a put keeps the three in step and trims oldest first.
"""

from collections.abc import Sequence
from typing import Final

from app.adapters.redis.connection import Client, connect, redis_errors

ENTRIES_MAX: Final = 1000  # a script may unpack some 8,000 values; what is beyond is not cached
_PUT: Final = """
local ttl, budget, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local members, scored, sizes = {}, {}, {}
for i = 4, #ARGV, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  redis.call('SET', KEYS[3] .. name, value, 'EX', ttl)
  local member = name .. ':' .. #value
  if not sizes[member] then
    members[#members + 1] = member
    scored[#scored + 1] = now
    scored[#scored + 1] = member
    sizes[member] = #value
  end
end
if #members > 0 then
  local known, fresh = redis.call('ZMSCORE', KEYS[1], unpack(members)), 0
  for i, member in ipairs(members) do
    if not known[i] then fresh = fresh + sizes[member] end
  end
  redis.call('ZADD', KEYS[1], unpack(scored))
  redis.call('INCRBY', KEYS[2], fresh)
end
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
local trimmed = 0
while true do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if #oldest == 0 then redis.call('DEL', KEYS[2]) break end
  if held <= budget and tonumber(oldest[2]) > now - ttl * 1000 then break end
  local name, size = string.match(oldest[1], '^(.*):(%d+)$')
  redis.call('ZREM', KEYS[1], oldest[1])
  redis.call('DEL', KEYS[3] .. name)
  held = redis.call('DECRBY', KEYS[2], size)
  trimmed = trimmed + 1
end
redis.call('EXPIRE', KEYS[1], ttl * 2)
redis.call('EXPIRE', KEYS[2], ttl * 2)
return trimmed
"""


class BoundedCache:
    """Values by name (bytes without a bound of their own), at most `budget_bytes`, each at most `ttl_s` old."""

    def __init__(self, url: str, prefix: str, name: str, *, budget_bytes: int, ttl_s: int) -> None:
        self._client: Client = connect(url)
        self._keys = [f"{prefix}{name}-index".encode(), f"{prefix}{name}-bytes".encode(), f"{prefix}{name}:".encode()]
        self._script = self._client.register_script(_PUT)
        self._budget_bytes = budget_bytes
        self.ttl_s = ttl_s

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of `names`."""
        if not names:
            return []
        with redis_errors():
            values: list[bytes | None] = self._client.mget([self._keys[2] + name for name in names])  # type: ignore[assignment]  # decode_responses is off
        return values

    def put(self, entries: Sequence[tuple[bytes, bytes]], now_ms: int, ttl_s: int = 0) -> int:
        """Store entries and trim what is over the bounds; return how many were trimmed. 20 us an entry, all in."""
        flat = [part for entry in entries[:ENTRIES_MAX] for part in entry]
        with redis_errors():
            return int(self._script(keys=self._keys, args=[ttl_s or self.ttl_s, self._budget_bytes, now_ms, *flat]))

    def trim(self, now_ms: int) -> int:
        """Drop what is over the bounds; return how many were."""
        return self.put([], now_ms)

    def held_bytes(self) -> int:
        """Return the bytes that count against the budget."""
        with redis_errors():
            return int(self._client.get(self._keys[1]) or 0)

    def close(self) -> None:
        """Close the pool."""
        self._client.close()
