"""streams/: lines that the courier appends, served from the local disk. This process writes none of them.

A kernel inode stands for a file on the disk, not for its name, and keeps that open while the kernel knows it: a stream
that is begun anew is another one, a reader goes on in the one that it opened, and no number of the disk comes back
under it. Attributes are never kept by the kernel, and a size that grew drops the pages that it keeps: `tail -f` sees
what is appended.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

import llfuse

from fuse_mount.attributes import absent, fixed
from fuse_mount.errno_map import refuse

_AGENTS: Final = b"agents"


def modes(*, everybody: bool) -> tuple[int, int]:
    """Return those of a folder and of a file that the mount itself makes."""
    bits = 0o555 if everybody else 0o500
    return stat.S_IFDIR | bits, stat.S_IFREG | (bits & 0o444)


class Streams:
    """`first` is the folder's own inode; `first` + 1 that of agents/, its files follow."""

    def __init__(self, folder: Path, first: int, files_from: int, *, everybody: bool = False) -> None:
        self._folder_mode, self._file_mode = modes(everybody=everybody)
        self._folders = {first: os.fsencode(folder), first + 1: os.fsencode(folder / "agents")}
        self._top = first
        self._next = files_from
        self._numbers: dict[int, int] = {}
        self._held: dict[int, _Held] = {}

    def is_folder(self, inode: int) -> bool:
        """Tell whether an inode is one of the folders."""
        return inode in self._folders

    def lookup(self, folder: int, name: bytes) -> llfuse.EntryAttributes:
        """Return a name's attributes, and count one more look-up by the kernel."""
        if folder == self._top and name == _AGENTS:
            return self.getattr(folder + 1)
        if name.startswith(b"."):
            return absent(0.0)
        try:
            descriptor = os.open(self._folders[folder] + b"/" + name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return absent(0.0)
        number = os.fstat(descriptor).st_ino
        inode = self._numbers.get(number)
        if inode is None:
            inode = self._numbers[number] = self._next
            self._next += 1
            self._held[inode] = _Held(descriptor, number)
        else:
            os.close(descriptor)
        self._held[inode].count += 1
        return self.getattr(inode)

    def forget(self, inode: int, count: int) -> None:
        """The kernel has forgotten so many look-ups: with the last the file is closed."""
        held = self._held.get(inode)
        if held is None:
            return
        held.count -= count
        if held.count <= 0:
            del self._held[inode], self._numbers[held.number]
            os.close(held.descriptor)

    def entries(self, folder: int) -> list[tuple[bytes, int, int]]:
        """Return (name, inode, mode) of a folder; a number is one to look at only."""
        found = [(_AGENTS, folder + 1, self._folder_mode)] if folder == self._top else []
        try:
            with os.scandir(self._folders[folder]) as held:
                files = sorted((entry.name, entry.inode()) for entry in held if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:
            return found
        return [*found, *[(name, self._numbers.get(number, self._top), self._file_mode) for name, number in files]]

    def getattr(self, inode: int) -> llfuse.EntryAttributes:
        """Return the attributes of a folder or a file."""
        if inode in self._folders:
            return fixed(inode, self._folder_mode, 0, 0, timeout_s=0.0)
        found = os.fstat(self._file(inode).descriptor)
        return fixed(inode, self._file_mode, found.st_size, found.st_mtime_ns, timeout_s=0.0)

    def read(self, inode: int, offset: int, size: int) -> bytes:
        """Return a part of a file."""
        if not 0 <= offset < 1 << 62:
            raise refuse(errno.EINVAL)
        return os.pread(self._file(inode).descriptor, size, offset)

    def _file(self, inode: int) -> "_Held":
        held = self._held.get(inode)
        if held is None:
            raise refuse(errno.ENOENT)
        return held


class _Held:
    """An open file that the kernel knows from `count` look-ups; `number` is its inode on the disk."""

    __slots__ = ("count", "descriptor", "number")

    def __init__(self, descriptor: int, number: int) -> None:
        self.descriptor, self.number, self.count = descriptor, number, 0
