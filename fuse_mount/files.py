"""The table of open files. llfuse tells read, write, flush and fsync nothing but the handle."""

import os
from typing import NamedTuple

import llfuse

from fuse_mount.who import Who


class Listing(NamedTuple):
    """What a directory held when it was read: the inode of each name, and the types of the first ones; the tree knows
    the others'. Two lists, since a pair for each name was a quarter of a listing's time. `ready`: see listings.py.
    """

    names: list[bytes]
    inodes: list[int]
    modes: list[int]
    ready: list[tuple[bytes, llfuse.EntryAttributes, int]]


class Handle:
    """One open file: `frozen` is the content of a file that no tree holds; `listing` that of an open directory."""

    __slots__ = ("append", "dirty", "frozen", "inode", "listing", "sequence", "who", "writable")

    def __init__(self, inode: int, flags: int, who: Who, frozen: bytes | None = None) -> None:
        self.inode = inode
        self.who = who
        self.writable = flags & os.O_ACCMODE != os.O_RDONLY
        self.append = bool(flags & os.O_APPEND)
        self.dirty = False
        self.sequence = 0
        self.frozen = frozen
        self.listing: Listing | None = None


class OpenFiles:
    """Handles by number, and how many of them an inode has."""

    def __init__(self) -> None:
        self.handles: dict[int, Handle] = {}
        self.counts: dict[int, int] = {}
        self.next_number = 1

    def add(self, handle: Handle) -> int:
        """Return the number of a new handle."""
        number = self.next_number
        self.next_number += 1
        self.handles[number] = handle
        self.counts[handle.inode] = self.counts.get(handle.inode, 0) + 1
        return number

    def remove(self, number: int) -> Handle:
        """Take a handle out; its inode's count may have become 0."""
        handle = self.handles.pop(number)
        left = self.counts[handle.inode] - 1
        if left:
            self.counts[handle.inode] = left
        else:
            del self.counts[handle.inode]
        return handle
