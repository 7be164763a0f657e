"""The current tree as Postgres packs it: a page of rows is one row of a few byte strings, decoded when looped over.

A row for each of a million inodes would be as many tuples here, and the memory that they stood in stays taken.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from struct import unpack
from typing import Final, NamedTuple

import msgspec

from app.adapters.postgres import waiting
from app.adapters.postgres.connections import Connection
from app.core.ids import EMPTY_VERSION, ROOT_INODE
from app.core.tree import ROOT_NODE, Node

PAGE: Final = 5_000
"""A node has up to 64 KiB of attributes, a byte string of Postgres up to 1 GiB."""
_NODES: Final = f"""{waiting.NODES}
select count(*), string_agg(int8send(inode), ''), string_agg(node, '') from (
    select * from (
        (select i.inode, i.node from inodes i where i.project = %(project)s and i.inode > %(inode)s
            and i.inode not in (select w.inode from waits w) order by i.inode limit %(most)s)
        union all select w.inode, w.node from waits w where w.node is not null and w.inode > %(inode)s
    ) either order by inode limit %(most)s
) page"""  # noqa: S608 - both are constants
# as msgpack: a name has at most 255 bytes
_NAMES: Final = f"""{waiting.NAMES}
select count(*), string_agg(int8send(parent), ''), string_agg(int8send(inode), ''),
    string_agg('\\xc4'::bytea || substring(int4send(length(name)) from 4) || name, '')
from (
    select * from (
        (select d.parent, d.name, d.inode from dentries d
            where d.project = %(project)s and (d.parent, d.name) > (%(parent)s, %(name)s)
            and (d.parent, d.name) not in (select w.parent, w.name from waits w)
            order by d.parent, d.name limit %(most)s)
        union all select w.parent, w.name, w.inode from waits w
            where w.inode is not null and (w.parent, w.name) > (%(parent)s, %(name)s)
    ) either order by parent, name limit %(most)s
) page"""  # noqa: S608 - both are constants
_decode_nodes: Final = msgspec.msgpack.Decoder(list[Node]).decode
_decode_names: Final = msgspec.msgpack.Decoder(list[bytes]).decode
_modes: Final[dict[int, int]] = {}
"""At most 65,536: st_mode has 16 bits."""
_share: Final = msgspec.structs.force_setattr


class NodePage(NamedTuple):
    """Inodes as 64 bits each, nodes as they are stored, one after the other."""

    rows: int
    inodes: bytes
    nodes: bytes


class NamePage(NamedTuple):
    """Parents and inodes as 64 bits each, names as msgpack."""

    rows: int
    parents: bytes
    inodes: bytes
    names: bytes


class PackedNodes:
    """(inode, node) of all; the root is there whether it is stored or not."""

    def __init__(self, pages: Sequence[NodePage]) -> None:
        self._pages = pages

    def __iter__(self) -> Iterator[tuple[int, Node]]:
        """Yield them in the order of their inodes."""
        if not self._pages or _numbers(self._pages[0].rows, self._pages[0].inodes)[0] != ROOT_INODE:
            yield ROOT_INODE, ROOT_NODE
        for page in self._pages:
            nodes = _decode_nodes(_array(page.rows, page.nodes))
            yield from zip(_numbers(page.rows, page.inodes), map(_lean, nodes), strict=True)


class PackedNames:
    """(parent, name, inode) of all."""

    def __init__(self, pages: Sequence[NamePage]) -> None:
        self._pages = pages

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield them in the order of their parents, then of their names."""
        for page in self._pages:
            parents, inodes = _numbers(page.rows, page.parents), _numbers(page.rows, page.inodes)
            yield from zip(parents, _decode_names(_array(page.rows, page.names)), inodes, strict=True)


def packed_nodes(connection: Connection, number: int, most: int = PAGE) -> PackedNodes:
    """Return all nodes of a project, `most` a page; the caller has a transaction around this and `packed_names`."""
    pages: list[NodePage] = []
    after = 0
    for _ in repeat(None):
        asked = {"project": number, "at": waiting.END, "inode": after, "most": most}
        page = NodePage(*connection.execute(_NODES.encode(), asked, binary=True).fetchall()[0])
        if page.rows:
            pages.append(page)
            after = _numbers(1, page.inodes[-8:])[0]
        if page.rows < most:
            break
    return PackedNodes(pages)


def packed_names(connection: Connection, number: int, most: int = PAGE) -> PackedNames:
    """Return all names of a project, `most` a page."""
    pages: list[NamePage] = []
    after: tuple[int, bytes] = (0, b"")
    for _ in repeat(None):
        asked = {"project": number, "at": waiting.END, "parent": after[0], "name": after[1], "most": most}
        page = NamePage(*connection.execute(_NAMES.encode(), asked, binary=True).fetchall()[0])
        if page.rows:
            pages.append(page)
            after = _numbers(1, page.parents[-8:])[0], _decode_names(_array(page.rows, page.names))[-1]
        if page.rows < most:
            break
    return PackedNames(pages)


def _numbers(count: int, packed: bytes) -> tuple[int, ...]:
    return unpack(f">{count}q", packed)


def _array(count: int, packed: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + packed


def _lean(node: Node) -> Node:
    """Return the node itself, equal values in it one object: 32 to 48 bytes each, for as long as the tree is there."""
    _share(node, "mode", _modes.setdefault(node.mode, node.mode))
    if node.ctime_ns == node.mtime_ns:
        _share(node, "ctime_ns", node.mtime_ns)
    if node.atime_ns == node.mtime_ns:
        _share(node, "atime_ns", node.mtime_ns)
    if node.version == EMPTY_VERSION:
        _share(node, "version", EMPTY_VERSION)
    return node
