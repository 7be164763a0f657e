"""The broker as a sender sees it: Celery messages, one long-lived producer, a bound on what waits in a queue.

Fails within a second when Redis is frozen or gone, and again at once for as long as it stays so: nobody may
hang on the broker, since journal and spool are re-driven anyway. Used by one thread (a lock makes a second
one wait, not break). Payloads never stand in the `argsrepr` that Flower and logs show.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import kombu
from celery import Celery
from kombu.exceptions import KombuError
from kombu.transport import redis as redis_transport
from redis import RedisError

from app.adapters.task_form import TaskForm, form_of, shown
from app.core.errors import BrokerUnavailable
from app.core.messages import FORMAT

DEPTH_AGE_S: Final = 0.1


class QueueBound(NamedTuple):
    """A queue refuses more than `length_max` waiting messages; a message is dropped `expires_s` after it was sent."""

    length_max: int
    expires_s: float


class _OneClientChannel(redis_transport.Channel):
    """kombu makes a client for every publish, with its table of some 170 callbacks: 40 % of what a send cost."""

    _kept: Any = None
    last: Mapping[str, Any] | None = None
    """What was put into a queue last."""

    def _put(self, queue: str, message: Mapping[str, Any], **options: Any) -> None:
        self.last = message
        super()._put(queue, message, **options)

    def put_bytes(self, queue: str, message: bytes) -> None:
        """Put a message that is encoded already."""
        with self.conn_or_acquire() as client:
            client.lpush(self._q_for_pri(queue, 0), message)  # type: ignore[attr-defined]

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  # kombu's signature
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # not in its stubs
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept


class _OneClientTransport(redis_transport.Transport):
    Channel = _OneClientChannel


class CeleryTasks:
    """Sends tasks with one bytes argument. `configuration` is Celery's, with the client's time-outs. Where
    `from_forms` is off Celery makes every message, and not only the first of its kind.
    """

    def __init__(
        self, configuration: Mapping[str, Any], bounds: Mapping[str, QueueBound], *, from_forms: bool = True
    ) -> None:
        self._from_forms = from_forms
        self._forms: dict[tuple[str, str], TaskForm] = {}
        self._app = Celery("weir-sender", set_as_current=False)
        self._app.conf.update(configuration)
        self._bounds = bounds
        self._lock = threading.Lock()
        self._producer: kombu.Producer | None = None
        self._depths: dict[str, tuple[float, int]] = {}

    def send(self, name: str, payload: bytes, queue: str) -> str:
        """See Tasks; raises BrokerUnavailable also while the queue is full."""
        with self._lock, self._broker_errors():
            producer = self._producer or self._open()
            self._refuse_when_full(producer, queue)
            form = self._forms.get((name, queue))
            if form is None:
                task_id = self._make(producer, name, payload, queue)
            else:
                task_id = self._fill(producer, form, payload, queue)
            self._look(producer, queue)
            return task_id

    def _make(self, producer: kombu.Producer, name: str, payload: bytes, queue: str) -> str:
        sent = self._app.send_task(
            name,
            args=(payload,),
            queue=queue,
            producer=producer,
            expires=self._bounds[queue].expires_s,
            ignore_result=True,
            argsrepr=shown(payload),
            kwargsrepr="",
            headers={"format": FORMAT},
            declare=[],  # the length check declares; every time again costs 10 % of a send
        )
        task_id, channel = str(sent.id), producer.channel
        if self._from_forms and isinstance(channel, _OneClientChannel):
            form = form_of(channel.last, task_id, payload)
            if form is not None:
                self._forms[name, queue] = form
        return task_id

    def _fill(self, producer: kombu.Producer, form: TaskForm, payload: bytes, queue: str) -> str:
        expires = datetime.now(UTC) + timedelta(seconds=self._bounds[queue].expires_s)
        task_id, message = form.fill(payload, expires)
        channel: Any = producer.channel
        channel.put_bytes(queue, message)
        return task_id

    def close(self) -> None:
        """Close the connection; the next send opens another."""
        with self._lock:
            self._drop()

    def _open(self) -> kombu.Producer:
        on_redis = str(self._app.conf.broker_url).startswith("redis")
        connection: Any = self._app.connection_for_write()
        if on_redis:  # not as an argument: a URL with a `+`, as Unix sockets have, would name another transport
            connection.transport_cls = _OneClientTransport
        self._producer = producer = self._app.amqp.Producer(connection, auto_declare=False)
        return producer

    def _refuse_when_full(self, producer: kombu.Producer, queue: str) -> None:
        """Look first where the queue was not nearly empty when it was looked at last, after the send else: who sends
        now and then is waited for.
        """
        bound = self._bounds[queue].length_max
        _at, depth = self._depths.get(queue, (0.0, bound))
        if depth * 2 >= bound and self._look(producer, queue) >= bound:
            raise BrokerUnavailable(f"queue {queue} is full: {self._depths[queue][1]} messages wait")

    def _look(self, producer: kombu.Producer, queue: str) -> int:
        """Return the queue's length, asked at most every 100 ms: two round trips, 0.1 ms, against 0.5 ms a send."""
        now = time.monotonic()
        seen_at, depth = self._depths.get(queue, (-DEPTH_AGE_S, 0))
        if now - seen_at >= DEPTH_AGE_S:
            depth = _depth(producer, queue)
            self._depths[queue] = (now, depth)
        return depth

    @contextmanager
    def _broker_errors(self) -> Iterator[None]:
        try:
            yield
        except (KombuError, RedisError, OSError) as error:
            self._drop()
            raise BrokerUnavailable(f"broker: {type(error).__name__}: {error}") from error

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        self._depths.clear()
        if producer is not None and producer.connection is not None:
            producer.connection.collect(socket_timeout=0.1)


def _depth(producer: kombu.Producer, queue: str) -> int:
    channel: Any = producer.channel
    # not passive: kombu's passive form asks EXISTS without the key prefix and finds no queue
    return int(channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count)
