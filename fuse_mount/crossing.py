"""Which side of the border a call is for: the tree's handlers, or those of ephemeral paths.

A call on an ephemeral inode or handle is told by its number. A call that makes a name is told by the patterns where
its parent is tracked. What would join both sides (a link, a rename) is between two filesystems: EXDEV, so that mv
copies.
"""

import errno
import stat
from collections.abc import Callable
from typing import Any, Final

import llfuse

from fuse_mount.border import Border
from fuse_mount.errno_map import passed_on, refuse
from fuse_mount.local_inodes import is_local
from fuse_mount.local_names import LocalNames

Handler = Callable[..., Any]
BY_NUMBER: Final = (
    *("getattr", "setattr", "readlink", "access", "getxattr", "setxattr", "listxattr", "removexattr", "open", "read"),
    *("write", "flush", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir", "lookup"),
)
"""Calls whose first argument is an inode or a handle."""


def passing(call: Handler) -> Handler:
    """Return a call of LocalNames such that what the disk refuses is refused with the disk's errno."""

    def passed(*args: object) -> object:
        try:
            return call(*args)
        except OSError as error:
            raise passed_on(error) from error

    return passed


class Crossing:
    """Chooses. `own` are the tree's handlers."""

    def __init__(self, border: Border, own: llfuse.Operations, local: LocalNames) -> None:
        self._border = border
        self._own = own
        self._local = local
        self._rename, self._link = own.rename, own.link

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers, by name, that must choose by more than a number."""
        removing = {name: self._removing(name) for name in ("unlink", "rmdir")}
        making = {name: self._making(name, directory=name == "mkdir") for name in ("mkdir", "mknod", "symlink")}
        return {**removing, **making, "create": self._making("create", directory=False)} | {
            "rename": self.rename,
            "link": self.link,
        }

    def _is_there(self, parent: int, name: bytes) -> bool:
        return is_local(parent) or (name in self._border.ever and self._border.holds(parent, name))

    def _goes_there(self, parent: int, name: bytes, *, directory: bool) -> bool:
        return is_local(parent) or self._border.takes(parent, name, directory=directory)

    def _removing(self, name: str) -> Handler:
        own, passed = getattr(self._own, name), passing(getattr(self._local, name))

        def remove(parent: int, child: bytes, ctx: llfuse.RequestContext) -> None:
            (passed if self._is_there(parent, child) else own)(parent, child, ctx)

        return remove

    def _making(self, name: str, *, directory: bool) -> Handler:
        own, passed = getattr(self._own, name), passing(getattr(self._local, name))

        may_take = self._border.may_take

        def make(parent: int, child: bytes, *rest: object) -> object:
            if not may_take(child) and not is_local(parent):
                return own(parent, child, *rest)
            return (passed if self._goes_there(parent, child, directory=directory) else own)(parent, child, *rest)

        return make

    def rename(self, old: int, name_old: bytes, new: int, name_new: bytes, ctx: llfuse.RequestContext) -> None:
        """See llfuse.Operations."""
        if is_local(old) or is_local(new) or name_old in self._border.ever or self._border.may_take(name_new):
            leaves = self._is_there(old, name_old)
            if leaves != self._goes_there(new, name_new, directory=self._is_directory(old, name_old, local=leaves)):
                raise refuse(errno.EXDEV)
            call = passing(self._local.rename) if leaves else self._rename
        else:
            call = self._rename
        call(old, name_old, new, name_new, ctx)

    def _is_directory(self, parent: int, name: bytes, *, local: bool) -> bool:
        if local:
            return passing(self._local.is_directory)(parent, name) is True
        tree = self._local.state.tree
        child = tree.child(self._border.directory(parent), name)
        node = None if child is None else tree.nodes.get(child)
        return node is not None and stat.S_ISDIR(node.mode)

    def link(self, inode: int, parent: int, name: bytes, ctx: llfuse.RequestContext) -> llfuse.EntryAttributes:
        """See llfuse.Operations."""
        if is_local(inode) != self._goes_there(parent, name, directory=False):
            raise refuse(errno.EXDEV)
        if not is_local(inode):
            return self._link(inode, parent, name, ctx)
        found: llfuse.EntryAttributes = passing(self._local.link)(inode, parent, name, ctx)
        return found
