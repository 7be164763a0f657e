"""Calls that make, move and remove ephemeral names: inside a directory that is ephemeral, or at the border, where the
parent is a tracked directory. See local_calls.py.
"""

# ruff: noqa: ARG002, PTH101, PTH102, PTH103, PTH104, PTH211 - the signatures are llfuse's; a path on the disk is bytes

import errno
import os
import stat
from typing import Final

import llfuse

from app.core.ids import NAME_MAX
from fuse_mount.attributes import absent
from fuse_mount.errno_map import refuse
from fuse_mount.local_calls import LocalCalls
from fuse_mount.local_inodes import is_local, paths_below

_PRIVATE: Final = 0o700


class LocalNames(LocalCalls):
    """See llfuse.Operations; a parent is a kernel inode, of either side."""

    def _parent(self, kernel: int) -> int:
        return kernel if is_local(kernel) else self.state.border.directory(kernel)

    def _parent_to_change(self, kernel: int, name: bytes) -> int:
        """Return the parent of a name that is to be made or to go."""
        if not 0 < len(name) <= NAME_MAX:
            raise refuse(errno.ENAMETOOLONG if name else errno.EINVAL)
        if is_local(kernel):
            self._changeable(kernel)
            return kernel
        return self.state.directory(kernel)

    def lookup(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        parent = self._parent(parent_inode)
        if len(name) > NAME_MAX:
            raise refuse(errno.ENAMETOOLONG)
        try:
            return self.found(parent, name)
        except FileNotFoundError:
            return absent()

    def found(self, parent: int, name: bytes) -> llfuse.EntryAttributes:
        """Return a name's attributes, counted as one look-up; ENOENT where it is not there."""
        status = os.lstat(self.inodes.place(parent, name))
        return self.entry(self.inodes.found(parent, name, status.st_ino), status)

    def is_directory(self, kernel_parent: int, name: bytes) -> bool:
        """Tell whether an ephemeral name is a directory."""
        return stat.S_ISDIR(os.lstat(self.inodes.place(self._parent(kernel_parent), name)).st_mode)

    # -- making

    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        parent, place, mode, gid = self._to_make(parent_inode, name, mode, ctx)
        os.mknod(place, stat.S_IFMT(mode) | stat.S_IRUSR | stat.S_IWUSR, rdev)
        return self._made(parent, name, (mode, ctx.uid, gid))

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        parent, place, mode, gid = self._to_make(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx)
        os.mkdir(place, _PRIVATE)
        return self._made(parent, name, (mode, ctx.uid, gid))

    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        parent, place, mode, gid = self._to_make(parent_inode, name, stat.S_IFLNK, ctx)
        os.symlink(target, place)
        return self._made(parent, name, (mode, ctx.uid, gid))

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: llfuse.RequestContext
    ) -> tuple[int, llfuse.EntryAttributes]:
        """See llfuse.Operations."""
        if not flags & os.O_EXCL and os.path.lexists(self.inodes.place(self._parent(parent_inode), name)):
            entry = self.found(self._parent(parent_inode), name)
            return self.open(entry.st_ino, flags, ctx), entry
        who = self.state.callers.who(ctx.pid)
        parent, place, mode, gid = self._to_make(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        access = flags & os.O_ACCMODE
        descriptor = os.open(place, access | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            entry = self._made(parent, name, (mode, ctx.uid, gid))
        except BaseException:
            os.close(descriptor)
            raise
        return self._add(entry.st_ino, descriptor, flags, who), entry

    def _to_make(
        self, kernel_parent: int, name: bytes, mode: int, ctx: llfuse.RequestContext
    ) -> tuple[int, bytes, int, int]:
        """Check, and return (parent, place on the disk, mode, group)."""
        who = self.state.callers.who(ctx.pid)
        parent = self._parent_to_change(kernel_parent, name)
        place = self.inodes.place(parent, name)
        if os.path.lexists(place):
            raise refuse(errno.EEXIST)
        if os.geteuid() and ctx.uid != os.geteuid():
            raise refuse(errno.EACCES)  # nothing can be given to somebody else
        self.state.gate.allow("create", self.path(parent, name), who)
        if not is_local(parent):
            os.makedirs(self.inodes.place(parent), _PRIVATE, exist_ok=True)
            above_mode, gid = self.state.tree.nodes[parent].mode, self.state.tree.nodes[parent].gid
        else:
            above = self._status(parent)
            above_mode, gid = above.st_mode, above.st_gid
        if above_mode & stat.S_ISGID:
            return parent, place, mode | (stat.S_ISGID if stat.S_ISDIR(mode) else 0), gid
        return parent, place, mode, ctx.gid

    def _made(self, parent: int, name: bytes, bears: tuple[int, int, int]) -> llfuse.EntryAttributes:
        """Give what was made its owner and mode; it goes again where that fails."""
        mode, uid, gid = bears
        place = self.inodes.place(parent, name)
        try:
            if (uid, gid) != (os.geteuid(), os.getegid()):
                os.chown(place, uid, gid, follow_symlinks=False)
            if not stat.S_ISLNK(mode):
                os.chmod(place, stat.S_IMODE(mode))
        except OSError:
            (os.rmdir if stat.S_ISDIR(mode) else os.unlink)(place)
            raise
        self._came(parent, name, directory=stat.S_ISDIR(mode))
        return self.found(parent, name)

    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations; both sides are ephemeral."""
        who = self.state.callers.who(ctx.pid)
        parent = self._parent_to_change(new_parent_inode, new_name)
        source, linked = self._at(inode)
        if linked:
            raise refuse(errno.ENOENT)
        self.state.gate.allow("link", self.path(parent, new_name), who)
        self.allow_file("link", inode, who)
        if not is_local(parent):
            os.makedirs(self.inodes.place(parent), _PRIVATE, exist_ok=True)
        os.link(source, self.inodes.place(parent, new_name), follow_symlinks=False)
        self._came(parent, new_name, directory=False)
        return self.found(parent, new_name)

    # -- removing and moving

    def unlink(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        self._remove(parent_inode, name, ctx, directory=False)

    def rmdir(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        self._remove(parent_inode, name, ctx, directory=True)

    def _remove(self, kernel_parent: int, name: bytes, ctx: llfuse.RequestContext, *, directory: bool) -> None:
        who = self.state.callers.who(ctx.pid)
        parent = self._parent_to_change(kernel_parent, name)
        place = self.inodes.place(parent, name)
        status = os.lstat(place)
        self.state.gate.allow("unlink", self.path(parent, name), who)
        (os.rmdir if directory else os.unlink)(place)
        self._went(parent, name, status)

    def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, ctx: llfuse.RequestContext
    ) -> None:
        """See llfuse.Operations; both sides are ephemeral."""
        who = self.state.callers.who(ctx.pid)
        old = self._parent_to_change(parent_inode_old, name_old), name_old
        new = self._parent_to_change(parent_inode_new, name_new), name_new
        place, target = self.inodes.place(*old), self.inodes.place(*new)
        status = os.lstat(place)
        replaced = os.lstat(target) if os.path.lexists(target) else None
        if replaced is not None and replaced.st_ino == status.st_ino:
            return
        inside = (lambda: paths_below(place)) if stat.S_ISDIR(status.st_mode) else None
        self.state.gate.allow_move_of(self.path(*old), self.path(*new), inside, who)
        if not is_local(new[0]):
            os.makedirs(self.inodes.place(new[0]), _PRIVATE, exist_ok=True)
        os.rename(place, target)
        if replaced is not None:
            self.inodes.removed(*new, replaced)
        self.inodes.moved(old, new, status.st_ino)
        self._came(*new, directory=stat.S_ISDIR(status.st_mode))
        self._left(*old)

    # -- the border

    def _came(self, parent: int, name: bytes, *, directory: bool) -> None:
        if not is_local(parent):
            self.state.border.added(parent, name, is_directory=directory)

    def _left(self, parent: int, name: bytes) -> None:
        if not is_local(parent):
            self.state.border.removed(parent, name)

    def _went(self, parent: int, name: bytes, was: os.stat_result) -> None:
        self.inodes.removed(parent, name, was)
        self._left(parent, name)
