"""How many messages of nobody of ours were dropped from each queue: one hash, gone after a quiet hour."""

from typing import Final

from app.adapters.redis.connection import connect, redis_errors

KEPT_S: Final = 3600


class RedisDropped:
    """Counted by workers, read by `weir status`."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client = connect(url, connections=1)
        self._key = f"{prefix}dropped"

    def add(self, queue: str) -> None:
        """Count one; raises BrokerUnavailable."""
        with redis_errors():
            self._client.hincrby(self._key, queue, 1)
            self._client.expire(self._key, KEPT_S)

    def counts(self) -> dict[str, int]:
        """Return the counts by queue; raises BrokerUnavailable."""
        with redis_errors():
            found: dict[bytes, bytes] = self._client.hgetall(self._key)  # type: ignore[assignment]  # decode_responses is off
        return {queue.decode(errors="replace"): int(count) for queue, count in found.items()}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
