"""Payloads stay out of sight: whoever may look at Flower or `celery inspect` sees how long they are."""

from typing import Any

from celery.app.task import Task
from celery.worker.request import Request


class QuietRequest(Request):
    """A request that never shows its arguments: they hold commands, paths and content."""

    def info(self, safe: bool = False) -> Any:  # noqa: FBT001, FBT002, ARG002  # Celery's signature
        """Return what remote control may see of this request: the sender's `argsrepr`, a length."""
        return super().info(safe=True)


class TakenRequest(QuietRequest):
    """A request of a queue without acknowledgements; kombu's Redis transport would send one all the same."""

    def acknowledge(self) -> None:
        """Note that the message is done with."""
        self.acknowledged = True


class QuietTask(Task):  # type: ignore[type-arg]  # Celery's own Task cannot be subscripted at run time
    """Base of every task of Weir."""

    Request = "workers.requests:QuietRequest"


class TakenTask(QuietTask):
    """Base of the tasks of a queue without acknowledgements."""

    Request = "workers.requests:TakenRequest"
