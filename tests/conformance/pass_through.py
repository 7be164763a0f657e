"""A filesystem that passes every request through to a folder: `pass_through.py MOUNTPOINT FOLDER [FAULT]`.

It stands beside Weir to show that the table of checks bites: without a fault it answers as the folder does; with one
of planted_faults.FAULTS it is wrong in that one way. It lives by open O_PATH descriptors, one for each inode that the
kernel knows, so that names may change and go beneath it.
"""

import ctypes
import os
import stat
import sys
from contextlib import contextmanager

import llfuse

KEPT_S = 300.0
LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def refusing():
    try:
        yield
    except OSError as error:
        raise llfuse.FUSEError(error.errno) from None


def guarded(call):
    def answer(*args):
        with refusing():
            return call(*args)

    return answer


class PassThrough(llfuse.Operations):
    """One inode number a file, that of the folder's own filesystem; the root is 1."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.held = {1: os.open(folder, os.O_PATH)}
        self.counts = {1: 1}
        self.listings: dict[int, tuple[int, list[tuple[bytes, os.stat_result]]]] = {}
        self.top = os.fstat(self.held[1]).st_ino

    # -- what an inode is

    def path(self, inode: int) -> str:
        return f"/proc/self/fd/{self.held[inode]}"

    def entry_of(self, found: os.stat_result) -> llfuse.EntryAttributes:
        entry = llfuse.EntryAttributes()
        for name in ("mode", "nlink", "uid", "gid", "rdev", "size", "blocks", "atime_ns", "mtime_ns", "ctime_ns"):
            setattr(entry, f"st_{name}", getattr(found, f"st_{name}"))
        entry.st_ino = self.number(found)
        entry.st_blksize = 4096
        entry.entry_timeout = entry.attr_timeout = KEPT_S
        return entry

    def number(self, found: os.stat_result) -> int:
        return 1 if found.st_ino == self.top else found.st_ino

    def known(self, parent: int, name: bytes) -> llfuse.EntryAttributes:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.held[parent])
        found = os.fstat(descriptor)
        inode = self.number(found)
        if inode in self.held:
            os.close(descriptor)
        else:
            self.held[inode] = descriptor
        self.counts[inode] = self.counts.get(inode, 0) + 1
        return self.entry_of(found)

    def lookup(self, parent: int, name: bytes, ctx) -> llfuse.EntryAttributes:
        try:
            return self.known(parent, name)
        except FileNotFoundError:
            absent = llfuse.EntryAttributes()
            absent.st_ino, absent.entry_timeout = 0, KEPT_S
            return absent

    def forget(self, inode_list) -> None:
        for inode, count in inode_list:
            self.counts[inode] -= count
            if self.counts[inode] <= 0 and inode != 1:
                os.close(self.held.pop(inode))
                del self.counts[inode]

    def getattr(self, inode: int, ctx) -> llfuse.EntryAttributes:
        return self.entry_of(os.fstat(self.held[inode]))

    def setattr(self, inode: int, attr, fields, fh, ctx) -> llfuse.EntryAttributes:
        link = stat.S_ISLNK(os.fstat(self.held[inode]).st_mode)
        if fields.update_size:
            os.truncate(self.path(inode) if fh is None else fh, attr.st_size)
        if fields.update_uid or fields.update_gid:
            self.owned(inode, attr.st_uid if fields.update_uid else -1, attr.st_gid if fields.update_gid else -1)
        if fields.update_mode and not link:
            os.chmod(self.path(inode), stat.S_IMODE(attr.st_mode))
        if fields.update_atime or fields.update_mtime:
            self.timed(inode, attr, fields)
        if not any(getattr(fields, f"update_{name}") for name in ("size", "uid", "gid", "mode", "atime", "mtime")):
            self.owned(inode, -1, -1)
        return self.entry_of(os.fstat(self.held[inode]))

    def owned(self, inode: int, uid: int, gid: int) -> None:
        if LIBC.fchownat(self.held[inode], b"", uid, gid, 0x1000):
            raise OSError(ctypes.get_errno(), "fchownat")

    def timed(self, inode: int, attr, fields) -> None:
        omit = (1 << 30) - 2
        pair = []
        for asked, at in ((fields.update_atime, attr.st_atime_ns), (fields.update_mtime, attr.st_mtime_ns)):
            pair += divmod(at, 10**9) if asked else (0, omit)
        if LIBC.utimensat(self.held[inode], b"", (ctypes.c_long * 4)(*pair), 0x1000):
            raise OSError(ctypes.get_errno(), "utimensat")

    def readlink(self, inode: int, ctx) -> bytes:
        return os.readlink(b"", dir_fd=self.held[inode])

    def statfs(self, ctx):
        found, answer = os.statvfs(self.path(1)), llfuse.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(answer, f"f_{name}", getattr(found, f"f_{name}"))
        return answer

    # -- names

    def made(self, parent: int, name: bytes, ctx, mode: int | None) -> llfuse.EntryAttributes:
        """Give what was made to whoever asked, and to the folder's group where the folder says so."""
        holder = os.fstat(self.held[parent])
        gid = holder.st_gid if holder.st_mode & stat.S_ISGID else ctx.gid
        os.chown(name, ctx.uid, gid, dir_fd=self.held[parent], follow_symlinks=False)
        if mode is not None:
            if stat.S_ISDIR(mode) and holder.st_mode & stat.S_ISGID:
                mode |= stat.S_ISGID
            os.chmod(name, stat.S_IMODE(mode), dir_fd=self.held[parent])
        return self.known(parent, name)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, ctx):
        os.mknod(name, mode, rdev, dir_fd=self.held[parent])
        return self.made(parent, name, ctx, mode)

    def mkdir(self, parent: int, name: bytes, mode: int, ctx):
        os.mkdir(name, mode, dir_fd=self.held[parent])
        return self.made(parent, name, ctx, stat.S_IFDIR | stat.S_IMODE(mode))

    def symlink(self, parent: int, name: bytes, target: bytes, ctx):
        os.symlink(target, name, dir_fd=self.held[parent])
        return self.made(parent, name, ctx, None)

    def link(self, inode: int, parent: int, name: bytes, ctx):
        os.link(self.path(inode), name, dst_dir_fd=self.held[parent], follow_symlinks=True)
        return self.known(parent, name)

    def unlink(self, parent: int, name: bytes, ctx) -> None:
        os.unlink(name, dir_fd=self.held[parent])

    def rmdir(self, parent: int, name: bytes, ctx) -> None:
        os.rmdir(name, dir_fd=self.held[parent])

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, ctx) -> None:
        os.rename(name, new_name, src_dir_fd=self.held[parent], dst_dir_fd=self.held[new_parent])

    # -- open files; the handle is the descriptor

    def open(self, inode: int, flags: int, ctx) -> int:
        return os.open(self.path(inode), flags & ~(os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL | os.O_DIRECT))

    def create(self, parent: int, name: bytes, mode: int, flags: int, ctx):
        try:
            there = os.stat(name, dir_fd=self.held[parent], follow_symlinks=False)
        except FileNotFoundError:
            there = None
        fh = os.open(name, (flags | os.O_CREAT) & ~os.O_DIRECT, stat.S_IMODE(mode), dir_fd=self.held[parent])
        return fh, self.made(parent, name, ctx, mode) if there is None else self.known(parent, name)

    def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    def write(self, fh: int, off: int, buf: bytes) -> int:
        return os.pwrite(fh, buf, off)

    def flush(self, fh: int) -> None:
        return

    def release(self, fh: int) -> None:
        os.close(fh)

    def fsync(self, fh: int, datasync) -> None:
        os.fsync(fh)

    def fsyncdir(self, fh: int, datasync) -> None:
        return

    def opendir(self, inode: int, ctx) -> int:
        fh = max(self.listings, default=0) + 1
        self.listings[fh] = inode, []
        return fh

    def listing(self, inode: int) -> list[tuple[bytes, os.stat_result]]:
        found = []
        for name in [b".", b"..", *os.listdir(self.path(inode).encode())]:
            at = f"/proc/self/fd/{self.held[inode]}/".encode() + name
            if os.path.lexists(at):
                found.append((name, os.lstat(at)))
        return found

    def readdir(self, fh: int, off: int):
        inode, held = self.listings[fh]
        if off == 0:
            held = self.listing(inode)
            self.listings[fh] = inode, held
        return [(name, self.entry_of(found), at) for at, (name, found) in enumerate(held[off : off + 200], off + 1)]

    def releasedir(self, fh: int) -> None:
        del self.listings[fh]

    def access(self, inode: int, mode: int, ctx) -> bool:
        return True

    # -- extended attributes

    def getxattr(self, inode: int, name: bytes, ctx=None) -> bytes:
        return self.about(inode, lambda path, **how: os.getxattr(path, name, **how))

    def setxattr(self, inode: int, name: bytes, value: bytes, ctx) -> None:
        self.about(inode, lambda path, **how: os.setxattr(path, name, value, **how))

    def listxattr(self, inode: int, ctx) -> list[bytes]:
        return [name.encode() for name in self.about(inode, os.listxattr)]

    def removexattr(self, inode: int, name: bytes, ctx) -> None:
        self.about(inode, lambda path, **how: os.removexattr(path, name, **how))

    def about(self, inode: int, call):
        """Call with what leads to the inode itself: a descriptor, or the path of what cannot be opened."""
        if stat.S_IFMT(os.fstat(self.held[inode]).st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
            return call(os.readlink(self.path(inode)), follow_symlinks=False)
        descriptor = os.open(self.path(inode), os.O_RDONLY)
        try:
            return call(descriptor)
        finally:
            os.close(descriptor)


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import planted_faults

    os.umask(0)
    point, folder, *planted = sys.argv[1:]
    operations, options = PassThrough(folder), {"default_permissions", "allow_other", "fsname=pass-through", "big_writes"}
    for name in planted:
        planted_faults.FAULTS[name](operations, options)
    for name in vars(PassThrough):
        if name in vars(llfuse.Operations) and not name.startswith("_") and name != "init":
            setattr(operations, name, guarded(getattr(operations, name)))
    llfuse.init(operations, point, options)
    print("mounted", flush=True)
    try:
        llfuse.main(workers=1)
    finally:
        llfuse.close(unmount=True)


if __name__ == "__main__":
    main()
