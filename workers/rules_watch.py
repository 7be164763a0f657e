"""Follows the rule files in a thread of the worker process: a change is in force within 0.1 s, idle or busy.

Only this thread touches the disk; judging reads one reference, which `refresh` swaps. A new policy is built here,
aside (1 to 16 ms, by the size of the file that changed), and one that does not load leaves the old
one in force.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

EVERY_S: Final = 0.02
END_S: Final = 1.0
log: Final = logging.getLogger("weir.rules")


class WatchedRules(Protocol):
    """A policy that follows its files; `alert` says why the newest files are not in force."""

    alert: str

    def refresh(self) -> bool:
        """Look at the files and swap in what they say; True when another version came into force."""


class RulesWatch:
    """One daemon thread, ended by `close`."""

    def __init__(self, rules: WatchedRules) -> None:
        self._rules = rules
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=_every, args=(self._stopping, self._look), name="rules", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(END_S)

    def _look(self) -> None:
        told = self._rules.alert
        try:
            changed = self._rules.refresh()
        except OSError as error:
            log.warning("rule files cannot be looked at: %s", error)
            return
        if self._rules.alert != told:
            log.warning("alert: %s", self._rules.alert or "the rules load again")
        if changed:
            log.info("new rules are in force")


def _every(stopping: threading.Event, look: Callable[[], None]) -> None:
    while not stopping.wait(EVERY_S):
        look()
