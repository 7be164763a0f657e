"""Open escalations in Postgres, and their ends in the decisions log.

The end of ticket T is record 1 of the spool `ticket:T`: an append under the log's lock that finds the spool empty wins,
and every other one appends nothing. The row of an open escalation is removed after that: a crash between the two leaves
a row that is not shown, and goes with the next look at its deadline.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from app.adapters.postgres.arrays import clean
from app.adapters.postgres.connections import Pool, Row, run
from app.adapters.postgres.decisions import PostgresDecisionWriter, decode_leaves, try_decode
from app.core.decisions import DecisionRecord
from app.core.errors import StoreRefused
from app.core.messages import FORMAT, RecordBatch
from app.ports import Ticket

_OPEN: Final = "select open_escalation(project_id(%s), %s, %s, %s, %s, %s, %s)"
_MINE: Final = "select e.request from open_escalations e join projects p on p.id = e.project where p.project = %s"
_WITHOUT_END: Final = (
    " and not exists (select 1 from spools s where s.project = e.project and s.spool = 'ticket:' || e.ticket)"
)
_WAITING: Final = _MINE + _WITHOUT_END + " order by e.deadline_at_ms limit %s"
_DUE: Final = _MINE + " and e.deadline_at_ms <= %s order by e.deadline_at_ms limit %s"
_REQUEST: Final = _MINE + " and e.ticket = %s"
_FORGET: Final = """
delete from open_escalations where project = (select id from projects where project = %s) and ticket = %s
returning 1"""
_ENDED: Final = """
select d.payload from decision_events d join projects p on p.id = d.project
where p.project = %s and d.spool = %s and d.first_sequence = 1"""
_encode: Final = msgspec.msgpack.Encoder().encode


class PostgresTicketReader:
    """See TicketReader: one project."""

    def __init__(self, pool: Pool, project: str) -> None:
        self._pool = pool
        self._project = project

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def waiting(self, limit: int) -> Sequence[bytes]:
        """See TicketReader."""
        return [bytes(row[0]) for row in self._rows(_WAITING, self._project, limit)]

    def _rows(self, statement: str, *arguments: object) -> list[Row]:
        return run(self._pool, lambda c: c.execute(statement.encode(), arguments, binary=True).fetchall())


class PostgresTickets(PostgresTicketReader):
    """See Tickets: one project, in worker processes only."""

    def __init__(self, pool: Pool, project: str) -> None:
        super().__init__(pool, project)
        self._log = PostgresDecisionWriter(pool)

    def open(self, ticket: Ticket, agent_max: int, all_max: int) -> bool:
        """See Tickets."""
        name, agent = clean(ticket.id), clean(ticket.agent)
        bounds = agent_max, all_max
        rows = self._rows(_OPEN, self._project, name, agent, ticket.deadline_at_ms, ticket.request, *bounds)
        return bool(rows[0][0])

    def request(self, ticket: str) -> bytes | None:
        """See Tickets."""
        rows = self._rows(_REQUEST, self._project, clean(ticket))
        return bytes(rows[0][0]) if rows else None

    def due(self, now_ms: int, limit: int) -> Sequence[bytes]:
        """See Tickets."""
        return [bytes(row[0]) for row in self._rows(_DUE, self._project, now_ms, limit)]

    def end(self, ticket: str, record: DecisionRecord) -> DecisionRecord:
        """See Tickets."""
        batch = RecordBatch(FORMAT, self._project, _spool(ticket), "", "", 1, (_encode(record),))
        self._log.append(batch, record.task_id)
        stands = self.ended(ticket)
        if stands is None:
            raise StoreRefused(f"the end of escalation {ticket} cannot be read")
        self._rows(_FORGET, self._project, clean(ticket))
        return stands

    def ended(self, ticket: str) -> DecisionRecord | None:
        """See Tickets."""
        rows = self._rows(_ENDED, self._project, _spool(ticket))
        if not rows:
            return None
        leaves = decode_leaves(zstandard.ZstdDecompressor().decompress(bytes(rows[0][0])))
        return try_decode(leaves[0].record)


def _spool(ticket: str) -> str:
    return f"ticket:{clean(ticket)}"
