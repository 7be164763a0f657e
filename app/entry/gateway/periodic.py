"""What the gateway does beside answering, each on a thread of its own, off the event loop."""

import sys
import threading
from collections.abc import Callable
from typing import Protocol

from app.core.errors import Unavailable
from app.core.messages import DECISIONS, FILES, FORMAT, FeedMessage
from app.ports import FeedPublisher, FileEventReader


class Periodic:
    """Calls `act` every `period_s` until stopped; `died` is told if the thread ends by itself."""

    def __init__(self, name: str, period_s: float, act: Callable[[], None], died: Callable[[str], object]) -> None:
        self._name = name
        self._period_s = period_s
        self._act = act
        self._died = died
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"gateway-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._period_s):
                self._act()
        finally:
            if not self._stopping.is_set():
                self._died(self._name)


class Heartbeat:
    """The heads of both logs on the feed: a mount that missed the last message learns that it did. A server that is
    away is silent here: who misses heartbeats asks Postgres.
    """

    def __init__(self, project: str, reader: FileEventReader, publisher: FeedPublisher) -> None:
        self._project = project
        self._reader = reader
        self._publisher = publisher

    def beat(self) -> None:
        """Publish both heads."""
        for log in (FILES, DECISIONS):
            try:
                head = self._reader.head(log)
                first, last = head.position + 1, head.position
                self._publisher.publish(FeedMessage(FORMAT, self._project, log, first, last, head.hash, head.hash))
            except Unavailable:
                return


class WatchedRules(Protocol):
    """A policy that follows its files; `alert` says why the newest files are not in force."""

    alert: str

    def refresh(self) -> bool:
        """Look at the files and swap in what they say; True when another version came into force."""


class RulesWatch:
    """Follows the rule files and says on stderr what became of a change."""

    def __init__(self, rules: WatchedRules) -> None:
        self._rules = rules
        self._told = ""

    def look(self) -> None:
        """Refresh the rules."""
        self._rules.refresh()
        if self._rules.alert != self._told:
            self._told = self._rules.alert
            print(f"alert: {self._told}" if self._told else "the rules load again", file=sys.stderr, flush=True)
