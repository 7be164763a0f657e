"""Tells cheaply that nothing changed in some folders and files: inotify, asked by one system call.

To look at each of a dozen files fifty times a second was a dozen hand-overs of the interpreter each time, and the
thread that answers callers waited for each of them. What inotify does not see (a write through a mapping, a network
filesystem) is for the caller to look for, now and then. Where the kernel gives no more instances or watches, something
may always have changed.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_MODIFY: Final = 0x2
_ATTRIB: Final = 0x4
_CLOSE_WRITE: Final = 0x8
_MOVED: Final = 0xC0
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_SELF: Final = 0xC00
_ANY: Final = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF
_EVENTS_BYTES: Final = 64 * 1024
_NONE: Final = -1


class FileChanges:
    """Watches the paths that `paths` returns, and for what is not there the nearest folder above. One thread asks."""

    def __init__(self, paths: Callable[[], Iterable[str]]) -> None:
        self._paths = paths
        self._pid = 0
        self._descriptor = _NONE

    def __del__(self) -> None:
        """Let go of the kernel's instance."""
        self._close()

    def maybe(self) -> bool:
        """Tell whether something may have changed since the last call; the first call says so."""
        if self._pid == os.getpid() and self._descriptor != _NONE:
            try:
                os.read(self._descriptor, _EVENTS_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                pass
        self.again()
        return True

    def again(self) -> None:
        """Watch what the paths name now: a name may stand for another file, and what was missing may be there. All
        anew, since what once was watched would be so for ever.
        """
        self._close()
        self._pid, self._descriptor = os.getpid(), _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor != _NONE and not all(self._watched(path) for path in self._paths()):
            self._close()

    def _watched(self, path: str) -> bool:
        here = Path(path)
        for place in (here, *here.parents):
            if self._watches(place):
                # it may have come between the two
                return place is here or not os.path.lexists(here) or self._watches(here)
            if os.path.lexists(place):
                return False
        return False

    def _watches(self, place: Path) -> bool:
        return bool(_libc.inotify_add_watch(self._descriptor, os.fsencode(place), _ANY) != _NONE)

    def _close(self) -> None:
        # a child has its parent's number, which may stand for another file by now
        if self._descriptor != _NONE and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = _NONE


_libc: Final = ctypes.CDLL(None, use_errno=True)
"""One for all: each has classes of its own, which only a full collection takes away."""
