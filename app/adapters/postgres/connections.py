"""One pool of connections a process, and the place where psycopg's errors become Weir's.

Opened after fork, never at import: a forked pool shares sockets with its parent. A stale connection (Postgres was
restarted) costs one retry instead of a check at every checkout (0.1 ms of 0.4 ms): what is retried is idempotent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from app.adapters.postgres import arrays
from app.core.errors import StoreRefused, StoreUnavailable

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]
Pool = ConnectionPool[Connection]
T = TypeVar("T")

CHECKOUT_S: Final = 2.0
# give up a failed reconnection early: the next checkout starts anew, so a pool heals at once, not after a doubled delay
RECONNECT_S: Final = 1.0
# only key look-ups run here: a plan cached while a table was small must not become a scan of a large one
_PLANNING: Final = "-c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
# planning anew for each batch's arrays cost more than running them (3.7 of 4 ms for the look-ups of 100 requests)
_GENERIC: Final = "-c plan_cache_mode=force_generic_plan"
_LIMITS: Final = "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
_WRITING: Final = f"{_LIMITS} {_GENERIC} {_PLANNING} -c enable_bitmapscan=off"
_READING: Final = f"-c statement_timeout=60s -c default_transaction_read_only=on {_PLANNING}"


def open_pool(url: str, size: int, *, writing: bool = False, name: str = "weir", statement_ms: int = 0) -> Pool:
    """Open a pool of at most `size` connections; returns without waiting for the server. `statement_ms` bounds each
    statement further than usual.
    """
    limit = f" -c statement_timeout={statement_ms}ms" if statement_ms else ""
    return ConnectionPool(
        url,
        connection_class=psycopg.Connection[Row],
        kwargs={
            "autocommit": True,
            "prepare_threshold": 1,
            "connect_timeout": 2,
            "options": (_WRITING if writing else _READING) + limit,
            "application_name": name,
            "keepalives_idle": 15,
        },
        min_size=1,
        max_size=size,
        timeout=CHECKOUT_S,
        reconnect_timeout=RECONNECT_S,
        max_waiting=64,
        configure=arrays.register,
        open=True,
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Translate: the server is gone, or a lock was not had in time -> StoreUnavailable; all else -> StoreRefused."""
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise StoreRefused(f"Postgres gave up on a statement: {error}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable(f"Postgres: {error}") from error
    except psycopg.Error as error:
        raise StoreRefused(f"Postgres refused: {error}") from error


def run(pool: Pool, work: Callable[[Connection], T], again: Callable[[Connection], T] | None = None) -> T:
    """Run idempotent `work` on a pooled connection; once more, or `again`, on a fresh one if that one was dead."""
    try:
        return _lend(pool, work)
    except StoreUnavailable:
        with store_errors():
            pool.check()
        return _lend(pool, again or work)


def _lend(pool: Pool, work: Callable[[Connection], T]) -> T:
    with store_errors():
        connection = pool.getconn()
        try:
            return work(connection)
        finally:
            pool.putconn(connection)  # which ends what a failure left open; there is no transaction to commit
