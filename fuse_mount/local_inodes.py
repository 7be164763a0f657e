"""The inodes of ephemeral paths that the kernel knows, and where they lie on the disk.

What is ephemeral below the tracked directory D is kept in `<folder>/<D in hex>/`, so that renaming D or anything above
it moves nothing. An inode is known by a number from LOCAL on: the disk's own number above it, so that it is the same
after a restart, unless that is too large or the kernel still knows another file by it: the disk uses numbers again.
Paths are chains of names: a directory is known as long as anything in it is, whatever the kernel forgets first.
"""

import errno
import os
import stat
from typing import Final

from app.core.ids import LOCAL
from app.core.policy.guards import INSIDE_MAX
from fuse_mount.errno_map import refuse
from fuse_mount.sections import SECTIONS

_OWN_NUMBERS: Final = LOCAL + (1 << 60)
PARTS_MAX: Final = 2048
"""No path of more names can be handed to the disk (PATH_MAX)."""
_NO_NAMES: Final = frozenset((b"", b".", b".."))


def is_local(number: int) -> bool:
    """Tell whether a kernel inode, or a handle, is of an ephemeral path."""
    return LOCAL <= number < SECTIONS


class Known:
    """One inode: its names as (parent, name), how many known names are below it, the open descriptors of it, and what
    the disk said of it when it lost its last name.
    """

    __slots__ = ("below", "descriptors", "disk_inode", "last", "lookups", "names")

    def __init__(self, disk_inode: int) -> None:
        self.disk_inode = disk_inode
        self.names: list[tuple[int, bytes]] = []
        self.below = 0
        self.lookups = 0
        self.descriptors: list[int] = []
        self.last: os.stat_result | None = None


class LocalInodes:
    """A parent is a number from LOCAL on, or the tree's inode of a tracked directory."""

    def __init__(self, folder: bytes) -> None:
        self.folder = folder
        self.known: dict[int, Known] = {}
        self._numbers: dict[int, int] = {}
        self._made = _OWN_NUMBERS

    def number_of(self, disk_inode: int) -> int:
        """Return the number that a file on the disk has, or would have."""
        known = self._numbers.get(disk_inode)
        if known is not None:
            return known
        number = LOCAL + disk_inode
        if disk_inode >= 1 << 60 or number in self.known:
            self._made += 1
            number = self._made
        return number

    def found(self, parent: int, name: bytes, disk_inode: int) -> int:
        """The kernel looks a name up: return its number, from now on known."""
        number = self.number_of(disk_inode)
        known = self.known.get(number)
        if known is None:
            known = self.known[number] = Known(disk_inode)
            self._numbers[disk_inode] = number
        if (parent, name) not in known.names:
            self._add(known, parent, name)
        known.lookups += 1
        return number

    def get(self, number: int) -> Known:
        """Return what is known of a number; ESTALE where nothing is."""
        known = self.known.get(number)
        if known is None:
            raise refuse(errno.ESTALE)
        return known

    def chain(self, number: int, gone: int = errno.ESTALE) -> tuple[int, bytes]:
        """Return the tracked directory that a number lies below, and the path from there; b'' for itself.

        Raises `gone` where it has no name any more. ESTALE: the kernel looks the name up again, which leads to another
        inode where a rename has replaced this one.
        """
        parts: list[bytes] = []
        while number >= LOCAL:
            names = self.get(number).names
            if not names:
                raise refuse(gone)
            number, name = names[0]
            parts.append(name)
            if len(parts) > PARTS_MAX:
                raise refuse(errno.ENAMETOOLONG)
        parts.reverse()
        return number, b"/".join(parts)

    def place(self, parent: int, name: bytes | None = None) -> bytes:
        """Return where a directory, or a name in it, lies on the disk."""
        if name is not None and (name in _NO_NAMES or b"/" in name):
            raise refuse(errno.EINVAL)  # no kernel sends these: out of the folder, or a directory as a name in itself
        top, below = self.chain(parent, errno.ESTALE if name is None else errno.ENOENT)
        return b"/".join(filter(None, (self.folder, b"%x" % top, below, name)))

    def listed(self, parent: int) -> list[tuple[bytes, int, int]]:
        """Return (name, number, type) of all that lies in a directory."""
        with os.scandir(self.place(parent)) as entries:
            return [(entry.name, self.number_of(entry.inode()), _type_of(entry)) for entry in entries]

    # -- what becomes of names

    def removed(self, parent: int, name: bytes, was: os.stat_result) -> None:
        """A name is gone; `was` is what it named."""
        number = self._numbers.get(was.st_ino)
        if number is None:
            return
        known = self.known[number]
        if was.st_nlink <= 1 or stat.S_ISDIR(was.st_mode):
            known.last = was
            del self._numbers[was.st_ino]
        if (parent, name) in known.names:
            known.names.remove((parent, name))
            self._less_below(parent)
        self.let_go(number)

    def moved(self, old: tuple[int, bytes], new: tuple[int, bytes], disk_inode: int) -> None:
        """A name has become another one."""
        number = self._numbers.get(disk_inode)
        if number is not None and old in self.known[number].names:
            known = self.known[number]
            self._add(known, *new)
            known.names.remove(old)
            self._less_below(old[0])

    def forget(self, number: int, count: int) -> None:
        """The kernel forgets look-ups."""
        known = self.known.get(number)
        if known is not None:
            known.lookups = max(known.lookups - count, 0)
            self.let_go(number)

    def let_go(self, number: int) -> None:
        """Drop what neither the kernel nor anything below holds, and what only that held."""
        held = [number]
        while held:
            number = held.pop()
            known = self.known.get(number)
            if known is None or known.lookups or known.below or known.descriptors:
                continue
            del self.known[number]
            if self._numbers.get(known.disk_inode) == number:
                del self._numbers[known.disk_inode]
            for parent, _ in known.names:
                if parent >= LOCAL:
                    self.known[parent].below -= 1
                    held.append(parent)

    def adopt(self, alias: int, target: int) -> None:
        """A tracked directory was merged into another one: what was below it is below that."""
        for known in self.known.values():
            known.names = [(target if parent == alias else parent, name) for parent, name in known.names]

    def _add(self, known: Known, parent: int, name: bytes) -> None:
        known.names.append((parent, name))
        if parent >= LOCAL:
            self.known[parent].below += 1

    def _less_below(self, parent: int) -> None:
        if parent >= LOCAL:
            self.known[parent].below -= 1
            self.let_go(parent)


def paths_below(folder: bytes, most: int = INSIDE_MAX) -> list[bytes] | None:
    """Return the path of each name below a folder, with a leading slash; None where there are more than `most`."""
    found: list[bytes] = []
    waiting = [b""]
    while waiting:
        above = waiting.pop()
        with os.scandir(folder + above) as entries:
            for entry in entries:
                found.append(above + b"/" + entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(found[-1])
        if len(found) > most:
            return None
    return found


def _type_of(entry: os.DirEntry[bytes]) -> int:
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFLNK if entry.is_symlink() else stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
