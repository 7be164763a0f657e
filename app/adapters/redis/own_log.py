"""The append-only file of the Redis that Weir starts, where it has one (flag `unlogged_redis` off), made short while
little passes through.

All that passes through the broker is appended: at 40,000 validations a second 64 MiB, Redis' own bound, were full every
6 s. In a traced run all degraded answers fell into two such rewritings, .2 to .7 % of all in others; without any there
was a run with none and, on a busy machine, one with .6 %: they are one cause, maybe not the only one.
"""

from typing import Final

from app.adapters.redis.connection import connect, redis_errors

LOG_BYTES: Final = 64 * 1024 * 1024
QUIET_KBPS: Final = 1024
"""What comes in on all connections, in KiB a second: a stack at rest has 10, a thousand calls in flight 10,000."""


class RedisLog:
    """`trim` is called now and then; the server itself rewrites the file when it comes to its own, far larger bound."""

    def __init__(self, url: str, log_bytes: int = LOG_BYTES) -> None:
        self._client = connect(url, connections=1)
        self._log_bytes = log_bytes

    def trim(self, _now_ms: int) -> int:
        """Have the file rewritten if it is long and nobody is in a hurry; return 1 where that began."""
        with redis_errors():
            facts = self._client.info("persistence") | self._client.info("stats")
            if facts.get("aof_current_size", 0) < self._log_bytes or facts["instantaneous_input_kbps"] > QUIET_KBPS:
                return 0
            if facts["aof_rewrite_in_progress"] or facts["aof_base_size"] * 2 > facts["aof_current_size"]:
                return 0
            self._client.bgrewriteaof()
            return 1

    def close(self) -> None:
        """Close the pool."""
        self._client.close()
