"""The courier of an import, in a thread of the importing process; the folder is discarded when all is shipped."""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from app.core.errors import WeirError
from app.ports import MountJournal
from app.services.courier import Courier

POLL_S: Final = 0.02


class ImportOrigin(NamedTuple):
    """A folder of one import: its journal, its courier, and how to remove it."""

    journal: MountJournal
    courier: Courier
    discard: Callable[[], None]


class RunningCourier:
    """The courier of an import, in a thread of this process."""

    def __init__(self, origin: ImportOrigin) -> None:
        self.origin = origin
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="import-courier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.origin.courier.abandon()
        self._closed.set()
        self._thread.join()
        self.origin.courier.close()

    @property
    def note(self) -> str:
        """What the courier waits for, '' if nothing."""
        status = self.origin.courier.status
        return status.problem or (status.error if status.state == "waiting" else "")

    def check(self) -> None:
        """Raise WeirError where the courier has stopped."""
        if self.origin.courier.status.state == "stopped" or not self._thread.is_alive():
            raise WeirError(f"the import cannot go on: {self.note or 'its courier ended'}")

    def incarnation(self, meanwhile: Callable[[], None]) -> int:
        """Return a fresh incarnation, once the courier has one."""
        while (spare := self.origin.journal.take_spare()) is None:
            self.check()
            meanwhile()
            time.sleep(POLL_S)
        return spare

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until all is shipped; nothing is appended any more."""
        self._closed.set()
        while self._thread.is_alive():
            meanwhile()
            self._thread.join(POLL_S * 5)
            if self.origin.courier.status.state == "stopped":
                break
        self._thread.join()
        if not self.origin.courier.is_drained:
            raise WeirError(f"not everything was shipped: {self.note}")

    def _run(self) -> None:
        self.origin.courier.run(self._closed.is_set, drain_s=float("inf"))
