"""One heap for all threads.

glibc gives threads heaps of their own, and what one of them has freed is no other's: chunks come and go in the
readers, the `cold-*` threads and the keeper, so that each of their heaps grew to what had been in all together.
Writing, reading and copying 1 GiB: 131 MiB of growth with many heaps, 56 MiB with one. Handlers cost the same.
"""

import contextlib
import ctypes
import logging
from typing import Final

log: Final = logging.getLogger(__name__)
M_ARENA_MAX: Final = -8


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
