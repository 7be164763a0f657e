"""Walk a log and recompute every hash: a changed, missing or added row is found at its position."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from app.adapters.postgres.connections import Connection, Row
from app.adapters.postgres.decisions import decode_leaves, digest_of, header_of
from app.adapters.postgres.links import APPLIED_BYTES
from app.core.chain import EventHeader, merkle_root, payload_digest, row_hash
from app.core.ids import GENESIS_HASH
from app.core.messages import FILES
from app.ports import ChainReport

_PAGE: Final = 200
"""Rows of a log, which hold several events each."""
_FILES: Final = """
with asked as materialized (select %s::integer as project, %s::bigint as after, %s::integer as few)
select e.position, e.kind, e.recorded_at_us, i.origin, e.incarnation, e.sequence, e.agent, e.session, e.tool_call,
    e.decision, e.task_id, e.inode, e.outcome, e.payload, e.digest, e.hash
from asked q cross join lateral (
    select max(l.position) as position from (
        select a.position from file_appends a where a.project = q.project and a.position > q.after
        order by a.position limit q.few
    ) l
) s join file_events e on e.project = q.project and e.append > q.after and e.append <= s.position
join incarnations i on i.project = e.project and i.incarnation = e.incarnation order by e.position"""
_REACHED: Final = """
with asked as materialized (select %s::integer as project)
select greatest(0,
    (select position from log_heads h where h.project = a.project and h.log = 'files'),
    (select f.position + f.events - 1 from file_appends f where f.project = a.project order by f.position desc limit 1),
    (select max(since) from inodes i where i.project = a.project),
    (select max(since) from dentries d where d.project = a.project),
    (select max(position) from tree_waiting w where w.project = a.project)
) from asked a"""
_DECISIONS: Final = """
select position, recorded_at_us, spool, first_sequence, task_id, payload, digest, hash
from decision_events where project = %s and position > %s order by position limit %s"""


class _Link(NamedTuple):
    position: int
    header: EventHeader
    digest: bytes
    hash: bytes
    is_payload_sound: bool


def check_chain(connection: Connection, number: int, project: str, log: str) -> ChainReport:
    """Return how far the chain of a log is sound, from its first row to its last.

    The last row of the files log must be behind all that tells how far it reached: where it was last seen to end, what
    the last append began, what the tree is made of. That of the decisions log must be its head.
    """
    seen = connection.execute(
        "select position, hash from log_heads where project = %s and log = %s", (number, log), binary=True
    ).fetchone() or (0, GENESIS_HASH)
    previous, position = GENESIS_HASH, 0
    for link in _links(connection, number, project, log):
        if link.position != position + 1:
            return ChainReport(log, position, position + 1, "a row is missing")
        position = link.position
        if not link.is_payload_sound:
            return ChainReport(log, position - 1, position, "the payload is not what its digest says")
        previous = row_hash(previous, link.header, link.digest)
        if previous != link.hash:
            return ChainReport(log, position - 1, position, "the row's hash is not the hash of what it holds")
        if position == seen[0] and previous != seen[1]:
            return ChainReport(log, position - 1, position, "the row is not the one that was seen here before")
    if position < _reached(connection, number, log) or (log != FILES and position != seen[0]):
        return ChainReport(log, position, position + 1, "the head is not the last row")
    return ChainReport(log, position, 0, "")


def _reached(connection: Connection, number: int, log: str) -> int:
    if log != FILES:
        return 0
    row = connection.execute(_REACHED, (number,), binary=True).fetchone()
    return 0 if row is None else int(row[0])


def _links(connection: Connection, number: int, project: str, log: str) -> Iterator[_Link]:
    after = 0
    statement, link = (_FILES, _file_link) if log == FILES else (_DECISIONS, _decision_link)
    while rows := connection.execute(statement, (number, after, _PAGE), binary=True).fetchall():
        for row in rows:
            yield link(project, row)
        after = rows[-1][0]


def _file_link(project: str, row: Row) -> _Link:
    (position, *columns), outcome, (payload, digest, name) = row[:12], row[12], row[13:]
    values: list[Any] = [project, FILES, position, *columns, outcome or APPLIED_BYTES]
    return _Link(position, EventHeader(*values), digest, name, payload is None or payload_digest(payload) == digest)


def _decision_link(project: str, row: Row) -> _Link:
    position, at_us, spool, first, task_id, payload, digest, name = row
    header = header_of(project, position, at_us, spool, first, task_id)
    return _Link(position, header, digest, name, _is_root(payload, digest))


def _is_root(payload: bytes, digest: bytes) -> bool:
    try:
        return (
            merkle_root([digest_of(leaf) for leaf in decode_leaves(zstandard.ZstdDecompressor().decompress(payload))])
            == digest
        )
    except (zstandard.ZstdError, msgspec.DecodeError):
        return False
