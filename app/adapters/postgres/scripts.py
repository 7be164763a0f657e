"""A file of the project by its path, as the store has it now: one statement or one snapshot, hence one moment.

Nothing waits for the log on disk here: what a fall of Postgres could take back made an answer stricter, no more.
"""

from collections.abc import Sequence
from typing import Final

from app.adapters.postgres.connections import Connection, Pool, Row, store_errors
from app.adapters.postgres.content_reads import AT, NOW, plain_chunks
from app.adapters.postgres.prepared import plain_bytes
from app.adapters.postgres.tree_rows import decode_node
from app.adapters.postgres.waiting import walk
from app.core.deltas import DELTA
from app.core.errors import StoreUnavailable
from app.core.ids import CHUNK_BYTES, ROOT_INODE
from app.core.messages import ChunkData
from app.core.nodes import DIRECTORY, REGULAR, TYPE_BITS, Node

DEPTH_MAX: Final = 64
STATEMENT_MS: Final = 20
CHECKOUT_S: Final = 0.02
_WALK: Final = """
with recursive walk (depth, inode) as (
    select 0, %(root)s::bigint
    union all
    select w.depth + 1, d.inode from walk w cross join lateral (
        select * from dentries t where t.project = %(project)s and t.parent = w.inode
        and t.name = (%(names)s::bytea[])[w.depth + 1] offset 0
    ) d
), last as (select depth, inode from walk order by depth desc limit 1)
select l.depth, i.node, c.hash, k.size_bytes, k.encoding, k.data, exists (
    select 1 from tree_waiting w where w.project = %(project)s and w.touched && array(select inode from walk)
)
from last l left join inodes i on i.project = %(project)s and i.inode = l.inode
left join lateral (
    select * from content_chunks t where t.project = %(project)s and t.inode = l.inode and t.index = 0 offset 0
) c on true
left join chunks k on k.project = %(project)s and k.hash = c.hash and k.data is not null"""
_CONTENT: Final = f"""
select c.hash, k.size_bytes, k.encoding, k.data from ({AT}) c
left join chunks k on k.project = %(project)s and k.hash = c.hash and k.data is not null
where c.index = 0"""  # noqa: S608 - of constants
_PROJECT: Final = "select id from projects where project = %s"


class PostgresScripts:
    """One connection, whose statements have a time limit of their own."""

    def __init__(self, pool: Pool, project: str) -> None:
        self._pool = pool
        self._project = project
        self._number = 0

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def beginning(self, names: Sequence[bytes]) -> bytes | None:
        """Return the first 128 KiB of the regular file that names lead to from the root, None where there is none;
        raises StoreUnavailable where it cannot be read, or a symbolic link is on the way.
        """
        with store_errors(), self._pool.connection(timeout=CHECKOUT_S) as connection:
            if not self._number:
                row = connection.execute(_PROJECT, (self._project,)).fetchone()
                self._number = 0 if row is None else int(row[0])
            found = self._walked(connection, names) if len(names) <= DEPTH_MAX else None
            if found is not None and found[4] == DELTA:
                plain = plain_chunks(connection, self._number, [found[2]]).get(found[2])
                found = (*found[:4], "raw", plain)
        return None if found is None else _content(found, len(names))

    def _walked(self, connection: Connection, names: Sequence[bytes]) -> Row | None:
        asked = {"root": ROOT_INODE, "project": self._number, "names": list(names)}
        row = connection.execute(_WALK.encode(), asked, binary=True).fetchone()
        if row is not None and row[6]:
            return self._walked_over(connection, names)
        return None if row is None or row[1] is None else row

    def _walked_over(self, connection: Connection, names: Sequence[bytes]) -> Row | None:
        """The same where something on the way changed a moment ago and is not in the tables yet."""
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            depth, inode, node = walk(connection, self._number, names)
            asked = {"project": self._number, "inode": inode, "at": NOW}
            found = connection.execute(_CONTENT.encode(), asked, binary=True).fetchone()
        return None if node is None else (depth, node, *(found or (None,) * 4))


def _content(row: Row, depth: int) -> bytes | None:
    node = decode_node(row[1])
    if row[0] < depth:
        _refuse_link(node)
        return None
    if node.mode & TYPE_BITS != REGULAR:
        _refuse_link(node)
        return None
    size = min(node.size, CHUNK_BYTES)
    if row[2] is None:
        return bytes(size)
    if row[5] is None:
        raise StoreUnavailable(f"chunk {row[2].hex()} is not in the store")
    return plain_bytes(ChunkData(row[2], row[3], row[4], row[5])).ljust(size, b"\0")[:size]


def _refuse_link(node: Node) -> None:
    if node.mode & TYPE_BITS not in {REGULAR, DIRECTORY}:
        raise StoreUnavailable("the path leads through a link")
