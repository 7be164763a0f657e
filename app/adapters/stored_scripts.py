"""Scripts of the project for whoever judges: which paths lie in a mount, and their content from the store, in time.

The store may hang: it is asked in a thread, for READ_S at most, by one thread at a time. Who asks meanwhile, or while
the store is away, is told that it cannot be read, which never approves.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from app.core.errors import WeirError
from app.core.shell.places import absolute
from app.core.shell.stored import SCRIPT_BYTES_MAX, Lack

READ_S: Final = 0.02
LOOKED_EVERY_S: Final = 1.0
_CURRENT: Final = "current"


class StoredFiles(Protocol):
    """The store, of which the beginning of one file is wanted."""

    def beginning(self, names: Sequence[bytes]) -> bytes | None:
        """Return it, None where there is no such file; raises WeirError where it cannot be read."""

    def close(self) -> None:
        """Close what was opened."""


class StoredScripts:
    """See World.script. One thread asks at a time. `mounts` returns the folders where the project is mounted."""

    def __init__(self, store: StoredFiles, mounts: Callable[[], Sequence[str]], read_s: float = READ_S) -> None:
        self._store = store
        self._read_s = read_s
        self._mounts = mounts
        self._roots: tuple[str, ...] = ()
        self._looked_s = -LOOKED_EVERY_S
        self._asking: threading.Thread | None = None
        self._warming: threading.Thread | None = None

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def script(self, path: str) -> bytes | Lack:
        """See World."""
        names = self._names(path)
        if names is None:
            return Lack.ELSEWHERE
        if self._warming is not None:
            self._warming.join(self._read_s)
        if self._asking is not None and self._asking.is_alive():
            return Lack.UNREADABLE
        self._warming = None
        asking, found = self._ask(names)
        asking.join(self._read_s)
        return found[0] if found else Lack.UNREADABLE

    def warm_up(self) -> None:
        """Begin to connect, and return; before the first question. One that had to wait for it would be too late."""
        self._warming, _ = self._ask([b""])

    def _ask(self, names: list[bytes]) -> tuple[threading.Thread, list[bytes | Lack]]:
        """Begin a thread; return it and where it puts what it finds."""
        found: list[bytes | Lack] = []
        self._asking = threading.Thread(target=lambda: found.append(self._read(names)), daemon=True)
        self._asking.start()
        return self._asking, found

    def _read(self, names: list[bytes]) -> bytes | Lack:
        try:
            content = self._store.beginning(names)
        except WeirError:
            return Lack.UNREADABLE
        return Lack.ABSENT if content is None else content[: SCRIPT_BYTES_MAX + 1]

    def _names(self, path: str) -> list[bytes] | None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOKED_EVERY_S:
            self._looked_s = now_s
            self._roots = tuple([absolute(f"{folder}/{_CURRENT}", "") + "/" for folder in self._mounts()])
        root = next((root for root in self._roots if path.startswith(root)), None)
        return None if root is None else [os.fsencode(name) for name in path[len(root) :].split("/")]
