"""The kernel's caches of this mount: what changed from outside is forgotten there.

Notifications are written to the session's own /dev/fuse descriptor by one thread, one at a time, so that a hanging
one is seen when it hangs; llfuse's own notify queue blocks silently, with its caller, after a thousand. **Nothing
here is called with llfuse.lock held but `forget_*`, `look` and `reached`, which only queue**: the kernel takes the
directory's inode lock for an entry, and a handler that holds that lock may be waiting for llfuse.lock.
A name is *expired*, not
removed: the next use asks again, and a process whose working directory it is keeps it. Overflow of the queue means
everything that is known, in slices.

What `shown` does not see to (names, directories, inodes that the kernel did not know) is sent again 50 ms later: an
answer that a handler computed before the change may reach the kernel after the first one. The notification of a changed
file waits until nobody has it open, 20 ms at most. `delivered` is the position whose notifications, and those of all
before it, the kernel has had.
"""

import errno
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import llfuse

from fuse_mount.shown import Mark, Shown

QUEUE_MAX: Final = 10_000
AGAIN_S: Final = 0.05
SLICE: Final = 500
_INVAL_INODE: Final = 2
_INVAL_ENTRY: Final = 3
_EXPIRE_ONLY: Final = 1
_HEADER: Final = struct.Struct("<IiQ")
_INODE: Final = struct.Struct("<Qqq")
_ENTRY: Final = struct.Struct("<QII")

Known = Callable[[], tuple[Iterable[int], Iterable[tuple[int, bytes]]]]


def session_descriptor() -> int:
    """Return the descriptor of this process's FUSE session; asked once, after llfuse.init."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        try:
            if Path(f"/proc/self/fd/{name}").readlink() == Path("/dev/fuse"):
                return int(name)
        except OSError:
            continue
    raise FileNotFoundError(errno.ENOENT, "no open FUSE session in this process", "/dev/fuse")


def inode_message(inode: int, *, attributes_only: bool) -> bytes:
    """Return FUSE_NOTIFY_INVAL_INODE: attributes, and all pages unless `attributes_only`."""
    body = _INODE.pack(inode, -1 if attributes_only else 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _INVAL_INODE, 0) + body


def entry_message(parent: int, name: bytes) -> bytes:
    """Return FUSE_NOTIFY_INVAL_ENTRY with FUSE_EXPIRE_ONLY."""
    body = _ENTRY.pack(parent, len(name), _EXPIRE_ONLY) + name + b"\0"
    return _HEADER.pack(_HEADER.size + len(body), _INVAL_ENTRY, 0) + body


class Batch(NamedTuple):
    """What is sent next: names, and inodes (True: attributes only; None: all that is known)."""

    entries: Iterable[tuple[int, bytes]]
    inodes: dict[int, bool] | None


class NotifiedCache:
    """See KernelCache. `known` returns all inodes and entries that the kernel may hold. While one is sent,
    `busy_since_s` is not 0 and `busy_inode` is the inode, or the directory, that it is of.
    """

    def __init__(self, counters: Counter[str], known: Known, shown: Shown) -> None:
        self.busy_since_s = 0.0
        self.busy_inode = 0
        self.delivered = 0
        self._counters = counters
        self._known = known
        self._shown = shown
        self._inodes: dict[int, bool] = {}
        self._entries: dict[tuple[int, bytes], None] = {}
        self._everything = False
        self._reached = 0
        self._idle = True
        self._again: list[bytes] = []
        self._unknown: set[int] = set()
        self._again_at_s = 0.0
        self._queued = threading.Condition(threading.Lock())
        self._stopped = False

    def forget_inode(self, inode: int, *, attributes_only: bool = False) -> None:
        """See KernelCache."""
        with self._queued:
            self._inodes[inode] = attributes_only and self._inodes.get(inode, True)
            self._added()

    def forget_entry(self, parent: int, name: bytes) -> None:
        """See KernelCache."""
        with self._queued:
            self._entries[parent, name] = None
            self._added()

    def forget_everything(self) -> None:
        """See KernelCache."""
        with self._queued:
            self._everything = True
            self._added()

    def reached(self, position: int) -> None:
        """Say that what was queued until now is what this position and all before it changed."""
        with self._queued:
            self._reached = position
            if self._idle and not self._waiting():
                self.delivered = position

    def _waiting(self) -> bool:
        return bool(self._inodes or self._entries or self._everything)

    def _added(self) -> None:
        if len(self._inodes) + len(self._entries) > QUEUE_MAX:
            self._counters["invalidation overflows"] += 1
            self._inodes.clear()
            self._entries.clear()
            self._everything = True
        self._queued.notify()

    @property
    def queued(self) -> int:
        """How many notifications wait."""
        return len(self._inodes) + len(self._entries)

    def look(self) -> None:
        """Nobody reads a file any more of which the kernel is to be told."""
        with self._queued:
            self._queued.notify()

    def stop(self) -> None:
        """End `run` when it is next between two notifications."""
        with self._queued:
            self._stopped = True
            self._queued.notify()

    def run(self, descriptor: int) -> None:
        """Body of the notifying thread."""
        while (batch := self._next()) is not None:
            marks = self._shown.marks(batch.inodes)
            for message in self._all() if batch.inodes is None else self._messages(batch.inodes.items(), batch.entries):
                self._send(descriptor, message)
            if batch.inodes is not None:
                self._remember(batch, marks)
            if marks:
                self._show(marks)
            self._resend(descriptor)

    def _show(self, marks: list[Mark]) -> None:
        with llfuse.lock:
            again = self._shown.told(marks)
        for inode in again:
            self._counters["invalidations sent once more"] += 1
            self.forget_inode(inode)

    def _next(self) -> Batch | None:
        with self._queued:
            self._idle = True
            if not self._waiting():
                self.delivered = max(self.delivered, self._reached)
            while not self._stopped and (pause_s := self._pause_s()) != 0:
                self._queued.wait(pause_s)
            self._idle = False
            return None if self._stopped else self._take()

    def _pause_s(self) -> float | None:
        """Return how long nothing is to be sent; None where nothing waits."""
        if self._everything or self._entries:
            return 0
        times_s = [self._shown.read_until_s(inode) for inode in self._inodes]
        if self._again:
            times_s.append(self._again_at_s)
        return max(min(times_s) - time.monotonic(), 0) if times_s else None

    def _take(self) -> Batch:
        if self._everything:
            self._everything = False
            self._inodes, self._entries = {}, {}
            return Batch((), None)
        now_s = time.monotonic()
        inodes = {one: only for one, only in self._inodes.items() if self._shown.read_until_s(one) <= now_s}
        for inode in inodes:
            del self._inodes[inode]
        entries, self._entries = self._entries, {}
        return Batch(entries, inodes)

    def _remember(self, batch: Batch, marks: list[Mark]) -> None:
        """Have sent again what no answer of ours may overtake unseen: `shown` sees to its own."""
        if not self._again:
            self._again_at_s = time.monotonic() + AGAIN_S
        inodes = batch.inodes or {}
        seen = {mark.inode for mark in marks if mark.inode not in self._unknown}
        self._again += self._messages([one for one in inodes.items() if one[0] not in seen], batch.entries)
        self._unknown.clear()

    def _resend(self, descriptor: int) -> None:
        if self._again and time.monotonic() >= self._again_at_s:
            again, self._again = self._again, []
            for message in dict.fromkeys(again):
                self._send(descriptor, message)

    def _messages(self, inodes: Iterable[tuple[int, bool]], entries: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        for parent, name in entries:
            yield entry_message(parent, name)
        for inode, attributes_only in inodes:
            yield inode_message(inode, attributes_only=attributes_only)

    def _all(self) -> Iterator[bytes]:
        inodes, entries = self._known()
        messages = self._messages(((inode, False) for inode in inodes), entries)
        while part := list(islice(messages, SLICE)):
            yield from part
            time.sleep(0)

    def _send(self, descriptor: int, message: bytes) -> None:
        self.busy_inode = int.from_bytes(message[_HEADER.size : _HEADER.size + 8], "little")
        self.busy_since_s = time.monotonic()
        try:
            os.write(descriptor, message)
            self._counters["invalidations"] += 1
        except OSError as error:
            if error.errno == errno.ENOENT:
                self._unknown.add(self.busy_inode)  # yet: a look-up may be under way
            # ENODEV, EBADF: unmounted. All else is worth a look.
            if error.errno not in {errno.ENOENT, errno.ENODEV, errno.EBADF, errno.ENOTDIR, errno.EINVAL}:
                self._counters[f"invalidation errno {error.errno}"] += 1
        finally:
            self.busy_since_s = 0.0
