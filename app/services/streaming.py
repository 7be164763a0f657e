"""Writes a mount's streams/: each event of the files log as a line, as it is committed. A thread of the courier.

A window, not an archive: where more is committed than 500 events a second, or the store was away, what is too far
behind is left out, and a line of kind `skipped` says from which position to which; `weir log` has all. The place where
it goes on after a restart is the newest line's.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from threading import Event
from typing import Any, Final

from app.core.errors import Unavailable
from app.ports import EventFilter, FileEventReader, StreamFiles
from app.services.event_lines import as_object

EVERY_S: Final = 0.5
AWAY_S: Final = 2.0
PAGE: Final = 250
BEHIND_MAX: Final = 1000


class Streamer:
    """One mount's. `error` says why nothing is appended."""

    def __init__(self, reader: FileEventReader, files: StreamFiles) -> None:
        self.error = ""
        self._reader = reader
        self._files = files
        self._at: int | None = None

    def run(self, stopping: Event, pause: Callable[[float], object] | None = None) -> None:
        """Body of the thread."""
        wait = pause or stopping.wait
        while not stopping.is_set():
            try:
                self.step()
                self.error = ""
                wait(EVERY_S)
            except (Unavailable, OSError) as error:
                self.error = str(error)
                wait(AWAY_S)

    def step(self) -> int:
        """Append what has been committed since, at most PAGE events; return how many lines."""
        head = self._reader.head().position
        if self._at is None:
            self._at = _position(self._files.last_line(), max(head - PAGE, 0))
        lines: list[tuple[str, dict[str, Any]]] = []
        if head < self._at:
            lines.append(("", {"log": "files", "kind": "restarted", "position": head}))  # another or an older store
            self._at = head
        if head - self._at > BEHIND_MAX:
            after = head - PAGE
            lines.append(("", {"log": "files", "kind": "skipped", "after": self._at, "position": after}))
            self._at = after
        if head > self._at:
            wanted = EventFilter(after=self._at, limit=PAGE, ascending=True)
            lines += [(event.agent, as_object(event)) for event in self._reader.log(wanted)]
        self._append(lines)
        return len(lines)

    def _append(self, lines: list[tuple[str, dict[str, Any]]]) -> None:
        if not lines:
            return
        of_agents: dict[str, list[bytes]] = defaultdict(list)
        whole = []
        for agent, said in lines:
            whole.append(json.dumps(said).encode() + b"\n")
            if agent:
                of_agents[agent].append(whole[-1])
        self._files.append(b"".join(whole), {agent: b"".join(some) for agent, some in of_agents.items()})
        self._at = lines[-1][1]["position"]


def _position(line: bytes, otherwise: int) -> int:
    try:
        return int(json.loads(line)["position"])
    except (ValueError, KeyError, TypeError):
        return otherwise
