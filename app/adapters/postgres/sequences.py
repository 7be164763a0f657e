"""Events by incarnation and sequence: sequences of one append follow each other."""

from collections.abc import Iterable, Sequence
from typing import Final

from app.adapters.postgres import arrays
from app.adapters.postgres.connections import Connection

_LAST: Final = """
select i.incarnation, coalesce((
    select a.sequence + a.events - 1 from file_appends a where a.project = i.project and a.incarnation = i.incarnation
    order by a.sequence desc limit 1
), 0) from incarnations i where i.project = %s and i.incarnation = any(%s)"""
# the appends that began at or before the last sequence asked for and end at or after the first
_STORED: Final = """
with asked as materialized (
    select %s::integer as project, %s::bigint as incarnation, %s::bigint as low, %s::bigint as high
)
select e.sequence, e.position, e.digest, e.outcome from asked q cross join lateral (
    select a.position from file_appends a
    where a.project = q.project and a.incarnation = q.incarnation and a.sequence <= q.high
    and a.sequence >= (
        select max(f.sequence) from file_appends f
        where f.project = q.project and f.incarnation = q.incarnation and f.sequence <= q.low
    ) offset 0
) s cross join lateral (
    select * from file_events t where t.project = q.project and t.append = s.position
    and t.sequence between q.low and q.high offset 0
) e order by e.sequence"""


def last_sequences(connection: Connection, project: int, incarnations: Sequence[int]) -> dict[int, int]:
    """Return the last stored sequence of each incarnation that is known; 0 before the first event."""
    if not incarnations:
        return {}
    rows = connection.execute(_LAST, (project, arrays.int8_array(incarnations)), binary=True)
    return {incarnation: last for incarnation, last in rows}  # noqa: C416 - dict() of a cursor loses the types


def stored(
    connection: Connection, project: int, incarnation: int, first: int, last: int
) -> Iterable[tuple[int, int, bytes, bytes | None]]:
    """Return (sequence, position, digest, outcome) of stored events."""
    return connection.execute(_STORED, (project, incarnation, first, last), binary=True).fetchall()
