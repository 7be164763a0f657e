"""The Celery application of one project, as WEIR_HOME and REDIS_URL say."""

import logging
from typing import Any, Final

from celery import Celery, bootsteps, signals

from config import compiled
from config.celery import worker_configuration
from config.settings import load

compiled.take()  # before anything imports what judges

EVENTS_EVERY_S: Final = 0.5
EVENTS_MAX: Final = 512
app = Celery("weir")
app.conf.update(worker_configuration(load()))


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


app.steps["consumer"].add(EventsInBulk)


@signals.after_setup_logger.connect
def _quieten(**_: Any) -> None:
    """Two lines a task, received and succeeded, cost more than a small task; Flower has both as events. What fails
    or is refused is still logged.
    """
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").addFilter(_is_not_success)


def _is_not_success(record: logging.LogRecord) -> bool:
    return "succeeded in" not in record.msg
