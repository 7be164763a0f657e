"""A head tells what the store has; what it is ahead by is waited for while it can still come, and read when it cannot."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from quiet_mount import THEIRS, Mount

from app.core.messages import FILES, FORMAT, FeedEvent, FeedMessage, OriginRange
from app.core.operations import Make
from fuse_mount.feed import LATER_S, Feed


class Connection:
    """A FeedSubscriber that hears nothing by itself."""

    broken = False

    def poll(self, timeout_s: float) -> FeedMessage | None:  # noqa: ARG002
        return None

    def unbroken(self) -> bool:
        stood, self.broken = not self.broken, False
        return stood


class Log:
    """What the store has committed, and how often it was asked."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.asked = 0

    def events_after(self, position: int, limit: int = 1000) -> Sequence[FeedEvent]:
        self.asked += 1
        return [event for event in self.events if event.position > position][:limit]


class Followed:
    """A mount whose feed is told by hand."""

    def __init__(self) -> None:
        self.mount, self.log, self.connection = Mount(), Log(), Connection()
        self.feed = Feed(self.mount.state, self.mount.feed._cache, self.log, self.connection, "p")  # type: ignore[arg-type]  # noqa: SLF001

    def commit(self) -> FeedMessage:
        """Commit one event of another mount; return the message that its worker will publish."""
        number = len(self.log.events) + 1
        event = self.mount.store.foreign(Make(1, b"f%d" % number, (THEIRS << 32) + number, 0o100644, 0, 0))
        self.log.events.append(event)
        ranges = (OriginRange(THEIRS, number, number, number),)
        return FeedMessage(FORMAT, "p", FILES, number, number, b"", b"", ranges, (), (event,))

    def hear_head(self) -> None:
        last = len(self.log.events)
        self.feed.receive(FeedMessage(FORMAT, "p", FILES, last + 1, last, b"", b""))


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_a_head_that_overtakes_its_message_costs_no_question(followed: Followed) -> None:
    for _ in range(3):
        late = followed.commit()
        followed.hear_head()
        followed.hear_head()
        followed.feed.receive(late)
        time.sleep(LATER_S / 2)
    figures = followed.feed.figures
    assert (followed.log.asked, figures.by_pubsub, figures.by_catch_up, figures.gaps) == (0, 3, 0, 0)


def test_what_a_later_head_finds_missing_is_read_from_the_store(followed: Followed) -> None:
    followed.commit()
    followed.hear_head()
    assert followed.feed.position == 0
    time.sleep(LATER_S)
    followed.commit()
    followed.hear_head()
    assert (followed.feed.position, followed.feed.figures.by_catch_up, followed.feed.figures.gaps) == (2, 2, 1)


def test_after_a_reconnect_a_head_that_is_ahead_is_read_at_once(followed: Followed) -> None:
    followed.commit()
    followed.connection.broken = True
    followed.hear_head()
    assert (followed.feed.position, followed.feed.figures.by_catch_up) == (1, 1)
