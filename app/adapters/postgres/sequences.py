"""Events by incarnation and sequence: over the one that began its append (file_events.appended), then by position."""

from collections.abc import Iterable, Sequence
from typing import Final

from app.adapters.postgres import arrays
from app.adapters.postgres.connections import Connection

_LAST: Final = """
select i.incarnation, coalesce((
    select e.sequence + e.appended - 1 from file_events e where e.project = i.project and e.incarnation = i.incarnation
    and e.appended is not null order by e.sequence desc limit 1
), 0) from incarnations i where i.project = %s and i.incarnation = any(%s)"""
# the appends that began at or before the last sequence asked for and end at or after the first
_STORED: Final = """
with asked as materialized (
    select %s::integer as project, %s::bigint as incarnation, %s::bigint as low, %s::bigint as high
)
select e.sequence, e.position, e.digest, e.outcome from asked a cross join lateral (
    select b.position, b.appended from file_events b
    where b.project = a.project and b.incarnation = a.incarnation and b.appended is not null and b.sequence <= a.high
    and b.sequence >= (
        select max(f.sequence) from file_events f
        where f.project = a.project and f.incarnation = a.incarnation and f.appended is not null and f.sequence <= a.low
    ) offset 0
) s cross join lateral (
    select * from file_events t where t.project = a.project and t.position >= s.position
    and t.position < s.position + s.appended and t.sequence between a.low and a.high offset 0
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
