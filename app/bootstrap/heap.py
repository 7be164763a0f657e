"""The memory of a process that runs for weeks: what is free given back, and in a mount one heap for all threads.

glibc gives threads heaps of their own, and what one of them has freed is no other's: chunks come and go in the
readers, the `cold-*` threads and the keeper of a mount, so that each of their heaps grew to what had been in all
together. Writing, reading and copying 1 GiB: 131 MiB of growth with many heaps, 56 with one. Handlers cost the same.

What lies free between blocks in use is given back only when asked for (`malloc_trim`), and cycles are looked for only
once in many million allocations, since judging and folding make none; libraries make some. A tidier does both.
"""

import contextlib
import ctypes
import gc
import logging
import os
import threading
import time
from typing import Final

log: Final = logging.getLogger(__name__)
EVERY_S: Final = 10.0
M_ARENA_MAX: Final = -8
SHARE: Final = 2000
"""A turn that took t is followed by none for so many t: many objects stop a process for longer, but not as often."""


def return_what_is_free() -> None:
    """Give pages back that the heap has no use for: after a tree was loaded, what it came in lies free between the
    tables that are in use, 100 of 760 bytes an inode.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def use_one_heap() -> None:
    """Called before a second thread is there: heaps that are there stay. Without effect where there is no glibc."""
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except (AttributeError, OSError):
        log.info("this C library has no mallopt: memory may grow further beside large files")


class Tidier:
    """A daemon thread that tidies every EVERY_S, or less often where that takes long. Meanwhile the process stands
    still: 1.3 ms for 20,000 objects made since it calmed its collector.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._stopping = threading.Event()
        threading.Thread(target=self._run, name="tidier", daemon=True).start()

    def close(self) -> None:
        """End the thread at its next turn."""
        self._stopping.set()

    def _run(self) -> None:
        took_s = 0.0
        while not self._stopping.wait(max(self._every_s, took_s * SHARE)):
            begun_s = time.monotonic()
            gc.collect()
            return_what_is_free()
            took_s = time.monotonic() - begun_s


_of_process: dict[int, Tidier] = {}


def keep_tidy() -> None:
    """Start this process's tidier, once: a forked child has none of its parent's threads."""
    own = os.getpid()
    if own not in _of_process:
        _of_process.clear()
        _of_process[own] = Tidier()
