"""Servers that outlived who started them: one that is frozen (kill -STOP) takes no parent-death signal.

A server's lock file names its process, that process's start, and the starter's. A server whose lock is held, which is
still that process and which has another parent by now, was left behind; nothing else is touched.
"""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

STEP_S: Final = 8.0
"""How long each signal has: the immediate shutdown of a Postgres kills children that do not end after 5 s."""
_POLL_S: Final = 0.05


class _Process(NamedTuple):
    parent: int
    started: int
    """Clock ticks since boot: with the number it names one process for good."""


def write_down(lock: int, pid: int) -> None:
    """Write into a lock's file whom it is held for; raises nothing where that process has ended already."""
    found = _process(pid)
    if found is not None:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{pid} {found.started} {os.getpid()}".encode(), 0)


def end_left(lock: Path, signals: Sequence[signal.Signals]) -> bool | None:
    """End the server that a lock names, if it was left behind: thaw it, then one signal after the other, KILL last.

    Returns None where there was none, else whether it had to be killed.
    """
    left = _left(lock)
    if left is None:
        return None
    with _reached(*left) as server:
        for number in (*signals, signal.SIGKILL):
            _thaw(left[0])
            _send(server, number)
            _send(server, signal.SIGCONT)
            if _ended(lock):
                return number == signal.SIGKILL
    return True


def _left(lock: Path) -> tuple[int, int] | None:
    """Number and start of the server that was left behind, if one was."""
    try:
        pid, started, starter = (int(word) for word in lock.read_text().split())
    except (OSError, ValueError):  # none yet, or of a version that wrote nothing down
        return None
    found = _process(pid)
    same = found is not None and found.started == started and found.parent != starter
    return (pid, started) if same and not _is_free(lock) else None


@contextlib.contextmanager
def _reached(pid: int, started: int) -> Iterator[int]:
    """A descriptor of that process, -1 where it is another by now: no signal reaches who got its number later."""
    try:
        server = os.pidfd_open(pid)
    except OSError:
        yield -1
        return
    found = _process(pid)
    try:
        yield server if found is not None and found.started == started else -1
    finally:
        os.close(server)


def _send(server: int, number: signal.Signals) -> None:
    if server >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(server, number)


def _thaw(pid: int) -> None:
    """Let a server's frozen children go on: they are asked to end by it, and it waits for them."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGCONT)


def _ended(lock: Path) -> bool:
    give_up = time.monotonic() + STEP_S
    while not _is_free(lock):
        if time.monotonic() > give_up:
            return False
        time.sleep(_POLL_S)
    return True


def _is_free(lock: Path) -> bool:
    """Tell whether no process of the server lives: all have the lock's descriptor."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _process(pid: int) -> _Process | None:
    try:
        # after the name, which may hold anything: state, parent ... and the 22nd field of all
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return _Process(int(fields[1]), int(fields[19]))
