"""Content maps and chunks as the store has them, for readers and for the fold of a stale write."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import zstandard

from app.adapters.postgres import arrays
from app.adapters.postgres.connections import Connection
from app.adapters.postgres.prepared import plain_bytes
from app.adapters.postgres.tree_rows import decode_node
from app.adapters.postgres.waiting import walk
from app.core.deltas import DELTA, base_of, unpacked
from app.core.errors import PayloadRefused, RequestInvalid, StoreUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from app.core.messages import APPLIED, ChunkData, Outcome, decode
from app.core.nodes import REGULAR, TYPE_BITS
from app.core.operations import Content, decode_request

NOW: Final = 2**62
ChunkMap = dict[int, tuple[bytes, int]]

AT: Final = """
with waits as materialized (
    select w.position from tree_waiting w
    where w.project = %(project)s and w.touched && array[%(inode)s::bigint] and w.position <= %(at)s
), ends as materialized (
    select e.first, e.past, e.until from waits cross join lateral (
        select * from waiting_ends t where t.project = %(project)s and t.position = waits.position
        and t.inode = %(inode)s and t.until <= %(at)s offset 0
    ) e
), held as (
    select c.index, c.hash, c.size_bytes, c.since from content_chunks c
    where c.project = %(project)s and c.inode = %(inode)s and c.since <= %(at)s
    union all
    select c.index, c.hash, c.size_bytes, c.since from waits cross join lateral (
        select * from waiting_chunks t where t.project = %(project)s and t.position = waits.position
        and t.inode = %(inode)s and t.since <= %(at)s offset 0
    ) c
)
select h.index, h.hash, h.size_bytes from held h
where not exists (select 1 from ends e where e.first <= h.index and e.past > h.index and e.until > h.since)
union all
select index, hash, size_bytes from content_chunks_past
where project = %(project)s and inode = %(inode)s and since <= %(at)s and until > %(at)s
union all
select c.index, c.hash, c.size_bytes from waits cross join lateral (
    select * from waiting_chunks_past t where t.project = %(project)s and t.position = waits.position
    and t.inode = %(inode)s and t.since <= %(at)s and t.until > %(at)s offset 0
) c"""
"""An inode's content at a position: what the tables hold, and over it what waits (migrations/0013). An append that
changes content touches the inode; what it does at later positions is left out.
"""

_VERSION: Final = """
select e.position, e.inode, e.outcome, e.payload from (
    select a.position from file_appends a
    where a.project = %(project)s and a.incarnation = %(incarnation)s and a.sequence <= %(sequence)s
    order by a.sequence desc limit 1
) s cross join lateral (
    select * from file_events t where t.project = %(project)s and t.append = s.position offset 0
) e where e.sequence = %(sequence)s"""

_CHUNKS: Final = """
select hash, size_bytes, encoding, data from chunks where project = %s and data is not null and hash = any(%s)"""


def map_at(connection: Connection, project: int, inode: int, position: int) -> ChunkMap:
    """Return index -> (hash, size) of an inode's content at a position."""
    rows = connection.execute(AT.encode(), {"project": project, "inode": inode, "at": position})
    return {index: (name, size) for index, name, size in rows}


def map_of(connection: Connection, project: int, version: VersionId, *, stored: bool = False) -> ChunkMap:
    """Return the map of one version; with `stored`, raise StoreUnavailable for one that is not in the store (yet).

    A version that never was current is its base's map and its own chunks; so is the
    writer's own version of an append that was composed, while (incarnation, -sequence) names the composed content.
    """
    overlays: list[Content] = []
    found: ChunkMap = {}
    while version != EMPTY_VERSION:
        row = connection.execute(
            _VERSION,
            {"project": project, "incarnation": version[0], "sequence": abs(version[1])},
        ).fetchone()
        if row is None:
            if stored:  # an empty map would read as zeros, for good
                raise StoreUnavailable(f"version {version} is not in the store")
            break
        position, inode, outcome, payload = row
        kind = (decode(Outcome, outcome) if outcome else APPLIED).kind
        if kind == "applied" or version[1] < 0 or payload is None:
            found = map_at(connection, project, inode, position)
            break
        operation = decode_request(payload).operation
        if not isinstance(operation, Content):
            break
        overlays.append(operation)
        version = operation.base
    for operation in reversed(overlays):
        found = overlay(found, operation)
    return found


def overlay(base: ChunkMap, content: Content) -> ChunkMap:
    """Return a base's map with a version's changed chunks, up to its size."""
    merged = {**base, **{ref.index: (ref.hash, ref.size_bytes) for ref in content.chunks}}
    return {i: chunk for i, chunk in merged.items() if chunk[0] and i * CHUNK_BYTES < content.size}


def plain_chunks(connection: Connection, project: int, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the plain bytes of the chunks that the store has; raises PayloadRefused for one that does not unpack."""
    rows, bases = _with_bases(connection, project, hashes)
    plain = {name: plain_bytes(row) for name, row in bases.items()}
    return {row.hash: _plain(row, plain) for row in rows if row.encoding != DELTA or base_of(row.data) in plain}


def kept_whole(connection: Connection, project: int, hashes: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Return of each stored chunk the name and the plain bytes of the one that is kept whole: itself, or its base; of
    those that unpack.
    """
    rows, bases = _with_bases(connection, project, hashes)
    places = {row.hash: base_of(row.data) if row.encoding == DELTA else row.hash for row in rows}
    plain = dict[bytes, bytes]()
    for base in {base for base in places.values() if base in bases}:
        with suppress(PayloadRefused):
            plain[base] = plain_bytes(bases[base])
    return {name: (base, plain[base]) for name, base in places.items() if base in plain}


def _with_bases(
    connection: Connection, project: int, hashes: Sequence[bytes]
) -> tuple[list[ChunkData], dict[bytes, ChunkData]]:
    """Return chunks as they are kept, and by name those that are whole, bases of the others among them."""
    rows = _chunks(connection, project, hashes)
    wholes = {row.hash: row for row in rows if row.encoding != DELTA}
    if absent := {base_of(row.data) for row in rows if row.encoding == DELTA} - wholes.keys():
        bases = _chunks(connection, project, list(absent))
        wholes.update((row.hash, row) for row in bases if row.encoding != DELTA)
    return rows, wholes


def _chunks(connection: Connection, project: int, hashes: Sequence[bytes]) -> list[ChunkData]:
    rows = connection.execute(_CHUNKS, (project, arrays.bytea_array(list(hashes))), binary=True)
    return [ChunkData(*row) for row in rows]


def _plain(row: ChunkData, wholes: Mapping[bytes, bytes]) -> bytes:
    if row.encoding != DELTA:
        return wholes[row.hash]
    try:
        plain = unpacked(row.data, wholes[base_of(row.data)], row.size_bytes)
    except zstandard.ZstdError as error:
        raise PayloadRefused(f"a chunk does not decompress: {error}") from error
    if len(plain) != row.size_bytes:
        raise PayloadRefused(f"a chunk holds {len(plain)} bytes and says {row.size_bytes}")
    return plain


def root_file(connection: Connection, project: int, name: bytes, bytes_max: int) -> bytes | None:
    """Return the current content of a file at the root, None where there is none; raises RequestInvalid for what is no
    regular file of at most `bytes_max`, StoreUnavailable where a chunk is gone.
    """
    depth, inode, packed = walk(connection, project, [name])
    if not depth or packed is None:
        return None
    node = decode_node(packed)
    if node.mode & TYPE_BITS != REGULAR or node.size > bytes_max:
        raise RequestInvalid(f"it is no regular file of at most {bytes_max} bytes")
    content = bytearray(node.size)
    places = map_at(connection, project, inode, NOW)
    found = plain_chunks(connection, project, [digest for digest, _ in places.values()])
    for index, (digest, _) in places.items():
        if digest not in found:
            raise StoreUnavailable(f"chunk {digest.hex()} is not in the store")
        content[index * CHUNK_BYTES : index * CHUNK_BYTES + len(found[digest])] = found[digest]
    return bytes(content[: node.size])
