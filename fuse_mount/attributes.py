"""Nodes as the kernel sees them."""

import os
import stat
from typing import Final

import llfuse

from app.core.chunks import HOLE
from app.core.ids import CHUNK_BYTES
from app.core.tree import Node
from fuse_mount.file_content import FileContent
from fuse_mount.parked import length_of

KEPT_S: Final = 300.0
BLOCK: Final = 512


def entry_of(inode: int, node: Node, file: FileContent | None = None) -> llfuse.EntryAttributes:
    """Return an inode's attributes; `file` is its content where this mount holds it, maybe ahead of the tree."""
    entry = llfuse.EntryAttributes()
    entry.st_ino = inode
    entry.st_mode = node.mode
    entry.st_nlink = node.nlink
    entry.st_uid = node.uid
    entry.st_gid = node.gid
    entry.st_rdev = node.rdev
    entry.st_atime_ns = node.atime_ns
    entry.st_blksize = CHUNK_BYTES
    if file is not None and file.since_s:
        entry.st_size = size = file.size
        entry.st_mtime_ns = file.mtime_ns
        entry.st_ctime_ns = max(file.mtime_ns, node.ctime_ns)
    else:
        size = len(node.target) or node.size
        entry.st_size = size
        entry.st_mtime_ns = node.mtime_ns
        entry.st_ctime_ns = node.ctime_ns
    entry.st_blocks = (size + BLOCK - 1) // BLOCK if file is None else blocks(file)
    return entry


def blocks(file: FileContent) -> int:
    """Return how many 512 byte blocks a file fills, holes left out where they are known."""
    if file.map is None:
        return (file.size + BLOCK - 1) // BLOCK
    own = 0
    for chunk in file.chunks.values():
        own += (len(chunk) + BLOCK - 1) // BLOCK
    if file.places:
        own += sum((length_of(parts) + BLOCK - 1) // BLOCK for i, parts in file.places.items() if i not in file.chunks)
    if not file.map:
        return own
    far = sum(
        (min(size, file.cut - index * CHUNK_BYTES) + BLOCK - 1) // BLOCK
        for index, (name, size) in file.map.items()
        if not (index in file.chunks or index in file.places or index in file.changed)
        and index * CHUNK_BYTES < file.cut
        and name != HOLE
    )
    return own + far


def absent(timeout_s: float = KEPT_S) -> llfuse.EntryAttributes:
    """Return the answer 'there is no such name', which the kernel keeps for `timeout_s`."""
    entry = llfuse.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = timeout_s
    entry.attr_timeout = timeout_s
    return entry


ABSENT: Final = absent()
"""For all who ask: llfuse copies an answer."""


def fixed(inode: int, mode: int, size: int, at_ns: int, *, timeout_s: float = KEPT_S) -> llfuse.EntryAttributes:
    """Return the attributes of an inode that no tree holds; it belongs to whoever runs the mount."""
    entry = llfuse.EntryAttributes()
    entry.st_ino = inode
    entry.st_mode = mode
    entry.st_nlink = 2 if stat.S_ISDIR(mode) else 1
    entry.st_uid = os.getuid()
    entry.st_gid = os.getgid()
    entry.st_size = size
    entry.st_blocks = (size + BLOCK - 1) // BLOCK
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = at_ns
    entry.entry_timeout = timeout_s
    entry.attr_timeout = timeout_s
    return entry
