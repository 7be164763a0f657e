"""Directories that have been listed twice as they are: their entries ready for llfuse, until they change.

A directory whose names change gets another node, so the node says whether a listing still holds. At the first listing
one object serves all entries; an object for each, and with it the next listings' 0.2 us a name, is made at the second.
"""

from typing import Final

import llfuse

from app.core.tree import Node
from fuse_mount.files import Listing

NAMES_MAX: Final = 20_000
"""Of all directories together; about 400 bytes each."""
PART: Final = 1024
Entry = tuple[bytes, llfuse.EntryAttributes, int]


class Listings:
    """By the tree's inode. Read and changed with llfuse.lock held."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Node, Listing]] = {}
        self._names = 0

    def again(self, inode: int, node: Node, nodes: dict[int, Node]) -> Listing | None:
        """Return a directory's listing, ready-made, where it was listed before as it is now."""
        known = self._known.get(inode)
        if known is None or known[0] is not node:
            return None
        listing = known[1]
        if not listing.ready:
            listing.ready.extend(_entries(listing, nodes))
        return listing

    def keep(self, inode: int, node: Node, listing: Listing) -> None:
        """Remember a first listing."""
        replaced = self._known.pop(inode, None)
        self._names += len(listing.names) - (0 if replaced is None else len(replaced[1].names))
        if self._names > NAMES_MAX:
            self._known.clear()
            self._names = len(listing.names)
        if self._names <= NAMES_MAX:
            self._known[inode] = node, listing


def part(listing: Listing, start: int) -> list[Entry]:
    """Return entries of a ready listing, as many as the kernel may take at once."""
    return listing.ready[start : start + PART]


def _entries(listing: Listing, nodes: dict[int, Node]) -> list[Entry]:
    made, known = [], len(listing.modes)
    for at, (name, inode) in enumerate(zip(listing.names, listing.inodes, strict=True)):
        entry = llfuse.EntryAttributes()
        entry.st_ino = inode
        node = None if at < known else nodes.get(inode)
        entry.st_mode = listing.modes[at] if at < known else 0 if node is None else node.mode
        made.append((name, entry, at + 1))
    return made
