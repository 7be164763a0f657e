"""Frees a mount whose notifications hang: without it even kill -9 leaves processes in D state.

**Never touches the mount point**: device numbers come from /proc/self/mountinfo. A notification that lasts longer
than 2 s, while llfuse.lock is not to be had for another 2 s, means a cycle of locks through the kernel; only `abort` of
the connection ends it. The process then exits, and whoever supervises it mounts again; what was returned is in the
journal. Where the lock is to be had, handlers go on, and the notification may only wait for its turn on a machine
that others use (twenty runnable processes on two cores): then it has 20 s.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Final

log: Final = logging.getLogger(__name__)
HANG_S: Final = 2.0
LOCK_S: Final = 2
PATIENCE_S: Final = 20.0
LOOK_S: Final = 0.25
ABORTED_EXIT: Final = 70
CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


def connection_of(mount_point: Path) -> str:
    """Return the name of a mount's FUSE connection (its minor device number), "" if it is not mounted."""
    found = ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - surrogates
        for line in lines:
            fields = line.split()
            if _unescape(fields[4]) == str(mount_point) and fields[fields.index("-") + 1].startswith("fuse"):
                found = fields[2].partition(":")[2]
    return found


def _unescape(path: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, plain)
    return path


def abort(connection: str) -> bool:
    """Abort a FUSE connection; mounts fusectl where it is not."""
    control = CONNECTIONS / connection / "abort"
    if not control.exists():
        subprocess.run(["mount", "-t", "fusectl", "none", str(CONNECTIONS)], check=False, capture_output=True)
    try:
        control.write_text("1")
    except OSError as error:
        log.critical("cannot abort FUSE connection %s: %s", connection, error)
        return False
    return True


def watch(
    busy_since_s: Callable[[], float],
    waits: Callable[[], bool],
    handlers_go_on: Callable[[], bool],
    connection: str,
    stopping: Event,
) -> None:
    """Body of the watching thread; ends the process when a notification hangs, unless it `waits` for a handler of ours
    that has a deadline of its own. `handlers_go_on` tells whether llfuse.lock is to be had within LOCK_S.
    """
    waited_s = 0.0
    while not stopping.wait(LOOK_S):
        since_s, now_s = busy_since_s(), time.monotonic()
        if since_s and waits():
            waited_s = now_s
        hangs_s = now_s - max(since_s, waited_s) if since_s else 0.0
        if hangs_s < HANG_S or (hangs_s < PATIENCE_S and handlers_go_on()):
            continue
        if busy_since_s() == since_s:
            log.critical("a notification to the kernel hangs for %.1f s: aborting connection %s", hangs_s, connection)
            abort(connection)
            os._exit(ABORTED_EXIT)
