"""Upkeep of the files log: where to look for a path or an agent, and how far the log was seen to reach.

Off the appends' way: a row that each of them replaced, and numbers that each of them made, were a tenth of an append.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import psycopg

from app.adapters.postgres.arrays import int4_array
from app.adapters.postgres.connections import Connection, Pool, Row, run
from app.adapters.postgres.places import Places
from app.core.errors import ChainBroken

_PAGE: Final = 5000
_PAGES: Final = 40
_PLACES_MAX: Final = 320
# 1 and 2 are the logs', 3 is that of open escalations
_LOCK: Final = "select pg_try_advisory_xact_lock(%s, 4)"
_SETTLE: Final = "select settle_tree(id, true) from projects where project = %s"
_ANCHOR: Final = """
select h.position, h.hash = (
    select substr(a.hashes, (h.position - a.position)::integer * 32 + 1, 32) from file_appends a
    where a.project = h.project and a.position <= h.position order by a.position desc limit 1
) from log_heads h
where h.project = %s and h.log = 'files' and h.position > 0"""
_ROWS: Final = """
with asked as materialized (
    select %s::integer as project, (select coalesce(max(last), 0) from file_event_places where project = %s) as after,
        %s::integer as few
)
select e.position, e.path, e.agent, e.hash, e.recorded_at_us from asked q cross join lateral (
    select a.position from file_appends a where a.project = q.project and a.position <= q.after + 1
    order by a.position desc limit 1
) s join file_events e on e.project = q.project and e.append >= s.position and e.append <= q.after + q.few
where e.position > q.after and e.position <= q.after + q.few order by e.position"""
_SPAN: Final = "insert into file_event_places values (%s, %s, %s, %s)"
_SEEN: Final = """
update log_heads set position = %s, hash = %s, recorded_at_us = %s
where project = %s and log = 'files' and position < %s"""


class PostgresSpans:
    """See LogUpkeep: one project, writing role."""

    def __init__(self, pool: Pool, project: str) -> None:
        self._pool, self._project = pool, project

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def catch_up(self) -> int:
        """See LogUpkeep."""
        run(self._pool, self._settle)
        count = 0
        for _ in range(_PAGES):
            spanned, is_more = run(self._pool, self._next_page)
            count += spanned
            if not is_more:
                break
        return count

    def _settle(self, connection: Connection) -> None:
        """Put into the tables what appends left waiting: where nobody appends any more nobody else does."""
        connection.execute(_SETTLE, (self._project,))

    def _next_page(self, connection: Connection) -> tuple[int, bool]:
        """Return how many events have a span now, and whether there may be more of them."""
        with connection.transaction():
            row = connection.execute("select id from projects where project = %s", (self._project,)).fetchone()
            if row is None or not _is_mine(connection, row[0]):
                return 0, False
            _check_end(connection, row[0])
            rows = connection.execute(_ROWS, (row[0], row[0], _PAGE), binary=True).fetchall()
            if not rows:
                return 0, False
            spans = list(spans_of(rows))
            for first, last, places in spans:
                connection.execute(_SPAN, (row[0], first, last, int4_array(sorted(places))))
            position, *_, name, at_us = rows[-1]
            connection.execute(_SEEN, (position, name, at_us, row[0], position))
        return (spans[-1][1] - rows[0][0] + 1 if spans else 0), len(rows) == _PAGE


def spans_of(rows: Sequence[Row]) -> Iterable[tuple[int, int, set[int]]]:
    """Yield (first, last, places) of spans that are full; what follows the last of them waits for more events."""
    places, first = Places(), 0
    for position, path, agent, *_ in rows:
        first = first or position
        places.add(path, agent)
        if len(places.numbers) > _PLACES_MAX or position - first >= _PAGE - 1:
            yield first, position, places.numbers
            places, first = Places(), 0


def _is_mine(connection: psycopg.Connection[Row], project: int) -> bool:
    row = connection.execute(_LOCK, (project,)).fetchone()
    return row is not None and bool(row[0])


def _check_end(connection: psycopg.Connection[Row], project: int) -> None:
    seen = connection.execute(_ANCHOR, (project,)).fetchone()
    if seen is not None and not seen[1]:
        raise ChainBroken(f"event {seen[0]} of the files log is missing or another than it was before")
