"""The statements of the files log's writer, with their arguments packed; the functions are in migrations."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from app.adapters.postgres import arrays
from app.adapters.postgres.arrays import bytea_array, byteas_of, int4, int8_array, int8s_of, text_array
from app.adapters.postgres.connections import Connection, Row
from app.adapters.postgres.content_reads import ChunkMap, map_of, plain_chunks
from app.adapters.postgres.direct import DirectStatement
from app.adapters.postgres.packing import no_events, no_rows
from app.adapters.postgres.standing import Head
from app.adapters.postgres.tree_rows import TreeRow, Wanted
from app.core.ids import VersionId
from app.core.messages import ChunkData

PUT_CHUNKS: Final = "select put_chunks(%s, %s, %s, %s, %s)"
_MISSING: Final = "select missing_chunks(%s, %s)"
_OPEN: Final = "select * from open_files(%s, %s)"
_TREE_ROWS: Final = "select * from tree_rows(%s, %s, %s, %s)"
_SETTLE: Final = "select settle_tree(%s, true)"
_NAMES_IN: Final = "select name from dentries where project = %s and parent = %s limit %s"
_NAMES_BELOW: Final = "select parent, name, inode from dentries where project = %s and parent = any(%s) limit %s"
_ROWS: Final = (arrays.INT4S, arrays.INT8S, arrays.BYTEAS)
_COLUMNS: Final = (
    arrays.TEXTS, arrays.INT4S, arrays.INT8S, arrays.INT8S, arrays.BYTEAS, arrays.BYTEAS, arrays.BYTEAS, arrays.BYTEA,
    arrays.BYTEA, arrays.BYTEAS,
)  # fmt: skip
_ARGUMENTS: Final = (
    *_ROWS, arrays.BYTEAS, *_COLUMNS, arrays.INT8S, arrays.INT8S, *_ROWS, arrays.INT4
)  # fmt: skip
_PLACES: Final = ", ".join(f"${number}" for number in range(1, len(_ARGUMENTS) + 1))
PUT, WAIT, SETTLE = map(int4, range(3))
"""What becomes of an append's tree rows: put into the tables; left waiting; the same, then all that wait are put."""


def _nothing() -> list[bytes]:
    return [*no_events(), *no_rows(), PUT]


_APPEND: Final = DirectStatement("weir_append", f"select append_files({_PLACES})", _ARGUMENTS, _nothing)
_APPEND_EARLY: Final = DirectStatement(
    "weir_append_early", f"call append_files_early({_PLACES}, null)", _ARGUMENTS, _nothing
)
_TOLD: Final = 6
_HASH_BYTES: Final = 32


class Appended(NamedTuple):
    """What append_files said: 'made' (as it was sent), 'ok', 'checked' (ok, but others had appended) or why not
    ('moved': others had, and it was made for the head that was).

    After 'ok' and 'checked': the head before, the time, the hashes; of what others had appended: the keys that they
    touched (touched.py), and their incarnations.
    """

    status: str
    head: Head = Head(0, b"")
    at_us: int = 0
    hashes: Sequence[bytes] = ()
    foreign: Sequence[int] = ()
    others: Sequence[int] = ()


NOT_APPENDED: Final = Appended("unknown")


class Opened(NamedTuple):
    """The log under its lock: head, the incarnation ('' = unknown), chunks that are missing, rows asked for."""

    head: Head
    origin: str
    origin_name: str
    last_sequence: int
    last_inode: int
    missing: Sequence[bytes]
    asked: Wanted
    rows: Sequence[TreeRow]


def open_files(
    connection: Connection,
    project: int,
    incarnation: int,
    chunks: Sequence[ChunkData],
    named: Sequence[bytes],
    asked: Wanted,
) -> Opened:
    """Store chunks; then look for the named ones, take the lock and read, all in one round trip.

    Nothing large is sent in a pipeline: psycopg leaves it before all is flushed, and both ends then wait for ever.
    """
    if chunks:
        connection.execute(PUT_CHUNKS, chunk_arguments(project, chunks))
    with connection.pipeline():
        return _open_files(connection, project, incarnation, named, asked)


def _open_files(
    connection: Connection, project: int, incarnation: int, named: Sequence[bytes], asked: Wanted
) -> Opened:
    absent = connection.execute(_MISSING, (project, bytea_array(named))) if named else None
    opened = connection.execute(_OPEN, (project, incarnation), binary=True)
    found = connection.execute(_TREE_ROWS, _wanted_arguments(project, asked), binary=True)
    row = one(opened)
    position, name, origin, origin_name, last_sequence, last_inode = row
    return Opened(
        Head(position, name), origin or "", origin_name or "", last_sequence or 0, last_inode or 0,
        [] if absent is None else one(absent)[0], asked, found.fetchall(),
    )  # fmt: skip


def tree_rows(connection: Connection, project: int, wanted: Wanted) -> Sequence[TreeRow]:
    """Return the rows of a part of the tree."""
    return connection.execute(_TREE_ROWS, _wanted_arguments(project, wanted), binary=True).fetchall()


def settled_tree_rows(connection: Connection, project: int, wanted: Wanted) -> Sequence[TreeRow]:
    """The same outside of the log's lock: first what waits is put into the tables."""
    with connection.pipeline():
        connection.execute(_SETTLE, (project,))
        found = connection.execute(_TREE_ROWS, _wanted_arguments(project, wanted), binary=True)
        return found.fetchall()


def names_in(connection: Connection, project: int, directory: int, limit: int) -> Sequence[bytes]:
    """Return up to `limit` names of a directory."""
    return [row[0] for row in connection.execute(_NAMES_IN, (project, directory, limit), binary=True)]


def names_below(
    connection: Connection, project: int, directories: Sequence[int], limit: int
) -> Sequence[tuple[int, bytes, int]]:
    """Return up to `limit` (directory, name, inode) of directories."""
    arguments = (project, int8_array(directories), limit)
    return connection.execute(_NAMES_BELOW, arguments, binary=True).fetchall()


def append(
    connection: Connection,
    arguments: Sequence[bytes],
    *,
    early: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Appended:
    """Append. `early`: the log's lock is given back before the flush; never within a transaction. `meanwhile` is done
    while the server works.
    """
    status, *told = byteas_of((_APPEND_EARLY if early else _APPEND).run(connection, arguments, meanwhile))
    if len(told) < _TOLD:
        return Appended(status.decode())
    position, at_us, foreign, others, name, hashes = told
    each = [hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)]
    head = Head(_number(position), name)
    return Appended(status.decode(), head, _number(at_us), each, int8s_of(foreign), _numbers(others))


def _number(sent: bytes) -> int:
    return int.from_bytes(sent, signed=True)


def _numbers(sent: bytes) -> Sequence[int]:
    return struct.unpack(f"!{len(sent) // 8}q", sent)


def one(result: psycopg.Cursor[Row]) -> tuple[Any, ...]:
    """Return the only row of a result."""
    row = result.fetchone()
    assert row is not None
    return row


def chunk_arguments(project: int, chunks: Sequence[ChunkData]) -> tuple[object, ...]:
    """Return the arguments of put_chunks."""
    return (
        project, bytea_array([c.hash for c in chunks]), int8_array([c.size_bytes for c in chunks]),
        text_array([c.encoding for c in chunks]), bytea_array([c.data for c in chunks]),
    )  # fmt: skip


def _wanted_arguments(project: int, wanted: Wanted) -> tuple[object, ...]:
    parents, names = [key[0] for key in wanted.names], [key[1] for key in wanted.names]
    return project, int8_array(wanted.inodes), int8_array(parents), bytea_array(names)


class StoredContents:
    """See Contents."""

    def __init__(self, connection: Connection, project: int) -> None:
        self._connection, self._project = connection, project

    def map_of(self, version: VersionId) -> ChunkMap:
        """See Contents."""
        return map_of(self._connection, self._project, version)

    def bytes_of(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """See Contents."""
        return plain_chunks(self._connection, self._project, hashes)

    def put(self, chunks: Sequence[ChunkData]) -> None:
        """See Contents."""
        if chunks:
            self._connection.execute(PUT_CHUNKS, chunk_arguments(self._project, chunks))
