"""The hash by which two trees are compared: what a program can see by path, and nothing of how it is kept.

Over sorted paths: type and permission bits, uid, gid, size, mtime_ns, content hash, link target, device, xattrs, and
for hard links the first of their paths. No inode, no ctime, no atime: they differ between mounts of one tree.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from app.core.ids import ROOT_INODE
from app.core.nodes import REGULAR, TYPE_BITS, Node, is_directory

_encode: Final = msgspec.msgpack.Encoder().encode
ContentHash = Callable[[int, Node], bytes]
"""(inode, node) of a regular file -> the hash of its bytes."""


class TreeReads(Protocol):
    """What hashing needs of a tree."""

    def node(self, inode: int) -> Node | None:
        """Return an inode's node."""

    def entries(self, directory: int) -> list[tuple[bytes, int]]:
        """Return (name, inode) of a directory, in any order."""


def walk(tree: TreeReads, inode: int = ROOT_INODE) -> Iterator[tuple[bytes, int, Node]]:
    """Yield (path, inode, node) of `inode` (path b'') and all below it, sorted by whole names."""
    stack = [(b"", inode)]
    while stack:
        path, at = stack.pop()
        node = tree.node(at)
        if node is None:
            continue
        yield path, at, node
        if is_directory(node):
            below = sorted(tree.entries(at), reverse=True)
            stack.extend((path + b"/" + name if path else name, child) for name, child in below)


def tree_hash(tree: TreeReads, content_hash: ContentHash) -> str:
    """Return the comparison hash of a tree as 64 hex digits."""
    digest = hashlib.sha256()
    first_path: dict[int, bytes] = {}
    for path, inode, node in walk(tree):
        directory = is_directory(node)
        group = b"" if directory or node.nlink < 2 else first_path.setdefault(inode, path)
        content = content_hash(inode, node) if node.mode & TYPE_BITS == REGULAR else b""
        size = 0 if directory else node.size
        row = (
            path,
            node.mode,
            node.uid,
            node.gid,
            size,
            node.mtime_ns,
            content,
            node.target,
            node.rdev,
            node.xattrs,
            group,
        )
        digest.update(_encode(row))
    return digest.hexdigest()
