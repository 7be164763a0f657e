"""Task events, told once and in bulk: what Flower shows must neither slow a task down nor hold a worker up."""

from typing import Any, Final

from celery import bootsteps
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher

EVENTS_EVERY_S: Final = 0.5
EVENTS_MAX: Final = 512


class OneTryDispatcher(EventDispatcher):
    """Tries once; what fails is kept and goes out after the next connect.

    Celery has heartbeats tried again without end, inside the worker's loop: where one of them was the first to meet a
    Redis that is gone or frozen, the worker was deaf to SIGTERM for as long as Redis stayed away, and up to 30 s late
    when it was back.
    """

    def send(self, type: str, *arguments: Any, **named: Any) -> Any:  # noqa: A002  # Celery's name
        """See EventDispatcher."""
        return super().send(type, *arguments, **named | {"retry": False})


class OneTryEvents(Events):
    """What `Celery(events=)` takes."""

    dispatcher_cls = "workers.events:OneTryDispatcher"


class EventsInBulk(bootsteps.StartStopStep):
    """Task events go out twice a second instead of after each task: their publishing cost more than a small task."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._timer: Any = None
        super().__init__(consumer)

    def start(self, consumer: Any) -> None:
        """See bootsteps; runs again after each reconnect, with a fresh dispatcher."""
        dispatcher = consumer.event_dispatcher
        if dispatcher is not None and consumer.hub is not None:
            dispatcher.on_send_buffered = None
            dispatcher.buffer_limit = EVENTS_MAX
            self._timer = consumer.hub.call_repeatedly(EVENTS_EVERY_S, dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        """Send what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            consumer.event_dispatcher.flush()
