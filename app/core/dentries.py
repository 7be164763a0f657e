"""Folding the operations that change names: make, link, unlink, rmdir, rename.

Each returns its Outcome; whoever is refused has changed nothing, so every check stands before the first put or drop.
"""

from typing import Final

from msgspec.structs import replace

from app.core.conflicts import (
    CYCLE,
    EXISTS,
    INVALID,
    IS_DIRECTORY,
    NO_PARENT,
    NOT_DIRECTORY,
    NOT_EMPTY,
    SHADOWED,
    STALE,
    free_name,
    is_name,
    lies_within,
    place_of,
)
from app.core.ids import EMPTY_VERSION, ROOT_INODE
from app.core.messages import APPLIED, Outcome
from app.core.nodes import DIRECTORY, I64, REGULAR, TYPE_BITS, U32, Node, TreeState, is_directory
from app.core.operations import Link, Make, Rename, Rmdir, Unlink

_TYPES: Final = frozenset({DIRECTORY, REGULAR, 0o120000, 0o020000, 0o060000, 0o010000, 0o140000})


def _touch(state: TreeState, inode: int, node: Node, at_ns: int, links: int = 0) -> None:
    """Give a directory new times and `links` more sub-directories."""
    n = node
    changed = Node(
        n.mode,
        n.uid,
        n.gid,
        n.nlink + links,
        n.size,
        at_ns,
        at_ns,
        n.atime_ns,
        n.version,
        n.parent,
        n.rdev,
        n.target,
        n.xattrs,
    )
    state.put_node(inode, changed)


def _relink(state: TreeState, inode: int, node: Node, at_ns: int, links: int) -> None:
    """Give a file `links` more names; without any it is gone."""
    if node.nlink + links <= 0:
        state.drop_node(inode)
    else:
        state.put_node(inode, replace(node, nlink=node.nlink + links, ctime_ns=at_ns))


def fold_make(state: TreeState, op: Make, at_ns: int, origin_name: str) -> Outcome:
    """A taken name: two directories become one, anything else is committed under a conflict name."""
    if not _is_makeable(op):
        return INVALID
    inode, parent = op.inode, state.alias(op.parent)
    holder = state.node(parent)
    if not is_directory(holder):
        return NO_PARENT
    if state.node(inode) is not None or state.alias(inode) != inode:
        return EXISTS
    directory = op.mode & TYPE_BITS == DIRECTORY
    name, outcome = op.name, APPLIED
    there = state.child(parent, name)
    if there is not None:
        if directory and is_directory(state.node(there)):
            state.put_alias(inode, there)
            return Outcome("merged", inode=there)
        name = free_name(state, parent, name, origin_name)
        outcome = Outcome("renamed", name=name)
    made = Node(
        op.mode, op.uid, op.gid, 2 if directory else 1, len(op.target), at_ns, at_ns, at_ns,
        EMPTY_VERSION, parent if directory else 0, op.rdev, op.target,
    )  # fmt: skip
    state.put_node(inode, made)
    state.put_child(parent, name, inode)
    _touch(state, parent, holder, at_ns, 1 if directory else 0)
    return outcome


def _is_makeable(op: Make) -> bool:
    numbers = 0 <= op.uid < U32 and 0 <= op.gid < U32 and 0 <= op.mode < U32 and 0 <= op.rdev < I64
    return numbers and ROOT_INODE < op.inode < I64 and op.mode & TYPE_BITS in _TYPES and is_name(op.name)


def fold_link(state: TreeState, op: Link, at_ns: int, origin_name: str) -> Outcome:
    """A taken name: a conflict name; a file that is gone stays gone."""
    inode, parent = state.alias(op.inode), state.alias(op.parent)
    node, holder = state.node(inode), state.node(parent)
    if not is_name(op.name):
        return INVALID
    if node is None:
        return SHADOWED
    if is_directory(node):
        return IS_DIRECTORY
    if not is_directory(holder):
        return NO_PARENT
    name, outcome = op.name, APPLIED
    there = state.child(parent, name)
    if there == inode:
        return EXISTS
    if there is not None:
        name = free_name(state, parent, name, origin_name)
        outcome = Outcome("renamed", name=name)
    state.put_child(parent, name, inode)
    _relink(state, inode, node, at_ns, 1)
    _touch(state, parent, holder, at_ns)
    return outcome


def fold_unlink(state: TreeState, op: Unlink, at_ns: int, origin_name: str) -> Outcome:
    """The name must still hold the inode that the caller saw."""
    inode, parent = state.alias(op.inode), state.alias(op.parent)
    name = place_of(state, parent, op.name, inode, origin_name)
    node, holder = state.node(inode), state.node(parent)
    if name is None or node is None or holder is None:
        return STALE
    if is_directory(node):
        return IS_DIRECTORY
    state.drop_child(parent, name)
    _relink(state, inode, node, at_ns, -1)
    _touch(state, parent, holder, at_ns)
    return APPLIED if name == op.name else Outcome("renamed", name=name)


def fold_rmdir(state: TreeState, op: Rmdir, at_ns: int, origin_name: str) -> Outcome:
    """The directory must be empty here too."""
    inode, parent = state.alias(op.inode), state.alias(op.parent)
    name = place_of(state, parent, op.name, inode, origin_name)
    node, holder = state.node(inode), state.node(parent)
    if name is None or node is None or holder is None:
        return STALE
    if not is_directory(node):
        return NOT_DIRECTORY
    if state.has_children(inode):
        return NOT_EMPTY
    state.drop_child(parent, name)
    state.drop_node(inode)
    _touch(state, parent, holder, at_ns, -1)
    return APPLIED if name == op.name else Outcome("renamed", name=name)


def fold_rename(state: TreeState, op: Rename, at_ns: int, origin_name: str) -> Outcome:
    """A target that the caller saw is replaced, whoever is there now; one that it did not see is left alone."""
    inode, parent, new_parent = state.alias(op.inode), state.alias(op.parent), state.alias(op.new_parent)
    name = place_of(state, parent, op.name, inode, origin_name)
    node = state.node(inode)
    if name is None or node is None:
        return STALE
    there = state.child(new_parent, op.new_name)
    refusal = _refuse_rename(state, op, (inode, node, new_parent, there))
    if refusal is not None or there == inode:
        return refusal or APPLIED
    new_name, outcome = op.new_name, APPLIED
    if there is not None and op.replaced:
        _replace_target(state, new_parent, new_name, there, at_ns)
    elif there is not None:
        new_name = free_name(state, new_parent, new_name, origin_name)
        outcome = Outcome("renamed", name=new_name)
    state.drop_child(parent, name)
    state.put_child(new_parent, new_name, inode)
    _reparent(state, inode, node, (parent, new_parent), at_ns)
    return outcome


def _refuse_rename(state: TreeState, op: Rename, moved: tuple[int, Node, int, int | None]) -> Outcome | None:
    inode, node, new_parent, there = moved
    if not is_name(op.new_name):
        return INVALID
    if not is_directory(state.node(new_parent)):
        return NO_PARENT
    if is_directory(node) and lies_within(state, new_parent, inode):
        return CYCLE
    if there is None or there == inode or not op.replaced:
        return None
    return _refuse_replacing(state, node, there)


def _refuse_replacing(state: TreeState, node: Node, there: int) -> Outcome | None:
    target = state.node(there)
    if is_directory(target) != is_directory(node):
        return IS_DIRECTORY if is_directory(target) else NOT_DIRECTORY
    return NOT_EMPTY if is_directory(target) and state.has_children(there) else None


def _replace_target(state: TreeState, parent: int, name: bytes, there: int, at_ns: int) -> None:
    target, holder = state.node(there), state.node(parent)
    assert target is not None and holder is not None  # noqa: PT018 - `there` was read from a live directory
    state.drop_child(parent, name)
    if is_directory(target):
        state.drop_node(there)
        _touch(state, parent, holder, at_ns, -1)
    else:
        _relink(state, there, target, at_ns, -1)


def _reparent(state: TreeState, inode: int, node: Node, parents: tuple[int, int], at_ns: int) -> None:
    """Account for a name moved from the first directory to the second."""
    n, directory = node, is_directory(node)
    old, new = parents
    moved_node = Node(
        n.mode, n.uid, n.gid, n.nlink, n.size, n.mtime_ns, at_ns, n.atime_ns,
        n.version, new if directory else 0, n.rdev, n.target, n.xattrs,
    )  # fmt: skip
    state.put_node(inode, moved_node)
    holder = state.node(new)
    assert holder is not None
    moved = 1 if directory and old != new else 0
    _touch(state, new, holder, at_ns, moved)
    if old != new:
        left = state.node(old)
        assert left is not None
        _touch(state, old, left, at_ns, -moved)
