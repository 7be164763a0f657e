"""The control of the filesystem's figures: llfuse with handlers that do next to nothing, `bare_fuse.py DIRECTORY`.

What an operation costs here is the kernel's and llfuse's share of it in Python: requests are those of Weir's mount, the
answers are ready-made, nothing is checked and nothing kept but in a dict. With a second argument closes are asked too.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import llfuse

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuse_mount.__main__ import SWITCH_INTERVAL_S, fuse_options
from fuse_mount.attributes import absent
from fuse_mount.handshake import shake_hands
from fuse_mount.kernel_cache import session_descriptor
from fuse_mount.readers import read_session

Entry = llfuse.EntryAttributes
Context = llfuse.RequestContext
ASKED = len(sys.argv) > 2


class Bare(llfuse.Operations):
    """Answers. A handle is the inode's number."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[int, Entry] = {}
        self.names: dict[int, dict[bytes, Entry]] = {}
        self.data: dict[int, bytes] = {}
        self.absent = absent()
        self._add(stat.S_IFDIR | 0o755)

    def _add(self, mode: int) -> Entry:
        entry = Entry()
        entry.st_ino = inode = len(self.entries) + 1
        entry.st_mode = mode
        self.entries[inode] = entry
        if stat.S_ISDIR(mode):
            entry.st_nlink = 2
            self.names[inode] = {}
        return entry

    def lookup(self, parent_inode: int, name: bytes, ctx: Context) -> Entry:
        return self.names[parent_inode].get(name, self.absent)

    def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        pass

    def getattr(self, inode: int, ctx: Context) -> Entry:
        return self.entries[inode]

    def setattr(self, inode: int, attr: Entry, fields: llfuse.SetattrFields, fh: int | None, ctx: Context) -> Entry:
        return self.entries[inode]

    def getxattr(self, inode: int, name: bytes, ctx: Context | None = None) -> bytes:
        raise llfuse.FUSEError(llfuse.ENOATTR)

    def create(self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Context) -> tuple[int, Entry]:
        entry = self.names[parent_inode][name] = self._add(stat.S_IFREG | mode)
        return entry.st_ino, entry

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Context) -> Entry:
        entry = self.names[parent_inode][name] = self._add(mode)
        return entry

    def unlink(self, parent_inode: int, name: bytes, ctx: Context) -> None:
        del self.names[parent_inode][name]

    rmdir = unlink

    def rename(self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, ctx: Context) -> None:
        self.names[parent_inode_new][name_new] = self.names[parent_inode_old].pop(name_old)

    def open(self, inode: int, flags: int, ctx: Context) -> int:
        if flags & os.O_TRUNC:
            self.entries[inode].st_size = 0
        return inode

    def read(self, fh: int, off: int, size: int) -> bytes:
        return self.data[fh][off : off + size]

    def write(self, fh: int, off: int, buf: bytes) -> int:
        self.data[fh] = buf
        self.entries[fh].st_size = length = len(buf)
        return length

    def flush(self, fh: int) -> None:
        if not ASKED:
            raise llfuse.FUSEError(errno.ENOSYS)

    def release(self, fh: int) -> None:
        pass

    def fsync(self, fh: int, datasync: bool) -> None:
        pass

    def opendir(self, inode: int, ctx: Context) -> int:
        return inode

    def readdir(self, fh: int, off: int) -> Iterator[tuple[bytes, Entry, int]]:
        if off == 0:
            self.listing = [(name, entry, at + 1) for at, (name, entry) in enumerate(self.names[fh].items())]
        return iter(self.listing[off:])

    def releasedir(self, fh: int) -> None:
        pass

    def statfs(self, ctx: Context) -> llfuse.StatvfsData:
        return llfuse.StatvfsData()


def main() -> None:
    operations = Bare()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    llfuse.init(operations, sys.argv[1], fuse_options("bare", [], read_only=False))
    shake_hands(session_descriptor(), read_session)
    llfuse.main(workers=1)
    llfuse.close()


if __name__ == "__main__":
    main()
