"""What a worker takes from its queues: Celery messages as our own senders and beat make them, nothing else.

Whoever reaches Redis can push anything into a queue's list, and what kombu or Celery did not expect there (bytes that
are no JSON, a message without properties, headers of another type) left their loop and ended the worker. Here it is
dropped before it is held as unacknowledged, counted, and told in one line without its content.
"""

import logging
import sys
from typing import Annotated, Any, Final

import msgspec
from celery import signals
from celery.worker.consumer import Consumer
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport import redis as redis_transport
from kombu.transport import virtual

from app.core.errors import PayloadRefused, Unavailable
from config.celery import QUEUES, SENT_AGAIN
from workers.ending import hurried
from workers.process import dropped_messages

CONTENT_TYPE: Final = "application/x-msgpack"
# what kombu's decoding of JSON, of its tagged types and of base64 raises
_JUNK: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
log: Final = logging.getLogger("weir.border")


class _DeliveryInfo(msgspec.Struct):
    exchange: str
    routing_key: str


class _Properties(msgspec.Struct):
    delivery_tag: Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z-]{1,64}$")]
    delivery_info: _DeliveryInfo


class _Raw(msgspec.Struct):
    """What kombu's own code takes for granted."""

    body: str
    properties: _Properties
    headers: dict[str, Any]


_Limit = Annotated[int, msgspec.Meta(ge=1, le=60)] | None
"""Seconds: beat, which has the tasks at hand, sends their limits along."""


class _Headers(msgspec.Struct):
    """What Celery's own code takes for granted; what no sender of ours uses must be absent."""

    task: str
    id: str
    eta: None = None
    expires: str | None = None
    group: None = None
    retries: int = 0
    timelimit: tuple[_Limit, _Limit] | None = None
    root_id: str | None = None
    parent_id: str | None = None
    shadow: None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    ignore_result: bool | None = None
    compression: None = None


_Payload = tuple[tuple[bytes], dict[str, None], dict[str, None]]
"""One bytes argument, and no callbacks, chain or chord."""


class CarefulMessage(virtual.Message):
    """A message whose body does not decode says so instead of raising."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **named: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **named)
        except _JUNK:
            super().__init__(payload | {"body": None}, channel=channel, **named)
            self.errors = [*(self.errors or ()), sys.exc_info()]


class LightQoS(redis_transport.QoS):
    """What its sender sends again after 3 s is held as unacknowledged in memory only: writing it down in Redis and
    striking it out was a quarter of this process's work on a task, half of that before the task could begin.
    """

    def append(self, message: Any, delivery_tag: str) -> None:
        """See QoS: counts against the prefetch."""
        if message.delivery_info["routing_key"] in SENT_AGAIN:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """See QoS."""
        if self._is_light(delivery_tag):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  # kombu's signature
        """See QoS; who sent it puts it back."""
        if self._is_light(delivery_tag):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().reject(delivery_tag, requeue)

    def _is_light(self, delivery_tag: str) -> bool:
        message = self._delivered.get(delivery_tag) if self._delivered else None
        return message is not None and message.delivery_info["routing_key"] in SENT_AGAIN


class CarefulChannel(redis_transport.Channel):
    """Drops what is no message and goes on."""

    Message = CarefulMessage
    QoS = LightQoS
    connection: "CarefulTransport"

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  # kombu's signature
        parameters: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]  # not in its stubs
        return parameters | {"connection_class": hurried(parameters["connection_class"])}

    def _brpop_read(self, **options: Any) -> Any:
        self.connection.handed_over = False
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in its stubs
        except _JUNK as error:
            if self.connection.handed_over:
                raise
            drop(self.active_queues, f"no JSON: {error}")
            return True


class CarefulTransport(redis_transport.Transport):
    """`handed_over`: whether what was read last was JSON; errors after that are not its reader's."""

    Channel = CarefulChannel
    handed_over = False

    def _deliver(self, message: Any, queue: Any) -> None:
        self.handed_over = True
        try:
            msgspec.convert(message, _Raw)
        except msgspec.ValidationError as error:
            drop({queue}, f"no message: {error}")
            return
        super()._deliver(message, queue)


class CarefulConsumer(Consumer):
    """Hands on what our senders made."""

    def ensure_connected(self, conn: Any) -> Any:
        """See Consumer: the connection that reads, and the one that tells events."""
        # not as an argument: a URL with a `+`, as Unix sockets have, would name another transport. By name: the
        # worker's stats hand it on, and a class cannot be told
        conn.transport_cls = f"{CarefulTransport.__module__}:{CarefulTransport.__name__}"
        return super().ensure_connected(conn)

    def create_task_handler(self, *arguments: Any, **named: Any) -> Any:
        """See Consumer."""
        handle = super().create_task_handler(*arguments, **named)

        def on_task_received(message: Any) -> Any:
            why = why_not_ours(message, self.app.tasks)
            if not why:
                return handle(message)
            return self._drop(message, why)

        return on_task_received

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """See Consumer; without the message's content and a traceback."""
        self._drop(message, f"does not decode: {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002  # Celery's signature
        """See Consumer; the same."""
        self._drop(message, f"no task: {exc}")

    def _drop(self, message: Any, why: str) -> None:
        drop({str(message.delivery_info["routing_key"])}, why)
        message.ack_log_error(log, self.connection_errors)  # type: ignore[attr-defined]  # not in its stubs


@signals.task_failure.connect
def _count_refused(sender: Any, exception: BaseException, **_: Any) -> None:
    """A payload that a task refused is none of ours either; its log line is Celery's."""
    if isinstance(exception, PayloadRefused):
        _count(_ours(str((sender.request.delivery_info or {}).get("routing_key", ""))))


def why_not_ours(message: Any, tasks: Any) -> str:
    """Return why a message is none that our senders made; '' where it is. Its payload stays decoded for Celery."""
    if message.content_type != CONTENT_TYPE:
        return f"content type {message.content_type!r}"
    try:
        headers = msgspec.convert(message.headers, _Headers)
        msgspec.convert(message.payload, _Payload, builtin_types=(bytes,))
    except (msgspec.ValidationError, DecodeError, ContentDisallowed, *_JUNK) as error:
        return f"{type(error).__name__}: {error}"
    return "" if headers.task in tasks else f"no task {headers.task!r}"


def drop(queues: set[str], why: str) -> None:
    """Tell and count a message that is dropped; `queues`: those that it may be from."""
    queue = ",".join(sorted({_ours(queue) for queue in queues}))
    log.warning("dropped from %s: %s", queue, ascii(why)[1:200])
    _count(queue)


def _ours(queue: str) -> str:
    return queue if queue in QUEUES else "another"


def _count(queue: str) -> None:
    try:
        dropped_messages().add(queue)  # a name of ours: the sender's own choice would stand in `weir status`
    except Unavailable as error:
        log.warning("not counted: %s", error)
