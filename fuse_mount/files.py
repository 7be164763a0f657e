"""The table of open files. llfuse tells read, write, flush and fsync nothing but the handle."""

import os
from collections import Counter

from fuse_mount.who import Who


class Handle:
    """One open file: `frozen` is the content of a file that no tree holds; `listing` the
    (name, inode, mode) of an open directory, mode 0 where the tree knows it.
    """

    __slots__ = ("append", "dirty", "frozen", "inode", "listing", "sequence", "who", "writable")

    def __init__(self, inode: int, flags: int, who: Who, frozen: bytes | None = None) -> None:
        self.inode = inode
        self.who = who
        self.writable = flags & os.O_ACCMODE != os.O_RDONLY
        self.append = bool(flags & os.O_APPEND)
        self.dirty = False
        self.sequence = 0
        self.frozen = frozen
        self.listing: list[tuple[bytes, int, int]] | None = None


class OpenFiles:
    """Handles by number, and how many of them an inode has."""

    def __init__(self) -> None:
        self.handles: dict[int, Handle] = {}
        self.counts: Counter[int] = Counter()
        self.next_number = 1

    def add(self, handle: Handle) -> int:
        """Return the number of a new handle."""
        number = self.next_number
        self.next_number += 1
        self.handles[number] = handle
        self.counts[handle.inode] += 1
        return number

    def remove(self, number: int) -> Handle:
        """Take a handle out; its inode's count may have become 0."""
        handle = self.handles.pop(number)
        self.counts[handle.inode] -= 1
        if self.counts[handle.inode] <= 0:
            del self.counts[handle.inode]
        return handle
