"""What is said of an append: to the mounts, and to who sent it."""

from collections.abc import Sequence
from typing import NamedTuple

from app.adapters.postgres.calls import Appended
from app.adapters.postgres.feed import feed_messages
from app.adapters.postgres.fold import Task
from app.adapters.postgres.prepared import Prepared
from app.core.messages import FeedEvent, FeedMessage, Outcome, Rejection


class Told(NamedTuple):
    """The feed's messages, and what was refused."""

    feed: tuple[FeedMessage, ...]
    rejected: tuple[Rejection, ...]


def tell(
    task: Task, name: str, first: int, requests: Sequence[Prepared], outcomes: Sequence[Outcome], result: Appended
) -> Told:
    """Return what is said of requests from sequence `first` of the origin `name` on, appended as in `result`."""
    start, incarnation = result.head.position + 1, task.incarnation
    told = zip(requests, outcomes, result.hashes, strict=True)
    events = [
        FeedEvent(start + index, incarnation, first + index, name, prepared.payload, outcome, link)
        for index, (prepared, outcome, link) in enumerate(told)
    ]
    feed = feed_messages(task.project, incarnation, result.head.hash, events)
    return Told(feed, tuple(_rejection(event) for event in events if event.outcome.kind == "rejected"))


def _rejection(event: FeedEvent) -> Rejection:
    return Rejection(event.sequence, event.position, event.outcome.reason)
