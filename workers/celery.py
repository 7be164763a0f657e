"""The Celery application of one project, as WEIR_HOME and REDIS_URL say."""

import logging
from typing import Any

from celery import Celery, signals

from config import compiled
from config.celery import worker_configuration
from config.settings import load
from workers.ending import EndsInTime
from workers.events import EventsInBulk, OneTryEvents

compiled.take()  # before anything imports what judges

app = Celery("weir", events=OneTryEvents)
app.conf.update(worker_configuration(load()))


app.steps["consumer"].update({EventsInBulk, EndsInTime})


@signals.after_setup_logger.connect
def _quieten(**_: Any) -> None:
    """Two lines a task, received and succeeded, cost more than a small task; Flower has both as events. What fails
    or is refused is still logged.
    """
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").addFilter(_is_not_success)


def _is_not_success(record: logging.LogRecord) -> bool:
    return "succeeded in" not in record.msg
