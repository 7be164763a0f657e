"""The tree of the log's end: that of the tables, and over it what waits to be put there (migrations/0012).

Whatever changes a name touches its folder's node, so an append that touched none of the folders and files on a path
has nothing to say of it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from app.adapters.postgres.arrays import int8_array
from app.adapters.postgres.connections import Connection, Row
from app.core.ids import ROOT_INODE

NODES: Final = """
with waits as materialized (
    select distinct on (w.inode) w.inode, w.node from waiting_nodes w
    where w.project = %(project)s and w.position <= %(at)s order by w.inode, w.since desc
)"""
"""Begins a statement: nodes (null: ended) that wait at a position; what was before is still current in the tables."""
NAMES: Final = """
with waits as materialized (
    select distinct on (w.parent, w.name) w.parent, w.name, w.inode from waiting_names w
    where w.project = %(project)s and w.position <= %(at)s order by w.parent, w.name, w.since desc
)"""
"""The same of names; an inode of null: ended."""
END: Final = 2**62
_WAITING: Final = """
select step, s, n, b from tree_waiting where project = %s and touched && %s order by position desc"""
_NAME: Final = "select inode from dentries where project = %s and parent = %s and name = %s"
_NODE: Final = "select node from inodes where project = %s and inode = %s"
_NODES_ENDED, _NODES, _NODES_NEW, _NAMES_ENDED, _NAMES, _NAMES_NEW = 4, 8, 12, 20, 24, 28
"""Where in the shape the sections of put_tree stand."""


def walk(connection: Connection, project: int, names: Sequence[bytes]) -> tuple[int, int, bytes | None]:
    """Return how many of `names` lead on from the root, the inode reached, and its node; within one snapshot."""
    inode, depth = int(ROOT_INODE), 0
    for name in names:
        held = _child(connection, project, inode, name)
        if held is None:
            break
        inode, depth = held, depth + 1
    return depth, inode, _node(connection, project, inode)


def _child(connection: Connection, project: int, parent: int, name: bytes) -> int | None:
    for shape, numbers, strings in _touching(connection, project, parent):
        for section in (_NAMES, _NAMES_NEW):
            for at, place in _places(shape, section, 3):
                if numbers[at] == parent and strings[place] == name:
                    return int(numbers[at + 1])
        for at, place in _places(shape, _NAMES_ENDED, 1):
            if numbers[at] == parent and strings[place] == name:
                return None
    row = connection.execute(_NAME, (project, parent, name), binary=True).fetchone()
    return None if row is None else int(row[0])


def _node(connection: Connection, project: int, inode: int) -> bytes | None:
    for shape, numbers, strings in _touching(connection, project, inode):
        for section in (_NODES, _NODES_NEW):
            for at, place in _places(shape, section, 2):
                if numbers[at] == inode:
                    return bytes(strings[place])
        if any(numbers[at] == inode for at, _ in _places(shape, _NODES_ENDED, 1)):
            return None
    row = connection.execute(_NODE, (project, inode), binary=True).fetchone()
    return None if row is None else bytes(row[0])


def _touching(connection: Connection, project: int, inode: int) -> Iterator[tuple[list[int], list[int], list[bytes]]]:
    """Yield shape, numbers and byte strings of the appends that wait and touched an inode, newest first."""
    rows: list[Row] = connection.execute(_WAITING, (project, int8_array([inode])), binary=True).fetchall()
    for _, shape, numbers, strings in rows:
        yield shape, numbers or [], strings or []


def _places(shape: Sequence[int], section: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield, for each row of a section, the places of its first number and of its byte string."""
    first, last, string = shape[section], shape[section + 1], shape[section + 2]
    for index, at in enumerate(range(first, last + 1, width)):
        yield at - 1, string - 1 + index
