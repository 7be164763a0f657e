"""The rows of the tree that one append changes, and the keys of those that it looks up first."""

from typing import NamedTuple

from app.core.operations import Link, Make, Operation, Rename, Rmdir, Unlink

Name = tuple[int, bytes]


class TreeChanges(NamedTuple):
    """What an append writes: rows that are new, that replace one (`put`), that ended (`gone`), that were (`past`).

    As they are sent: inode or parent, inode held, since, until; the byte string last.
    """

    nodes_new: list[tuple[int, int, bytes]]
    nodes_put: list[tuple[int, int, bytes]]
    nodes_gone: list[tuple[int]]
    nodes_past: list[tuple[int, int, int, bytes]]
    names_new: list[tuple[int, int, int, bytes]]
    names_put: list[tuple[int, int, int, bytes]]
    names_gone: list[Name]
    names_past: list[tuple[int, int, int, int, bytes]]
    aliases: list[tuple[int, int, int]]


def keys_of(operation: Operation) -> tuple[tuple[int, ...], tuple[Name, ...]]:
    """Return the inodes and names that folding an operation looks up first."""
    match operation:
        case Make(parent=parent, name=name, inode=inode) | Link(parent=parent, name=name, inode=inode):
            return (parent, inode), ((parent, name),)
        case Unlink(parent=parent, name=name, inode=inode) | Rmdir(parent=parent, name=name, inode=inode):
            return (parent, inode), ((parent, name),)
        case Rename(parent=parent, name=name, new_parent=there, new_name=to, inode=inode, replaced=replaced):
            inodes = (parent, inode, there, replaced) if replaced else (parent, inode, there)
            return inodes, ((parent, name), (there, to))
        case _:
            return (operation.inode,), ()
