"""Where what comes through a handle opened with O_APPEND belongs: at the file's end, or where the kernel says.

A page of a shared mapping comes through such a handle too, and so does a write after O_APPEND was taken off: in place.
The kernel tells nothing of either; but what it appends it sends to the end that it knows. That is the tree's, **or an
older one where another mount has changed the file since it was opened here**: of these ends each is kept, with those
that what was appended there made of it, until the kernel appends at the tree's end or the last handle is closed.
"""

from typing import Final

ENDS_MAX: Final = 4096
"""Of one file; a kernel that is never told a size would have been told one long before."""


class Appends:
    """One mount's. `ends`: by inode, where the kernel may take a file's end to be though it is elsewhere."""

    def __init__(self) -> None:
        self.ends: dict[int, set[int]] = {}

    def changed(self, inode: int, size: int) -> None:
        """Another mount has changed a file that is open here, whose size was `size` (bytes)."""
        known = self.ends.setdefault(inode, set())
        if len(known) < ENDS_MAX:
            known.add(size)

    def is_append(self, inode: int, offset: int, end: int) -> bool:
        """Tell whether bytes that the kernel sends to `offset` go to the file's `end`."""
        return offset == end or offset in self.ends.get(inode, ())

    def appended(self, inode: int, offset: int, length: int, end: int) -> None:
        """What the kernel sent to `offset` was put at the file's `end`, before it."""
        if offset == end:
            self.ends.pop(inode, None)
        else:
            self.changed(inode, offset + length)

    def released(self, inode: int) -> None:
        """Nobody has the file open any more: the kernel asks for its size when somebody opens it."""
        self.ends.pop(inode, None)
