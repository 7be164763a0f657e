"""What stands above the project's tree: the mounted root with current/, streams/ and debug/.

Inode numbers of sections begin at 1 << 62, far above any incarnation's. The kernel's root (1) is the mounted root; the
tree's root (1) is `current`. A debug file gets a fresh inode at every look-up: llfuse keeps pages for ever, so a
number that is used again could show what the file said before. Its bytes are rendered once, at the look-up.
"""

import errno
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import llfuse

from app.core.ids import ROOT_INODE
from fuse_mount.attributes import absent, fixed
from fuse_mount.errno_map import refuse
from fuse_mount.streams import Streams, modes

SECTIONS: Final = 1 << 62
CURRENT: Final = SECTIONS + 1
STREAMS: Final = SECTIONS + 2
DEBUG: Final = SECTIONS + (1 << 19)
_STREAM_FILES: Final = SECTIONS + (1 << 20)
_RENDERED: Final = SECTIONS + (1 << 40)
_NAMES: Final = {b"current": CURRENT, b"streams": STREAMS, b"debug": DEBUG}
_ROOT: Final = stat.S_IFDIR | 0o555


def kernel_inode(inode: int) -> int:
    """Return the number under which the kernel knows an inode of the tree."""
    return CURRENT if inode == ROOT_INODE else inode


def is_section(inode: int) -> bool:
    """Tell whether a kernel inode is not the tree's."""
    return inode == llfuse.ROOT_INODE or (inode >= SECTIONS and inode != CURRENT)


class Sections:
    """The inodes above the tree; `debug` renders each file's bytes. What stands in debug/ and streams/ names the paths
    and commands of every user of the mount: it is readable by whoever runs it only, unless by `everybody`.
    """

    def __init__(self, streams: Path, *, everybody: bool = False) -> None:
        self.debug: dict[bytes, Callable[[], bytes]] = {}
        self._directory, self._file = modes(everybody=everybody)
        self._streams = Streams(streams, STREAMS, _STREAM_FILES, everybody=everybody)
        self._since_ns = time.time_ns()
        self._rendered: dict[int, bytes] = {}
        self._next = _RENDERED

    def lookup(self, parent: int, name: bytes) -> llfuse.EntryAttributes | int:
        """Return a name's attributes; CURRENT itself where the tree must answer."""
        match parent:
            case llfuse.ROOT_INODE:
                inode = _NAMES.get(name, 0)
                return inode if inode == CURRENT else (self.getattr(inode) if inode else absent())
            case _ if parent == DEBUG and name in self.debug:
                return self._render(name)
            case _ if self._streams.is_folder(parent):
                return self._streams.lookup(parent, name)
            case _:
                return absent(0.0)

    def _render(self, name: bytes) -> llfuse.EntryAttributes:
        self._next += 1
        data = self._rendered[self._next] = self.debug[name]()
        entry = fixed(self._next, self._file, len(data), time.time_ns())
        entry.entry_timeout = 0.0
        return entry

    def getattr(self, inode: int) -> llfuse.EntryAttributes:
        """Return the attributes of a section's inode."""
        if inode in {llfuse.ROOT_INODE, DEBUG}:
            return fixed(inode, _ROOT if inode == llfuse.ROOT_INODE else self._directory, 0, self._since_ns)
        data = self._rendered.get(inode)
        if data is not None:
            return fixed(inode, self._file, len(data), self._since_ns)
        return self._streams.getattr(inode)

    def entries(self, inode: int) -> list[tuple[bytes, int, int]]:
        """Return (name, inode, mode) of a directory above the tree."""
        match inode:
            case llfuse.ROOT_INODE:
                return [(name, number, _ROOT) for name, number in _NAMES.items()]
            case _ if inode == DEBUG:
                return [(name, DEBUG + 1 + at, self._file) for at, name in enumerate(sorted(self.debug))]
            case _ if self._streams.is_folder(inode):
                return self._streams.entries(inode)
            case _:
                raise refuse(errno.ENOTDIR)

    def content(self, inode: int) -> bytes | None:
        """Return the bytes of a rendered file; None where `read_stream` must be asked."""
        return self._rendered.get(inode)

    def read_stream(self, inode: int, offset: int, size: int) -> bytes:
        """Return a part of a stream; the file is on the local disk, never on this mount."""
        return self._streams.read(inode, offset, size)

    def forget(self, inode: int, count: int) -> None:
        """Let a rendered file go; a stream with its last look-up."""
        self._rendered.pop(inode, None)
        self._streams.forget(inode, count)
