"""What a tree is made of: the attributes of an inode, and where nodes and names are kept."""

from typing import Final, Protocol, TypeGuard

import msgspec

from app.core.ids import EMPTY_VERSION, ROOT_INODE, VersionId

TYPE_BITS: Final = 0o170000
DIRECTORY: Final = 0o040000
REGULAR: Final = 0o100000
I64: Final = 2**63
U32: Final = 2**32


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


ROOT_NODE: Final = Node(0o40755, 0, 0, 2, 0, 0, 0, 0, parent=ROOT_INODE)


def is_directory(node: Node | None) -> TypeGuard[Node]:
    """Tell whether a node is there and is a directory."""
    return node is not None and node.mode & TYPE_BITS == DIRECTORY
