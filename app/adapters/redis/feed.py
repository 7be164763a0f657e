"""The feed over pub/sub: one channel a log. Losing a message is allowed, a gap is read from the store.

Channel `<prefix>feed:<log>`; nothing is kept. A subscriber is one connection and is used by one thread.
Messages are signed (signing.py): a forged one is dropped and counted as refused.
"""

import time
from typing import Final

from redis.client import PubSub

from app.adapters.redis.connection import SOCKET_TIMEOUT_S, connect, redis_errors
from app.adapters.redis.signing import Signer
from app.core.errors import BrokerUnavailable, PayloadRefused
from app.core.messages import FILES, FeedMessage, decode, encode

PAUSE_MIN_S: Final = 0.05
PAUSE_MAX_S: Final = 1.0
READ_TIMEOUT_S: Final = 2.0


class RedisFeedPublisher:
    """Publishes to the channel of each message's log."""

    def __init__(self, url: str, prefix: str, key: bytes) -> None:
        self._prefix = prefix
        self._signer = Signer(key)
        self._client = connect(url)

    def publish(self, message: FeedMessage) -> None:
        """See FeedPublisher."""
        channel = f"{self._prefix}feed:{message.log}"
        with redis_errors():
            self._client.publish(channel, self._signer.sign(channel.encode(), encode(message)))

    def close(self) -> None:
        """Close the pool."""
        self._client.close()


class RedisFeedSubscriber:
    """One log's channel. `reconnects` and `refused` count lost connections and messages that do not decode.

    The constructor tries to subscribe and waits for the confirmation, so that what is published after
    it is seen; where the server is away it is retried by `poll`, with growing pauses.
    """

    def __init__(self, url: str, prefix: str, key: bytes, log: str = FILES) -> None:
        self._signer = Signer(key)
        self.reconnects = 0
        self.refused = 0
        self._channel = f"{prefix}feed:{log}"
        self._client = connect(url, socket_timeout_s=READ_TIMEOUT_S, connections=2)
        self._pubsub: PubSub | None = None
        self._pause_s = PAUSE_MIN_S
        self._retry_at = 0.0
        self._broken = False
        self._connected(SOCKET_TIMEOUT_S)

    def poll(self, timeout_s: float) -> FeedMessage | None:
        """See FeedSubscriber."""
        data = self.poll_bytes(timeout_s)
        if data is None:
            return None
        try:
            return decode(FeedMessage, data)
        except PayloadRefused:
            self.refused += 1
            return None

    def poll_bytes(self, timeout_s: float) -> bytes | None:
        """Like `poll`, undecoded: a reader that knows its own ranges decodes FeedHeader first (skips events)."""
        pubsub = self._connected(timeout_s)
        if pubsub is None:
            return None
        try:
            with redis_errors():
                found = pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        except BrokerUnavailable:
            self._drop()
            return None
        if not found:
            return None
        body = self._signer.open(self._channel.encode(), bytes(found["data"]))
        if body is None:
            self.refused += 1
        return body

    def unbroken(self) -> bool:
        """See FeedSubscriber."""
        stood = self._pubsub is not None and not self._broken
        self._broken = self._pubsub is None
        return stood

    def close(self) -> None:
        """Unsubscribe and close."""
        self._drop()
        self._client.close()

    def _connected(self, wait_s: float) -> PubSub | None:
        if self._pubsub is not None:
            return self._pubsub
        pause_s = self._retry_at - time.monotonic()
        if pause_s > 0:
            time.sleep(min(pause_s, wait_s))
        if time.monotonic() < self._retry_at:
            return None
        try:
            with redis_errors():
                self._pubsub = self._subscribe()
        except BrokerUnavailable:
            self._drop()
            return None
        self._pause_s = PAUSE_MIN_S
        return self._pubsub

    def _subscribe(self) -> PubSub:
        pubsub: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]
        pubsub.subscribe(self._channel)
        pubsub.get_message(timeout=SOCKET_TIMEOUT_S)
        return pubsub

    def _drop(self) -> None:
        self._broken = True
        if self._pubsub is not None:
            self.reconnects += 1
            self._pubsub.close()
        self._pubsub = None
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
