"""The statements of the files log's writer, with their arguments packed; the functions are in migrations."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from app.adapters.postgres.arrays import NO_BYTEA, NO_INT8, NO_TEXT, bytea_array, int4_array, int8_array, text_array
from app.adapters.postgres.connections import Connection, Row
from app.adapters.postgres.content_reads import ChunkMap, map_of, plain_chunks
from app.adapters.postgres.fold import Folded
from app.adapters.postgres.standing import Head
from app.adapters.postgres.tree_rows import TreeRow, Wanted
from app.core.ids import VersionId
from app.core.messages import ChunkData

PUT_CHUNKS: Final = "select put_chunks(%s, %s, %s, %s, %s)"
_MISSING: Final = "select missing_chunks(%s, %s)"
_OPEN: Final = "select * from open_files(%s, %s)"
_TREE_ROWS: Final = "select * from tree_rows(%s, %s, %s, %s)"
_STORED: Final = """
select sequence, position, digest, outcome from file_events
where project = %s and incarnation = %s and sequence between %s and %s order by sequence"""
_NAMES_IN: Final = "select name from dentries where project = %s and parent = %s limit %s"
_NAMES_BELOW: Final = "select parent, name, inode from dentries where project = %s and parent = any(%s) limit %s"
_ARRAYS: Final = 1 + 1 + 4 + 5 + 6 + 8 + 11 + 15 + 7 + 11 + 3


class Scalars(NamedTuple):
    """The leading arguments of append_files. `hash` is b'' where the rows known are not all those of `base`."""

    project: int
    base: int
    hash: bytes | None
    incarnation: int
    first_sequence: int
    task_id: str
    last_inode: int


_NUMBERED: Final = ", ".join(f"${i + 1}" for i in range(len(Scalars._fields) + 1 + _ARRAYS))
_APPEND: Final = f"select * from append_files({_NUMBERED})"  # noqa: S608 - numbers only


class Appended(NamedTuple):
    """What append_files said: 'ok', 'checked' (ok, but others had appended), or why not; the head before; hashes."""

    status: str
    head: Head
    hashes: Sequence[bytes]

    @property
    def is_done(self) -> bool:
        """Tell whether the batch is in the log."""
        return self.status in {"ok", "checked"}


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


def names_in(connection: Connection, project: int, directory: int, limit: int) -> Sequence[bytes]:
    """Return up to `limit` names of a directory."""
    return [row[0] for row in connection.execute(_NAMES_IN, (project, directory, limit), binary=True)]


def names_below(
    connection: Connection, project: int, directories: Sequence[int], limit: int
) -> Sequence[tuple[int, bytes, int]]:
    """Return up to `limit` (directory, name, inode) of directories."""
    arguments = (project, int8_array(directories), limit)
    return connection.execute(_NAMES_BELOW, arguments, binary=True).fetchall()


def stored(
    connection: Connection, project: int, incarnation: int, first: int, last: int
) -> Iterable[tuple[int, int, bytes, bytes | None]]:
    """Yield (sequence, position, digest, outcome) of stored events."""
    return connection.execute(_STORED, (project, incarnation, first, last), binary=True).fetchall()


def append(connection: Connection, arguments: Sequence[object]) -> psycopg.Cursor[Row]:
    """Send append_files. Numbered placeholders: psycopg parses `%s` anew at each call above 50 of them (0.2 ms)."""
    return psycopg.RawCursor(connection).execute(_APPEND, arguments, binary=True)


def appended(result: psycopg.Cursor[Row]) -> Appended:
    """Return what append_files said."""
    status, position, previous, hashes = one(result)
    return Appended(status, Head(position or 0, previous or b""), hashes or ())


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


def parameters(scalars: Scalars, named: Sequence[bytes], chunks: Sequence[ChunkData], folded: Folded) -> list[object]:
    """Return the arguments of append_files."""
    events, tree, content = folded.events, folded.tree, folded.content
    kinds, *strings = zip(*folded.contexts, strict=True)
    return [
        *scalars, folded.front, int4_array(folded.places), bytea_array(named),
        *(chunk_arguments(scalars.project, chunks)[1:] if chunks else _NO_CHUNKS),
        *_packed(folded.reads.nodes, "ii"), *_packed(folded.reads.names, "ibi"),
        text_array(kinds), *map(text_array, strings), bytea_array(folded.middles),
        *map(int8_array, events[:3]), bytea_array(events.path),
        bytea_array(events.outcome) if any(events.outcome) else NO_BYTEA, *map(bytea_array, events[5:]),
        *_packed(tree.nodes_new, "iib"), *_packed(tree.nodes_put, "iib"), int8_array(tree.nodes_gone),
        *_packed(tree.nodes_past, "iiib"),
        *_packed(tree.names_new, "ibii"), *_packed(tree.names_put, "ibii"), *_packed(tree.names_gone, "ib"),
        *_packed(tree.names_past, "ibiii"),
        *_packed(content.closed, "iii"), *_packed(content.cut, "iiii"),
        *_packed(content.put, "iibii"), *_packed(content.past, "iibiii"),
        *_packed(tree.aliases, "iii"),
    ]  # fmt: skip


_PACK: Final[dict[str, Callable[[Sequence[Any]], bytes]]] = {"i": int8_array, "b": bytea_array}
_NOTHING: Final = {"i": NO_INT8, "b": NO_BYTEA}
_NO_CHUNKS: Final = (NO_BYTEA, NO_INT8, NO_TEXT, NO_BYTEA)


def _packed(rows: Sequence[tuple[Any, ...]], shape: str) -> list[bytes]:
    """Return one packed array a column."""
    if not rows:
        return [_NOTHING[letter] for letter in shape]
    return [_PACK[letter](column) for letter, column in zip(shape, zip(*rows, strict=True), strict=True)]


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
