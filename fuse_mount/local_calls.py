"""Calls on inodes of ephemeral paths: passed through to the folder on the disk. Names are in local_names.py.

Nothing here is journalled: what returned is the disk's own. **The path rules hold here as everywhere.** What may wait
for the disk (reads of what is not in memory, fsync) does so with llfuse.lock released; look-ups and listings do not
release it. What lies on the disk is never followed: the kernel follows links itself.
"""

# ruff: noqa: ARG002, PTH101, PTH115, PTH116 - the signatures are llfuse's; a path on the disk is bytes

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

import llfuse

from app.core.attributes import NAMESPACES
from app.core.ids import LOCAL
from app.core.operations import SetAttr
from app.core.tree import Node
from fuse_mount.asked_attributes import setattr_of, without_set_ids
from fuse_mount.errno_map import refuse
from fuse_mount.files import Listing
from fuse_mount.local_inodes import Known, is_local
from fuse_mount.sections import kernel_inode
from fuse_mount.state import MountState
from fuse_mount.who import Who

SIZE_MAX: Final = 1 << 43
ROOM_LOOK_BYTES: Final = 4 * 1024 * 1024
ROOM_BYTES: Final = 1024 * 1024 * 1024
ROOM_SHARE: Final = 20
"""A twentieth of the disk, at most 1 GiB, stays for the journal: what is recorded must not stop for what is not."""
_OPEN: Final = os.O_ACCMODE | os.O_TRUNC
"""Without O_APPEND: the kernel says where the end is, and pages of a shared mapping come through such a handle too."""
_SAFELY: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""The kernel opens fifos and devices itself; were one asked for here, nothing would wait for its other end."""
_WOULD_WAIT: Final = frozenset((errno.EAGAIN, errno.EOPNOTSUPP))


class LocalHandle:
    """An open file (`descriptor`), or a directory's listing."""

    __slots__ = ("descriptor", "inode", "listing", "who", "writable")

    def __init__(self, inode: int, descriptor: int, flags: int, who: Who) -> None:
        self.inode = inode
        self.descriptor = descriptor
        self.writable = flags & os.O_ACCMODE != os.O_RDONLY
        self.who = who
        self.listing = Listing([], [], [], [])


class LocalCalls:
    """See llfuse.Operations; handles are numbers from LOCAL on."""

    def __init__(self, state: MountState) -> None:
        self.state = state
        self.inodes = state.border.inodes
        self.handles: dict[int, LocalHandle] = {}
        self._next_number = LOCAL
        self._unlooked_bytes = ROOM_LOOK_BYTES

    # -- where an inode is

    def _at(self, inode: int) -> tuple[bytes, bool]:
        """Return where an inode can be reached, and whether that is a link to it: one that is open without a name."""
        known = self.inodes.get(inode)
        if known.names:
            return self.inodes.place(inode), False
        if known.descriptors:
            return b"/proc/self/fd/%d" % known.descriptors[0], True
        raise refuse(errno.ESTALE)  # the kernel looks its name up again: a rename may have replaced it

    def _status(self, inode: int) -> os.stat_result:
        known = self.inodes.get(inode)
        if not known.names and not known.descriptors and known.last is not None:
            return known.last
        place, linked = self._at(inode)
        return os.stat(place, follow_symlinks=linked)

    def entry(self, inode: int, status: os.stat_result) -> llfuse.EntryAttributes:
        """Return attributes as the kernel gets them."""
        entry = llfuse.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode, entry.st_uid, entry.st_gid = status.st_mode, status.st_uid, status.st_gid
        entry.st_nlink = status.st_nlink if self.inodes.get(inode).names else self._nlink_without_name(inode, status)
        entry.st_rdev, entry.st_size, entry.st_blocks = status.st_rdev, status.st_size, status.st_blocks
        entry.st_blksize = status.st_blksize
        entry.st_atime_ns, entry.st_mtime_ns = status.st_atime_ns, status.st_mtime_ns
        entry.st_ctime_ns = status.st_ctime_ns
        return entry

    def _nlink_without_name(self, inode: int, status: os.stat_result) -> int:
        known = self.inodes.get(inode)
        if known.descriptors:
            return status.st_nlink
        return 0 if stat.S_ISDIR(status.st_mode) else max(status.st_nlink - 1, 0)

    def _changeable(self, inode: int) -> Known:
        if self.state.options.read_only:
            raise refuse(errno.EROFS)
        return self.inodes.get(inode)

    def path(self, parent: int, name: bytes = b"") -> bytes:
        """Return the project's path of a directory or a name in it; ENOENT where what it lies in is gone."""
        top, below = self.inodes.chain(parent)
        if top not in self.state.tree.nodes:
            raise refuse(errno.ENOENT)
        return self.state.path(top, b"/".join(filter(None, (below, name))))

    def allow_file(self, operation: str, inode: int, who: Who) -> None:
        """Raise EACCES where a rule refuses an operation at any known name of an inode."""
        for parent, name in self.inodes.get(inode).names:
            self.state.gate.allow(operation, self.path(parent, name), who)

    # -- attributes

    def getattr(self, inode: int, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        return self.entry(inode, self._status(inode))

    def setattr(
        self,
        inode: int,
        attr: llfuse.EntryAttributes,
        fields: llfuse.SetattrFields,
        fh: int | None,
        ctx: llfuse.RequestContext,
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        handle = None if fh is None else self.handles.get(fh)
        who = self.state.callers.who(ctx.pid) if handle is None else handle.who
        self._changeable(inode)
        status = self._status(inode)
        self.allow_file("truncate" if fields.update_size else "setattr", inode, who)
        if fields.update_size:
            self._truncate(inode, attr.st_size, handle)
        change = setattr_of(inode, _node_of(status), attr, fields, ctx)
        if change is not None:
            self._set(inode, change, status)
        return self.entry(inode, self._status(inode))

    def _truncate(self, inode: int, size: int, handle: LocalHandle | None) -> None:
        if size > SIZE_MAX:
            raise refuse(errno.EFBIG)
        if handle is not None and handle.writable:
            os.ftruncate(handle.descriptor, size)
            return
        descriptor = self._opened(inode, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)

    def _set(self, inode: int, change: SetAttr, status: os.stat_result) -> None:
        place, linked = self._at(inode)
        times = change.atime_ns is not None or change.mtime_ns is not None
        owner = change.uid is not None or change.gid is not None
        if owner or (change.mode is None and not times):
            unchanged = -1
            uid = unchanged if change.uid is None else change.uid
            gid = unchanged if change.gid is None else change.gid
            os.chown(place, uid, gid, follow_symlinks=linked)
        if change.mode is not None:
            if stat.S_ISLNK(status.st_mode):
                raise refuse(errno.EOPNOTSUPP)
            os.chmod(place, change.mode)
        if times:
            atime_ns = status.st_atime_ns if change.atime_ns is None else change.atime_ns
            mtime_ns = self._status(inode).st_mtime_ns if change.mtime_ns is None else change.mtime_ns
            os.utime(place, ns=(atime_ns, mtime_ns), follow_symlinks=linked)

    def readlink(self, inode: int, ctx: llfuse.RequestContext) -> bytes:
        """See llfuse.Operations."""
        return os.readlink(self._at(inode)[0])

    def access(self, inode: int, mode: int, ctx: llfuse.RequestContext) -> bool:
        """See llfuse.Operations; never asked."""
        return True

    def getxattr(self, inode: int, name: bytes, ctx: llfuse.RequestContext | None = None) -> bytes:
        """See llfuse.Operations."""
        if not name.startswith(NAMESPACES):
            raise refuse(errno.EOPNOTSUPP)
        place, linked = self._at(inode)
        return os.getxattr(place, name, follow_symlinks=linked)

    def listxattr(self, inode: int, ctx: llfuse.RequestContext) -> list[bytes]:
        """See llfuse.Operations."""
        place, linked = self._at(inode)
        found = [os.fsencode(name) for name in os.listxattr(place, follow_symlinks=linked)]
        return [name for name in found if name.startswith(NAMESPACES)]

    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        place, linked = self._for_xattr("setxattr", inode, name, ctx)
        os.setxattr(place, name, value, follow_symlinks=linked)

    def removexattr(self, inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        place, linked = self._for_xattr("removexattr", inode, name, ctx)
        os.removexattr(place, name, follow_symlinks=linked)

    def _for_xattr(self, operation: str, inode: int, name: bytes, ctx: llfuse.RequestContext) -> tuple[bytes, bool]:
        who = self.state.callers.who(ctx.pid)
        self._changeable(inode)
        if not name.startswith(NAMESPACES):
            raise refuse(errno.EOPNOTSUPP)
        self.allow_file(operation, inode, who)
        return self._at(inode)

    # -- open files

    def open(self, inode: int, flags: int, ctx: llfuse.RequestContext) -> int:
        """See llfuse.Operations."""
        who = self.state.callers.who(ctx.pid)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self._changeable(inode)
            self.allow_file("write", inode, who)
        if flags & os.O_TRUNC and ctx.uid:
            self._clear_set_ids(inode, ctx)
        return self._add(inode, self._opened(inode, flags), flags, who)

    def _clear_set_ids(self, inode: int, ctx: llfuse.RequestContext) -> None:
        status = self._status(inode)
        cleared = without_set_ids(_node_of(status), ctx)
        if cleared != stat.S_IMODE(status.st_mode):
            os.chmod(self._at(inode)[0], cleared)

    def _opened(self, inode: int, flags: int) -> int:
        place, linked = self._at(inode)
        return os.open(place, flags & _OPEN | _SAFELY | (0 if linked else os.O_NOFOLLOW))

    def _add(self, inode: int, descriptor: int, flags: int, who: Who) -> int:
        number = self._next_number
        self._next_number += 1
        self.handles[number] = LocalHandle(inode, descriptor, flags, who)
        if descriptor >= 0:
            self.inodes.get(inode).descriptors.append(descriptor)
        return number

    def read(self, fh: int, off: int, size: int) -> bytes:
        """See llfuse.Operations."""
        descriptor = self.handles[fh].descriptor
        buffer = bytearray(size)
        try:
            count = os.preadv(descriptor, [buffer], off, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in _WOULD_WAIT:
                raise
            count = -1
        if count == size:
            return bytes(buffer)
        with self.state.readers:
            return os.pread(descriptor, size, off)

    def write(self, fh: int, off: int, buf: bytes) -> int:
        """See llfuse.Operations."""
        handle = self.handles[fh]
        if not handle.writable:
            raise refuse(errno.EBADF)
        self._look_for_room(len(buf))
        return os.pwrite(handle.descriptor, buf, off)

    def _look_for_room(self, length: int) -> None:
        self._unlooked_bytes += length
        if self._unlooked_bytes < ROOM_LOOK_BYTES:
            return
        disk = os.statvfs(self.inodes.folder)
        if disk.f_bavail * disk.f_frsize < min(ROOM_BYTES, disk.f_blocks * disk.f_frsize // ROOM_SHARE):
            raise refuse(errno.ENOSPC)
        self._unlooked_bytes = 0

    def flush(self, fh: int) -> None:
        """See llfuse.Operations; everything is on its way already."""

    def release(self, fh: int) -> None:
        """See llfuse.Operations."""
        handle = self.handles.pop(fh)
        if handle.descriptor >= 0:
            self.inodes.get(handle.inode).descriptors.remove(handle.descriptor)
            os.close(handle.descriptor)
        self.inodes.let_go(handle.inode)

    def fsync(self, fh: int, datasync: bool) -> None:  # noqa: FBT001 - llfuse's signature
        """See llfuse.Operations."""
        descriptor = self.handles[fh].descriptor
        with self.state.readers:
            (os.fdatasync if datasync else os.fsync)(descriptor)

    # -- listings

    def opendir(self, inode: int, ctx: llfuse.RequestContext) -> int:
        """See llfuse.Operations."""
        self.inodes.get(inode)
        return self._add(inode, -1, os.O_RDONLY, Who(""))

    def readdir(self, fh: int, off: int) -> Iterator[tuple[bytes, llfuse.EntryAttributes, int]]:
        """See llfuse.Operations; a listing is taken at offset 0."""
        handle = self.handles[fh]
        if off == 0:
            handle.listing = self._listing(handle.inode)
        return _entries(handle.listing, off)

    def _listing(self, inode: int) -> Listing:
        names = self.inodes.get(inode).names
        found = self.inodes.listed(inode) if names else []
        up = names[0][0] if names else inode
        above = up if is_local(up) else kernel_inode(up)
        return Listing(
            [b".", b"..", *(name for name, _, _ in found)],
            [inode, above, *(number for _, number, _ in found)],
            [stat.S_IFDIR, stat.S_IFDIR, *(kind for _, _, kind in found)],
            [],
        )

    def releasedir(self, fh: int) -> None:
        """See llfuse.Operations."""
        self.release(fh)

    def fsyncdir(self, fh: int, datasync: bool) -> None:  # noqa: FBT001 - llfuse's signature
        """See llfuse.Operations."""
        descriptor = os.open(self._at(self.handles[fh].inode)[0], os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self.state.readers:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entries(listing: Listing, start: int) -> Iterator[tuple[bytes, llfuse.EntryAttributes, int]]:
    """Yield entries until the kernel's buffer is full; nothing here may raise."""
    entry = llfuse.EntryAttributes()
    for at in range(start, len(listing.names)):
        entry.st_ino, entry.st_mode = listing.inodes[at], listing.modes[at]
        yield listing.names[at], entry, at + 1


def _node_of(status: os.stat_result) -> Node:
    return Node(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size, 0, 0, 0)
