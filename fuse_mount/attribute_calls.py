"""Calls on an inode's attributes: stat, chmod, chown, truncate, times, extended attributes, and the figures of the
whole mount.
"""

# ruff: noqa: ARG002 - the signatures are llfuse's

import errno
import os
import stat
from pathlib import Path
from typing import Final

import llfuse

from app.core.attributes import NAMESPACES
from app.core.ids import NAME_MAX
from app.core.operations import RemoveXattr, SetXattr
from app.core.tree import Node
from fuse_mount.asked_attributes import setattr_of
from fuse_mount.errno_map import refuse
from fuse_mount.local_calls import SIZE_MAX
from fuse_mount.namespace_calls import NamespaceCalls
from fuse_mount.sections import is_section
from fuse_mount.who import Who

XATTR_BYTES_MAX: Final = 64 * 1024
BLOCK: Final = 4096
TRUSTED: Final = b"trusted."
"""Names that only root is told of."""


class AttributeCalls(NamespaceCalls):
    """See llfuse.Operations. `home` is on the disk whose room statfs reports."""

    home: Path = Path("/")

    def getattr(self, inode: int, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        state = self.state
        known = state.answers.get(inode)
        if known is not None and known[0] is state.tree.nodes.get(inode) and not state.is_moving(inode):
            return known[1]
        if is_section(inode):
            return state.sections.getattr(inode)
        inode = state.inode(inode)
        return state.attributes(inode, state.node(inode))

    def setattr(
        self,
        inode: int,
        attr: llfuse.EntryAttributes,
        fields: llfuse.SetattrFields,
        fh: int | None,
        ctx: llfuse.RequestContext,
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations. For a directory the kernel holds that directory's lock: nothing here waits."""
        state = self.state
        handle = None if fh is None else state.files.handles.get(fh)
        who = state.callers.who(ctx.pid) if handle is None else handle.who
        if is_section(inode):
            raise refuse(errno.EROFS if state.options.read_only else errno.EPERM)
        if state.options.read_only:
            raise refuse(errno.EROFS)
        inode = state.inode(inode)
        node = state.node(inode)
        state.shown.drop(inode)
        path = state.tree.path_of(inode)
        who = state.gate.allow_file("truncate" if fields.update_size else "setattr", path, (inode, node), who)
        if fields.update_size:
            self._truncate(inode, node, attr.st_size, path, who, ctx.uid)
            node = state.node(inode)
        change = setattr_of(inode, node, attr, fields, ctx)
        if change is not None:
            if change.mtime_ns is not None and inode in state.contents.dirty:
                state.changes.seal(state.contents.dirty[inode])
            state.changes.record(change, path, who, ctx.uid)
            if change.mtime_ns is not None and inode in state.border.changed_ns:
                state.border.touched(inode, change.mtime_ns)
        return state.entry(inode, state.node(inode))

    def _truncate(self, inode: int, node: Node, size: int, path: bytes, who: Who, uid: int) -> None:
        if stat.S_ISDIR(node.mode):
            raise refuse(errno.EISDIR)
        if not stat.S_ISREG(node.mode):
            raise refuse(errno.EINVAL)
        if size > SIZE_MAX:
            raise refuse(errno.EFBIG)
        if size < 0:
            raise refuse(errno.EINVAL)
        self.state.changes.truncate(self.state.content(inode), size, path, who, uid)

    def access(self, inode: int, mode: int, ctx: llfuse.RequestContext) -> bool:
        """See llfuse.Operations; never asked, the kernel checks by itself (default_permissions)."""
        return True

    def statfs(self, ctx: llfuse.RequestContext) -> llfuse.StatvfsData:
        """See llfuse.Operations: room is that of the disk that holds journal and store."""
        disk = os.statvfs(self.home)
        found = llfuse.StatvfsData()
        found.f_bsize = found.f_frsize = BLOCK
        found.f_blocks = disk.f_blocks * disk.f_frsize // BLOCK
        found.f_bfree = disk.f_bfree * disk.f_frsize // BLOCK
        found.f_bavail = disk.f_bavail * disk.f_frsize // BLOCK
        found.f_files = 1 << 32
        found.f_ffree = found.f_favail = (1 << 32) - min(len(self.state.tree.nodes), 1 << 31)
        found.f_namemax = NAME_MAX
        return found

    def getxattr(self, inode: int, name: bytes, ctx: llfuse.RequestContext | None = None) -> bytes:
        """See llfuse.Operations; asked for security.capability before every write."""
        if not is_section(inode):
            for held, value in self.state.node(self.state.inode(inode)).xattrs:
                if held == name:
                    return value
        if name in NAMESPACES:
            raise refuse(errno.EINVAL)
        raise refuse(llfuse.ENOATTR if name.startswith(NAMESPACES) else errno.EOPNOTSUPP)

    def listxattr(self, inode: int, ctx: llfuse.RequestContext) -> list[bytes]:
        """See llfuse.Operations."""
        if is_section(inode):
            return []
        held = self.state.node(self.state.inode(inode)).xattrs
        return [name for name, _ in held if not ctx.uid or not name.startswith(TRUSTED)]

    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations. Access control lists are not kept: EOPNOTSUPP, as on a filesystem without them."""
        state = self.state
        who = state.callers.who(ctx.pid)
        inode = self._for_xattr(inode, name)
        node = state.node(inode)
        held = sum(len(key) + len(kept) for key, kept in node.xattrs if key != name)
        if len(name) > NAME_MAX:
            raise refuse(errno.ERANGE)
        if held + len(name) + len(value) > XATTR_BYTES_MAX:
            raise refuse(errno.ENOSPC)
        path = state.tree.path_of(inode)
        who = state.gate.allow_file("setxattr", path, (inode, node), who)
        state.changes.record(SetXattr(inode, name, value), path, who, ctx.uid)

    def removexattr(self, inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        state = self.state
        who = state.callers.who(ctx.pid)
        inode = self._for_xattr(inode, name)
        node = state.node(inode)
        if all(held != name for held, _ in node.xattrs):
            raise refuse(llfuse.ENOATTR)
        path = state.tree.path_of(inode)
        who = state.gate.allow_file("removexattr", path, (inode, node), who)
        state.changes.record(RemoveXattr(inode, name), path, who, ctx.uid)

    def _for_xattr(self, inode: int, name: bytes) -> int:
        if is_section(inode):
            raise refuse(errno.EPERM)
        if self.state.options.read_only:
            raise refuse(errno.EROFS)
        if not name.startswith(NAMESPACES):
            raise refuse(errno.EOPNOTSUPP)
        if name in NAMESPACES:
            raise refuse(errno.EINVAL)
        return self.state.inode(inode)

    def stacktrace(self) -> None:
        """See llfuse.Operations; nothing is printed for whoever can set an attribute."""
