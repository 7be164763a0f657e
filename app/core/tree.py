"""The tree: nodes, names and the one function that folds an operation into them.

Store worker, mount and simulator run the same `apply`; a confirmed tree is a pure function of the position.
"""

from typing import Protocol

import msgspec

from app.core.ids import EMPTY_VERSION, VersionId
from app.core.messages import Outcome
from app.core.operations import FileOperationRequest


class Node(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An inode's attributes: `mode` is the full st_mode, `parent` is set for directories only (0 else).

    `nlink` counts names for files, and 2 + sub-directories for directories.
    """

    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    version: VersionId = EMPTY_VERSION
    parent: int = 0
    rdev: int = 0
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class TreeState(Protocol):
    """Where a tree is kept: dictionaries (mount, simulator) or the rows of one transaction (store).

    Reads see earlier writes of the same state. Removing what is not there is an error of the caller.
    """

    def node(self, inode: int) -> Node | None:
        """Return an inode's node; None if it is not in the confirmed tree."""

    def child(self, parent: int, name: bytes) -> int | None:
        """Return the inode at a name."""

    def has_children(self, directory: int) -> bool:
        """Tell whether a directory has any name in it."""

    def alias(self, inode: int) -> int:
        """Return the directory that `inode` was merged into, else `inode`."""

    def put_node(self, inode: int, node: Node) -> None:
        """Create or replace a node."""

    def drop_node(self, inode: int) -> None:
        """Remove a node."""

    def put_child(self, parent: int, name: bytes, inode: int) -> None:
        """Set a name."""

    def drop_child(self, parent: int, name: bytes) -> None:
        """Remove a name."""

    def put_alias(self, inode: int, target: int) -> None:
        """From now on `inode` means `target`."""


def apply(state: TreeState, request: FileOperationRequest, incarnation: int, origin_name: str) -> Outcome:
    """Fold one request into `state` by the conflict table and return what became of it.

    A rejected or shadowed operation changes nothing. Total: never raises on any decodable request.
    """
    raise NotImplementedError
