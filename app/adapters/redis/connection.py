"""How a process reaches Redis: pooled, bounded and timed out; vendor errors stop here.

redis-py 8 retries three times with back-off and gives a socket 5 s by default: a frozen server would hold a
caller for 20 s, and a blocking pop longer than 5 s always ends in a time-out. Both are set here, for every client.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.retry import Retry

from app.core.errors import BrokerUnavailable, SetupError

SOCKET_TIMEOUT_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 0.25
POOL_SIZE: Final = 8

Client = redis.Redis


@contextmanager
def redis_errors() -> Iterator[None]:
    """Whatever Redis or its socket answers becomes BrokerUnavailable, all else passes."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise BrokerUnavailable(f"redis: {type(error).__name__}: {error}") from error


def connect(url: str, *, socket_timeout_s: float = SOCKET_TIMEOUT_S, connections: int = POOL_SIZE) -> Client:
    """Return a pooled client of `url`; nothing is opened until its first command.

    One retry at once after a closed connection (a server that restarted), none after a time-out. Raises SetupError.
    """
    try:
        client: Client = redis.Redis.from_url(
            plain_url(url),
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            max_connections=connections,
            retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
            protocol=2,  # RESP3 costs a HELLO round trip a connection and gives nothing that is used here
        )
    except ValueError as error:
        raise SetupError(f"REDIS_URL is no address of a Redis: {error}") from error
    return client


def plain_url(url: str) -> str:
    """Return redis-py's form of a URL: Celery writes a Unix socket as redis+socket://, redis-py as unix://."""
    return url.replace("redis+socket://", "unix://", 1)
