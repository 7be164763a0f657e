"""A mount's streams on disk: `events`, and `agents/<id>`, of bounded size and number.

Full, a file becomes `<name>.1`, whose predecessor is gone, and a fresh one begins: an offset stays good while its file
lives. An agent's id is its own claim, so its file's name is the id quoted, at most 200 bytes of it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

EVENTS_BYTES_MAX: Final = 4 * 1024 * 1024
AGENT_BYTES_MAX: Final = 512 * 1024
AGENTS_MAX: Final = 100
_TAIL: Final = 64 * 1024


class FolderStreams:
    """See StreamFiles."""

    def __init__(self, folder: Path) -> None:
        self._events = folder / "events"
        self._agents = folder / "agents"

    def last_line(self) -> bytes:
        """See StreamFiles. A line that a crash cut is cut off: what follows it would be one with it."""
        try:
            with self._events.open("r+b") as file:
                start = max(file.seek(0, os.SEEK_END) - _TAIL, 0)
                file.seek(start)
                whole, _, torn = file.read().rpartition(b"\n")
                if torn:
                    file.truncate(file.tell() - len(torn))
                return whole.rpartition(b"\n")[2]
        except FileNotFoundError:
            return b""

    def append(self, lines: bytes, of_agents: Mapping[str, bytes]) -> None:
        """See StreamFiles: those of agents first, so that a crash between shows a line twice, never not at all."""
        self._agents.mkdir(mode=0o700, parents=True, exist_ok=True)
        for agent, some in of_agents.items():
            _append(self._agents / (quote(agent, safe="")[:200].lstrip(".") or "_"), some, AGENT_BYTES_MAX)
        if of_agents:
            self._forget_old()
        _append(self._events, lines, EVENTS_BYTES_MAX)

    def _forget_old(self) -> None:
        with os.scandir(self._agents) as entries:
            held = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
        for _, path in sorted(held)[: -2 * AGENTS_MAX]:
            os.unlink(path)  # noqa: PTH108 - a name of scandir's


def _append(path: Path, lines: bytes, bytes_max: int) -> None:
    """Begin anew before the append, so that the newest line is always in `path`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < bytes_max:
            os.write(descriptor, lines)
            return
    finally:
        os.close(descriptor)
    path.replace(path.with_name(f"{path.name}.1"))
    _append(path, lines, bytes_max)
