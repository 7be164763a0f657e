"""Versions that another mount's content has just replaced, while the kernel does not know it yet.

A shared mapping may hold dirty pages of such a version; the kernel writes them when it is told to forget them. **They
belong to the version that they were read from**: put over the new one they would make a file that nobody wrote, half
of each. Whole pages that come through a handle from before, until the kernel has been told, are therefore changes to
the version before; what is sealed is a version of its own, and the later commit wins whole, as between any two writers.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from app.core.tree import Node

PAGE: Final = 4096


class Before(NamedTuple):
    """The node as it was, the position that changed it, and the number of the next handle then."""

    node: Node
    position: int
    next_handle: int


class Superseded:
    """By inode. `delivered` returns the position up to which the kernel has been told. With llfuse.lock held."""

    def __init__(self) -> None:
        self.delivered: Callable[[], int] = lambda: 0
        self.forget: Callable[[int], None] = lambda _inode: None
        self.before: dict[int, Before] = {}

    def add(self, inode: int, node: Node, position: int, next_handle: int) -> None:
        """A foreign version has replaced `node`'s content."""
        told = self.delivered()
        self.before = {held: before for held, before in self.before.items() if before.position > told}
        self.before.setdefault(inode, Before(node, position, next_handle))

    def written(self, inode: int, fh: int, offset: int, length: int) -> Node | None:
        """Return the node whose content a write belongs to, where that is not the present one; the kernel then forgets
        the inode's pages once more, since some may be the newer version's.
        """
        before = self.before.get(inode)
        if before is None or fh >= before.next_handle or before.position <= self.delivered():
            return None
        if offset % PAGE or (length % PAGE and offset + length != before.node.size):
            return None
        del self.before[inode]
        self.forget(inode)
        return before.node
