"""Calls that find, make, move and remove names.

The kernel enters all that change something with the directory's inode lock: **none of these waits**. Checked again
here, though the kernel checks too: what it knows of another mount's changes may be older than the tree.
"""

# ruff: noqa: ARG002 - the signatures are llfuse's

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import llfuse

from app.core.ids import NAME_MAX, ROOT_INODE
from app.core.operations import Link, Make, Rename, Rmdir, Unlink
from app.core.tree import Node
from fuse_mount.attributes import ABSENT
from fuse_mount.errno_map import refuse
from fuse_mount.files import Handle, Listing
from fuse_mount.listings import Entry, Listings, part
from fuse_mount.local_inodes import is_local
from fuse_mount.local_names import LocalNames
from fuse_mount.sections import CURRENT, is_section, kernel_inode
from fuse_mount.state import MountState
from fuse_mount.who import Who

LINKS_MAX: Final = 65_000
TARGET_MAX: Final = 4095
TYPE_BITS: Final = 0o170000


class NamespaceCalls(llfuse.Operations):
    """See llfuse.Operations."""

    def __init__(self, state: MountState) -> None:
        super().__init__()
        self.state = state
        self.local = LocalNames(state)
        self.listings = Listings()

    def lookup(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations; a name that is not there is answered with inode 0, which the kernel keeps."""
        state = self.state
        if is_section(parent_inode):
            found = state.sections.lookup(parent_inode, name)
            return state.found(ROOT_INODE, state.node(ROOT_INODE)) if isinstance(found, int) else found
        child = state.tree.child(state.inode(parent_inode), name)
        if child is None:
            if len(name) > NAME_MAX:
                raise refuse(errno.ENAMETOOLONG)
            if state.border.names and state.border.holds(parent_inode, name):
                return self.local.found(state.inode(parent_inode), name)
            return ABSENT
        return state.found(child, state.node(child))

    def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """See llfuse.Operations."""
        state = self.state
        for kernel, count in inode_list:
            if is_local(kernel):
                state.border.inodes.forget(kernel, count)
                continue
            if is_section(kernel):
                state.sections.forget(kernel, count)
                continue
            inode = ROOT_INODE if kernel == CURRENT else kernel
            left = state.lookups.get(inode, 0) - count
            if left > 0:
                state.lookups[inode] = left
            else:
                state.lookups.pop(inode, None)
                state.released(inode)

    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        who = self.state.callers.who(ctx.pid)
        return self._make(parent_inode, name, mode, ctx, who, rdev=rdev)[1]

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        who = self.state.callers.who(ctx.pid)
        return self._make(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx, who)[1]

    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        who = self.state.callers.who(ctx.pid)
        if len(target) > TARGET_MAX:
            raise refuse(errno.ENAMETOOLONG)
        return self._make(parent_inode, name, stat.S_IFLNK | 0o777, ctx, who, target=target)[1]

    def _make(
        self,
        kernel_parent: int,
        name: bytes,
        mode: int,
        ctx: llfuse.RequestContext,
        who: Who,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> tuple[int, llfuse.EntryAttributes, Who]:
        state = self.state
        parent = state.directory(kernel_parent)
        state.fresh_name(parent, name)
        holder = state.tree.nodes[parent]
        gid = ctx.gid
        if holder.mode & stat.S_ISGID:
            gid = holder.gid
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        if stat.S_ISDIR(mode) and holder.nlink >= LINKS_MAX:
            raise refuse(errno.EMLINK)
        path = state.path(parent, name)
        who = state.gate.allow("create", path, who)
        inode = state.new_inode()
        state.changes.record(Make(parent, name, inode, mode, ctx.uid, gid, rdev, target), path, who, ctx.uid)
        state.changes.made(inode)
        return inode, state.found(inode, state.tree.nodes[inode]), who

    def unlink(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        state = self.state
        who = state.callers.who(ctx.pid)
        parent = state.directory(parent_inode)
        inode = state.named(parent, name)
        node = state.node(inode)
        if stat.S_ISDIR(node.mode):
            raise refuse(errno.EISDIR)
        path = state.path(parent, name)
        who = state.gate.allow("unlink", path, who)
        at_ns = state.changes.now_ns()
        state.changes.record(Unlink(parent, name, inode), path, who, ctx.uid, at_ns)
        state.keep_orphan(inode, node, at_ns)

    def rmdir(self, parent_inode: int, name: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        state = self.state
        who = state.callers.who(ctx.pid)
        parent = state.directory(parent_inode)
        inode = state.named(parent, name)
        node = state.node(inode)
        if not stat.S_ISDIR(node.mode):
            raise refuse(errno.ENOTDIR)
        if state.tree.has_children(inode) or inode in state.border.names:
            raise refuse(errno.ENOTEMPTY)
        path = state.path(parent, name)
        who = state.gate.allow("unlink", path, who)
        at_ns = state.changes.now_ns()
        state.changes.record(Rmdir(parent, name, inode), path, who, ctx.uid, at_ns)
        state.keep_orphan(inode, node, at_ns)

    def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, ctx: llfuse.RequestContext
    ) -> None:
        """See llfuse.Operations."""
        state = self.state
        who = state.callers.who(ctx.pid)
        parent = state.directory(parent_inode_old)
        new_parent = parent if parent_inode_new == parent_inode_old else state.directory(parent_inode_new)
        inode = state.named(parent, name_old)
        if len(name_new) > NAME_MAX:
            raise refuse(errno.ENAMETOOLONG)
        target = state.tree.child(new_parent, name_new)
        if target == inode:
            return
        replaced = None if target is None else state.node(target)
        self._check_rename(inode, state.node(inode), new_parent, replaced, target or 0)
        old_path, path = state.path(parent, name_old), state.path(new_parent, name_new)
        who = state.gate.allow_move(inode, old_path, path, who)
        if inode in state.contents.dirty:
            state.changes.seal(state.contents.dirty[inode])
        at_ns = state.changes.now_ns()
        state.changes.record(
            Rename(parent, name_old, inode, new_parent, name_new, target or 0), path, who, ctx.uid, at_ns
        )
        if target is not None and replaced is not None:
            state.keep_orphan(target, replaced, at_ns)

    def _check_rename(self, inode: int, node: Node, new_parent: int, replaced: Node | None, target: int) -> None:
        tree = self.state.tree
        if stat.S_ISDIR(node.mode):
            above = new_parent
            while above != ROOT_INODE:
                if above == inode:
                    raise refuse(errno.EINVAL)
                above = tree.nodes[above].parent
        if replaced is None:
            return
        if stat.S_ISDIR(replaced.mode) != stat.S_ISDIR(node.mode):
            raise refuse(errno.EISDIR if stat.S_ISDIR(replaced.mode) else errno.ENOTDIR)
        if stat.S_ISDIR(replaced.mode) and (tree.has_children(target) or target in self.state.border.names):
            raise refuse(errno.ENOTEMPTY)

    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: llfuse.RequestContext
    ) -> llfuse.EntryAttributes:
        """See llfuse.Operations; content is sealed first, so that all names have it."""
        state = self.state
        who = state.callers.who(ctx.pid)
        if is_section(inode):
            raise refuse(errno.EXDEV)
        parent = state.directory(new_parent_inode)
        state.fresh_name(parent, new_name)
        node = state.tree.nodes.get(state.inode(inode))
        if node is None:
            raise refuse(errno.ENOENT)
        if stat.S_ISDIR(node.mode):
            raise refuse(errno.EPERM)
        if node.nlink >= LINKS_MAX:
            raise refuse(errno.EMLINK)
        path = state.path(parent, new_name)
        who = state.gate.allow("link", path, who)
        who = state.gate.allow_file("link", state.tree.path_of(inode), (inode, node), who)
        if inode in state.contents.dirty:
            state.changes.seal(state.contents.dirty[inode])
        state.changes.record(Link(inode, parent, new_name), path, who, ctx.uid)
        return state.found(inode, state.tree.nodes[inode])

    def readlink(self, inode: int, ctx: llfuse.RequestContext) -> bytes:
        """See llfuse.Operations."""
        if is_section(inode):
            raise refuse(errno.EINVAL)
        node = self.state.node(self.state.inode(inode))
        if not stat.S_ISLNK(node.mode):
            raise refuse(errno.EINVAL)
        return node.target

    def opendir(self, inode: int, ctx: llfuse.RequestContext) -> int:
        """See llfuse.Operations."""
        held = inode if is_section(inode) or inode == CURRENT else self.state.inode(inode)
        return self.state.files.add(Handle(held, os.O_RDONLY, Who("")))

    def readdir(self, fh: int, off: int) -> Iterable[Entry]:
        """See llfuse.Operations; a listing is taken at offset 0, and read to its end whatever changes meanwhile."""
        handle = self.state.files.handles[fh]
        listing = handle.listing
        if off == 0 or listing is None:
            listing = handle.listing = self._listing(handle.inode)
        return part(listing, off) if listing.ready else self._entries(listing, off)

    def _entries(self, listing: Listing, start: int) -> Iterator[Entry]:
        """Yield entries until the kernel's buffer is full (4 to 32 KiB). llfuse copies each before the next, so
        that one object serves all. **Nothing here may raise**: the iteration is beyond the reach of guard.answered.
        """
        entry, nodes = llfuse.EntryAttributes(), self.state.tree.nodes
        names, inodes, modes, _ = listing
        known = len(modes)
        for at in range(start, len(names)):
            inode = entry.st_ino = inodes[at]
            if at < known:
                entry.st_mode = modes[at]
            else:
                node = nodes.get(inode)
                entry.st_mode = 0 if node is None else node.mode & TYPE_BITS
            yield names[at], entry, at + 1

    def _listing(self, inode: int) -> Listing:
        if is_section(inode):
            found = self.state.sections.entries(inode)
            names, inodes = [name for name, _, _ in found], [number for _, number, _ in found]
            above = [stat.S_IFDIR, stat.S_IFDIR]
            return Listing(
                [b".", b"..", *names], [inode, llfuse.ROOT_INODE, *inodes], [*above, *(mode for *_, mode in found)], []
            )
        inode = self.state.inode(inode)
        node = self.state.node(inode)
        if inode in self.state.border.names:
            return self._listing_of(inode, node)
        known = self.listings.again(inode, node, self.state.tree.nodes)
        if known is None:
            known = self._listing_of(inode, node)
            self.listings.keep(inode, node, known)
        return known

    def _listing_of(self, inode: int, node: Node) -> Listing:
        up = llfuse.ROOT_INODE if inode == ROOT_INODE else kernel_inode(node.parent)
        below = self.state.tree.children.get(inode, {})
        more = self.state.border.listed(inode) if inode in self.state.border.names else ()
        return Listing(
            [b".", b"..", *(name for name, _, _ in more), *below],
            [kernel_inode(inode), up, *(number for _, number, _ in more), *below.values()],
            [stat.S_IFDIR, stat.S_IFDIR, *(kind for _, _, kind in more)],
            [],
        )

    def releasedir(self, fh: int) -> None:
        """See llfuse.Operations."""
        self.state.released(self.state.files.remove(fh).inode)
