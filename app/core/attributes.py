"""Folding the operations that change an inode: attributes, extended attributes, content."""

from typing import Final

from msgspec.structs import replace

from app.core.conflicts import INVALID, IS_DIRECTORY, NO_XATTR, SHADOWED, is_append_conflict
from app.core.ids import NAME_MAX, VersionId
from app.core.messages import APPLIED, Outcome
from app.core.nodes import I64, REGULAR, TYPE_BITS, U32, Node, TreeState, is_directory
from app.core.operations import Content, RemoveXattr, SetAttr, SetXattr

XATTR_MAX: Final = 64 * 1024
NAMESPACES: Final = (b"user.", b"trusted.", b"security.")
"""Of extended attributes that are kept. Access control lists (`system.`) are not."""


def fold_setattr(state: TreeState, op: SetAttr, at_ns: int) -> Outcome:
    """The later wins, attribute by attribute."""
    inode = state.alias(op.inode)
    n = state.node(inode)
    if not (_is_u32(op.mode) and _is_u32(op.uid) and _is_u32(op.gid)):
        return INVALID
    if not (_is_time(op.atime_ns) and _is_time(op.mtime_ns)):
        return INVALID
    if n is None:
        return SHADOWED
    changed = Node(
        n.mode if op.mode is None else n.mode & TYPE_BITS | op.mode & 0o7777,
        n.uid if op.uid is None else op.uid,
        n.gid if op.gid is None else op.gid,
        n.nlink,
        n.size,
        n.mtime_ns if op.mtime_ns is None else op.mtime_ns,
        at_ns,
        n.atime_ns if op.atime_ns is None else op.atime_ns,
        n.version,
        n.parent,
        n.rdev,
        n.target,
        n.xattrs,
    )
    state.put_node(inode, changed)
    return APPLIED


def _is_u32(value: int | None) -> bool:
    return value is None or 0 <= value < U32


def _is_time(value: int | None) -> bool:
    return value is None or -I64 <= value < I64


def fold_setxattr(state: TreeState, op: SetXattr, at_ns: int) -> Outcome:
    """Set one attribute; pairs stay sorted by name."""
    inode = state.alias(op.inode)
    node = state.node(inode)
    if not 0 < len(op.name) <= NAME_MAX or b"\0" in op.name or len(op.value) > XATTR_MAX:
        return INVALID
    if node is None:
        return SHADOWED
    kept = [pair for pair in node.xattrs if pair[0] != op.name]
    state.put_node(inode, replace(node, xattrs=tuple(sorted([*kept, (op.name, op.value)])), ctime_ns=at_ns))
    return APPLIED


def fold_removexattr(state: TreeState, op: RemoveXattr, at_ns: int) -> Outcome:
    """An attribute that is not there refuses."""
    inode = state.alias(op.inode)
    node = state.node(inode)
    if node is None:
        return SHADOWED
    kept = tuple(pair for pair in node.xattrs if pair[0] != op.name)
    if len(kept) == len(node.xattrs):
        return NO_XATTR
    state.put_node(inode, replace(node, xattrs=kept, ctime_ns=at_ns))
    return APPLIED


def fold_content(state: TreeState, op: Content, at_ns: int, version: VersionId) -> Outcome:
    """The later wins whole; appended bytes follow what is there."""
    if not (0 <= op.size < I64 and -I64 <= op.mtime_ns < I64 and -1 <= op.append_from <= op.size):
        return INVALID
    inode = state.alias(op.inode)
    n = state.node(inode)
    if n is None:
        return SHADOWED
    if n.mode & TYPE_BITS != REGULAR:
        return IS_DIRECTORY if is_directory(n) else INVALID
    size, outcome = op.size, APPLIED
    if is_append_conflict(op, n.version, n.size):
        size = n.size + op.size - op.append_from
        if size >= I64:
            return INVALID
        version, outcome = composed_version(version), Outcome("composed", size=size)
    sealed = Node(
        n.mode,
        n.uid,
        n.gid,
        n.nlink,
        size,
        op.mtime_ns,
        at_ns,
        n.atime_ns,
        version,
        n.parent,
        n.rdev,
        n.target,
        n.xattrs,
    )
    state.put_node(inode, sealed)
    return outcome


def composed_version(version: VersionId) -> VersionId:
    """Return the name of the content that the store composed for an append: (incarnation, -sequence).

    The writer's own version keeps its name, for later operations of that mount that are based on it.
    """
    return version[0], -version[1]
