"""Keys of fixed names in the Redis that Weir starts: one that has become of another type is deleted.

Whoever reaches the socket can SET the name of a queue: from then on nothing could be pushed there or taken from it,
until a person deleted it. What the key held before went with that SET, and journal, spool and gateway send it again.
**Looked at and deleted in one step**, so that a queue that somebody has begun anew meanwhile stays.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from app.adapters.redis.connection import connect, redis_errors

_MEND: Final = """
local gone = {}
for at, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key)['ok']
  if kind ~= 'none' and kind ~= ARGV[at] then
    redis.call('DEL', key)
    gone[#gone + 1] = key
    gone[#gone + 1] = kind
  end
end
return gone
"""
_OTHER_EXCHANGES: Final = ("celeryev", "celery.pidbox", "reply.celery.pidbox")


def fixed_keys(prefix: str, broker: str, queues: Iterable[str]) -> dict[str, str]:
    """Return the type of each key whose name does not change: see the keyspace in docs/reference/redis.md."""
    names = [*queues]
    found = {f"{broker}{name}": "list" for name in names}
    for name in (*names, *_OTHER_EXCHANGES):
        found |= {f"{broker}_kombu.binding.{name}": "set", f"{broker}_kombu.binding_permanent.{name}": "set"}
    found |= {f"{broker}_kombu.binding_deadlines": "zset"}
    found |= {f"{broker}unacked": "hash", f"{broker}unacked_index": "zset", f"{broker}unacked_mutex": "string"}
    found |= {f"{prefix}{name}-index": "zset" for name in ("chunk", "decision")}
    return found | {f"{prefix}{name}-bytes": "string" for name in ("chunk", "decision")} | {f"{prefix}dropped": "hash"}


class KeyTypes:
    """Of one server; `kinds` is the type by key."""

    def __init__(self, url: str, kinds: Mapping[str, str]) -> None:
        self._client = connect(url, connections=1)
        self._kinds = kinds
        self._script = self._client.register_script(_MEND)

    def mend(self) -> list[str]:
        """Delete keys of another type; return a line for each. Raises BrokerUnavailable."""
        with redis_errors():
            gone: list[bytes] = self._script(keys=[*self._kinds], args=[*self._kinds.values()])
        pairs = zip(gone[::2], gone[1::2], strict=True)
        return [f"{key.decode()} was a {kind.decode()}, which stops whoever uses it: deleted" for key, kind in pairs]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
