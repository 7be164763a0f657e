"""The head of both logs on the feed, twice a second: a mount that missed the last message learns that it did.

On its own thread, off the event loop; a server that is away is silent here, since who misses heartbeats asks Postgres.
"""

import threading
from collections.abc import Callable
from typing import Final

from app.core.errors import Unavailable
from app.core.messages import DECISIONS, FILES, FORMAT, FeedMessage
from app.ports import FeedPublisher, FileEventReader

PERIOD_S: Final = 0.5


class Heartbeat:
    """Publishes heads until stopped; `died` is told if the thread ends by itself."""

    def __init__(
        self, project: str, reader: FileEventReader, publisher: FeedPublisher, died: Callable[[str], object]
    ) -> None:
        self._project = project
        self._reader = reader
        self._publisher = publisher
        self._died = died
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(PERIOD_S):
                self._beat()
        finally:
            if not self._stopping.is_set():
                self._died("heartbeat")

    def _beat(self) -> None:
        for log in (FILES, DECISIONS):
            try:
                head = self._reader.head(log)
                self._publisher.publish(
                    FeedMessage(FORMAT, self._project, log, head.position + 1, head.position, head.hash, head.hash)
                )
            except Unavailable:
                return
