"""Who makes a call: WEIR_AGENT, WEIR_SESSION, WEIR_TOOL_CALL of the calling process or the nearest ancestor that
has them.

The environment is a claim, not a proof. It is read from /proc **with llfuse.lock released**: reading another
process's environment takes its memory map's lock, which a thread of it may hold while it waits for a page of this
mount. So a handler asks before it looks anything up.
"""

import os
import time
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

ANCESTORS_MAX: Final = 32
TRUSTED_S: Final = 2.0  # a pid is not used again by another process within this time; saves 10 us of /proc a call
CACHE_MAX: Final = 4096


class Who(NamedTuple):
    """What an event says of its maker; `decision` names the tickets by which a rule let this change pass."""

    agent: str
    session: str = ""
    tool_call: str = ""
    decision: str = ""

    def by(self, ticket: str) -> "Who":
        """Return who makes a change by one more ticket."""
        if ticket in self.decision:
            return self
        return self._replace(decision=f"{self.decision} {ticket}".strip())


class _Known(NamedTuple):
    start: bytes
    who: Who
    fresh_until: float


class Callers:
    """Callers by pid; an entry is of one (pid, start time)."""

    def __init__(self, default_agent: str, unlocked: AbstractContextManager[None]) -> None:
        self._default = Who(default_agent or "fuse_user")
        self._unlocked = unlocked
        self._known: dict[int, _Known] = {}

    def who(self, pid: int) -> Who:
        """Return the caller of `pid`. May release llfuse.lock: call it before anything is looked up."""
        known = self._known.get(pid)
        if known is not None and time.monotonic() < known.fresh_until:
            return known.who
        with self._unlocked:
            found = self._resolve(pid, known)
        if len(self._known) >= CACHE_MAX:
            self._known.clear()
        self._known[pid] = found
        return found.who

    def _resolve(self, pid: int, known: _Known | None) -> _Known:
        start, parent = _stat(pid)
        until = time.monotonic() + TRUSTED_S
        if known is not None and start and known.start == start:
            return known._replace(fresh_until=until)
        who = _claim(pid)
        for _ in range(ANCESTORS_MAX):
            if who is not None or parent <= 1:
                break
            near = self._known.get(parent)
            who = near.who if near is not None and near.fresh_until > time.monotonic() else _claim(parent)
            parent = _stat(parent)[1]
        return _Known(start, who or self._default, until)


def _claim(pid: int) -> Who | None:
    """Return what a process's environment says; None if it names no agent or cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - half the cost of Path.read_bytes
            data = file.read()
    except OSError:
        return None
    if b"WEIR_AGENT=" not in data:
        return None
    pairs = dict(entry.split(b"=", 1) for entry in data.split(b"\0") if b"=" in entry)
    agent, session, call = (_text(pairs.get(name, b"")) for name in (b"WEIR_AGENT", b"WEIR_SESSION", b"WEIR_TOOL_CALL"))
    return Who(agent, session, call) if agent else None


def _text(value: bytes) -> str:
    return os.fsdecode(value).encode("utf-8", "replace").decode()[:256]


def _stat(pid: int) -> tuple[bytes, int]:
    """Return (start time, parent pid); (b"", 0) for a process that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return b"", 0
    return fields[19], int(fields[1])
