"""A statement whose arguments are packed already, straight through libpq: a cursor took 0.1 ms to find that out."""

import select
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

import psycopg
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from app.adapters.postgres.connections import Connection

_BINARY: Final = 1


class DirectStatement:
    """Takes binary arguments, returns the only field of the only row.

    Outside of transactions it is prepared once a connection, and again after psycopg has dropped all that is prepared,
    as it does on each rollback. In a transaction, where finding that out would be an error, it is not. Before the first
    use it runs with the arguments that `first` makes, which change nothing: what it runs is then planned.
    """

    def __init__(self, name: str, statement: str, types: Sequence[int], first: Callable[[], Sequence[bytes]]) -> None:
        self._name, self._statement, self._types = name.encode(), statement.encode(), tuple(types)
        self._first = first
        self._formats = [_BINARY] * len(types)
        self._prepared: WeakSet[Connection] = WeakSet()

    def run(
        self, connection: Connection, arguments: Sequence[bytes], meanwhile: Callable[[], None] | None = None
    ) -> bytes:
        """Run; an argument of b'' is null. Raises what psycopg would. `meanwhile` is done once, while the server works
        where that can be.
        """
        values = [argument or None for argument in arguments]
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            _done(meanwhile)
            result = connection.pgconn.exec_params(self._statement, values, self._types, self._formats, _BINARY)
            return _field(_checked(connection, result))
        try:
            return self._run_prepared(connection, values, meanwhile)
        except InvalidSqlStatementName:
            self._prepared.discard(connection)
            return self._run_prepared(connection, values, None)

    def _run_prepared(
        self, connection: Connection, values: list[bytes | None], meanwhile: Callable[[], None] | None
    ) -> bytes:
        if connection not in self._prepared:
            _checked(connection, connection.pgconn.prepare(self._name, self._statement, self._types))
            self._prepared.add(connection)
            self._execute(connection, [argument or None for argument in self._first()], None)
        return self._execute(connection, values, meanwhile)

    def _execute(
        self, connection: Connection, values: Sequence[bytes | None], meanwhile: Callable[[], None] | None
    ) -> bytes:
        waiting = select.poll()
        connection.pgconn.send_query_prepared(self._name, values, self._formats, _BINARY)
        try:
            _flush(connection, waiting)
            _done(meanwhile)
        finally:
            result = _received(connection, waiting)
        return _field(_checked(connection, result))


def _done(meanwhile: Callable[[], None] | None) -> None:
    if meanwhile is not None:
        meanwhile()


def _flush(connection: Connection, waiting: select.poll) -> None:
    """Send all of what libpq still holds: psycopg's connections do not block."""
    pgconn = connection.pgconn
    while pgconn.flush():
        waiting.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        if any(event & select.POLLIN for _, event in waiting.poll()):
            pgconn.consume_input()


def _received(connection: Connection, waiting: select.poll) -> PGresult:
    """Return the result of the only statement under way; other threads run while this one waits."""
    pgconn = connection.pgconn
    waiting.register(pgconn.socket, select.POLLIN)
    result = None
    while True:
        while pgconn.is_busy():
            waiting.poll()
            pgconn.consume_input()
        following = pgconn.get_result()
        if following is None:
            break
        result = following
    if result is None:
        raise psycopg.OperationalError(pgconn.get_error_message())
    return result


def _field(result: PGresult) -> bytes:
    value = result.get_value(0, 0)
    assert value is not None
    return value


def _checked(connection: Connection, result: PGresult) -> PGresult:
    if result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        return result
    if connection.pgconn.status == ConnStatus.BAD:
        raise psycopg.OperationalError(result.get_error_message())
    raise error_from_result(result)
