"""Readers rely on nothing that a fall of Postgres could take back.

An append that others wait for gives its lock back, and can be read, before it is on disk (migrations/0010). So whoever
has read something waits until the log on disk reaches what was written by then: what can be read is written.
"""

import time
from typing import Final

from app.adapters.postgres.connections import Connection, T

# a page's header is written with its first record: right behind one, nothing of that page is waited for
_WRITTEN: Final = """
with w as materialized (select pg_current_wal_insert_lsn() - '0/0' as at)
select case when at % 8192 <= 40 then at - at % 8192 else at end, pg_current_wal_flush_lsn() - '0/0' from w"""
_FLUSHED: Final = "select pg_current_wal_flush_lsn() - '0/0'"
_FLUSH: Final = "select pg_logical_emit_message(true, 'weir', '')"
_WAITS_S: Final = (0.0, 0.0003, 0.0005, 0.001, 0.002)


def flushed(connection: Connection, result: T) -> T:
    """Return `result`, read before on this connection, once it is on disk; outside of a transaction."""
    written, on_disk = _numbers(connection, _WRITTEN)
    for wait_s in _WAITS_S:
        if on_disk >= written:
            return result
        time.sleep(wait_s)
        (on_disk,) = _numbers(connection, _FLUSHED)
    flush(connection)
    return result


def flush(connection: Connection) -> None:
    """Return when everything that could be read so far is on disk.

    The commit of a transaction that wrote a record waits for all records before it.
    """
    connection.execute(_FLUSH)


def _numbers(connection: Connection, statement: str) -> tuple[int, ...]:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return tuple(map(int, row))
