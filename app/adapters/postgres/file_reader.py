"""Both logs and the tree, reading role: positions are gapless, so who has read N has read everything before it.

What is returned is on disk (flushed.py).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from app.adapters.postgres import waiting
from app.adapters.postgres.chain_check import check_chain
from app.adapters.postgres.connections import Connection, Pool, Row, T, run
from app.adapters.postgres.content_reads import map_at, map_of, plain_chunks, root_file
from app.adapters.postgres.flushed import flushed
from app.adapters.postgres.fold import outcome_of
from app.adapters.postgres.log_pages import decision_pages, file_pages
from app.adapters.postgres.packed_tree import packed_names, packed_nodes
from app.adapters.postgres.sequences import last_sequences
from app.adapters.postgres.tree_rows import decode_node
from app.core.ids import GENESIS_HASH, ROOT_INODE
from app.core.memory_tree import MemoryTree
from app.core.messages import FILES, FeedEvent
from app.core.operations import decode_request
from app.core.tree import ROOT_NODE, Node, apply
from app.ports import ChainReport, EventFilter, LoggedDecision, LoggedEvent, LogHead, TreeSnapshot

_HEADS: Final = "select log, position, hash from heads where project = %s"
# positions have no gap: the events after N are N + 1 ... N + limit
_EVENTS: Final = """
with asked as materialized (select %s::integer as project, %s::bigint as after, %s::integer as few)
select e.position, e.incarnation, e.sequence, i.origin_name, e.payload, e.outcome, e.hash
from asked q cross join lateral (
    select a.position from file_appends a where a.project = q.project and a.position <= q.after + 1
    order by a.position desc limit 1
) s join file_events e on e.project = q.project and e.append >= s.position and e.append <= q.after + q.few
join incarnations i on i.project = e.project and i.incarnation = e.incarnation
where e.position > q.after and e.position <= q.after + q.few order by e.position"""
_APPEND_BEFORE: Final = """
select case when a.position + a.events - 1 <= %(at)s then a.position + a.events - 1 else a.position - 1 end
from file_appends a where a.project = %(project)s and a.position <= %(at)s order by a.position desc limit 1"""
_REQUESTS: Final = """
select e.incarnation, i.origin_name, e.payload, e.outcome
from file_events e join incarnations i on i.project = e.project and i.incarnation = e.incarnation
where e.project = %s and e.append > %s and e.append <= %s and e.position <= %s order by e.position"""
_HASH: Final = """
select substr(a.hashes, (%(at)s - a.position)::integer * 32 + 1, 32) from file_appends a
where a.project = %(project)s and a.position <= %(at)s and a.position + a.events > %(at)s
order by a.position desc limit 1"""
_NODES: Final = f"""{waiting.NODES}
select i.inode, i.node from inodes i
    where i.project = %(project)s and i.since <= %(at)s and i.inode not in (select w.inode from waits w)
union all select w.inode, w.node from waits w where w.node is not null"""  # noqa: S608 - both are constants
_NODES_PAST: Final = """
union all select p.inode, p.node from inodes_past p
    where p.project = %(project)s and p.since <= %(at)s and p.until > %(at)s"""
_NAMES: Final = f"""{waiting.NAMES}
select d.parent, d.name, d.inode from dentries d
    where d.project = %(project)s and d.since <= %(at)s
    and (d.parent, d.name) not in (select w.parent, w.name from waits w)
union all select w.parent, w.name, w.inode from waits w where w.inode is not null"""  # noqa: S608 - both are constants
_NAMES_PAST: Final = """
union all select p.parent, p.name, p.inode from dentries_past p
    where p.project = %(project)s and p.since <= %(at)s and p.until > %(at)s"""
_ALIASES: Final = "select inode, target from tree_aliases where project = %(project)s and since <= %(at)s"


class PostgresFileReader:
    """See LogReader: one project. Opens nothing until it is asked something."""

    def __init__(self, pool: Pool, project: str) -> None:
        self._pool = pool
        self._project = project
        self._number_known = 0

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def head(self, log: str = FILES) -> LogHead:
        """See FileEventReader."""
        return self.heads().get(log, LogHead(0, GENESIS_HASH))

    def heads(self) -> dict[str, LogHead]:
        """See LogReader."""
        return {log: LogHead(position, name) for log, position, name in self._rows(_HEADS)}

    def events_after(self, position: int, limit: int = 1000) -> Sequence[FeedEvent]:
        """See FileEventReader. A redacted event has an empty request."""
        return [
            FeedEvent(at, incarnation, sequence, origin_name, payload or b"", outcome_of(outcome), name)
            for at, incarnation, sequence, origin_name, payload, outcome, name in self._rows(_EVENTS, position, limit)
        ]

    def load_tree(self, incarnations: Sequence[int] = ()) -> TreeSnapshot:
        """See FileEventReader."""
        return self._run(lambda c, n: _load_tree(c, n, incarnations, None))

    def tree_at(self, position: int) -> TreeSnapshot:
        """See LogReader."""
        return self._run(lambda c, n: _load_tree(c, n, (), position))

    def last_sequence(self, incarnation: int) -> int:
        """See FileEventReader."""
        return self._run(lambda c, n: last_sequences(c, n, [incarnation])).get(incarnation, 0)

    def chunk_map(self, inode: int, version: tuple[int, int]) -> dict[int, tuple[bytes, int]]:
        """See FileEventReader."""
        del inode  # a version names its event, which names the inode
        return self._run(lambda c, n: _in_snapshot(c, lambda: map_of(c, n, version, stored=True)))

    def chunk_map_at(self, inode: int, position: int) -> dict[int, tuple[bytes, int]]:
        """See LogReader."""
        return self._run(lambda c, n: map_at(c, n, inode, position))

    def chunks(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """See FileEventReader."""
        return self._run(lambda c, n: plain_chunks(c, n, hashes))

    def root_file(self, name: bytes, bytes_max: int) -> bytes | None:
        """Return the content of a file at the project's root, None where there is none; raises RequestInvalid for what
        is no regular file of at most that size.
        """
        return self._run(lambda c, n: _in_snapshot(c, lambda: root_file(c, n, name, bytes_max)))

    def log(self, wanted: EventFilter) -> Iterator[LoggedEvent]:
        """See FileEventReader. Of the decisions log each record is an event of kind `decision`."""
        if wanted.log != FILES:
            yield from (_as_event(decision) for decision in self.decisions(wanted))
            return
        yield from _limited(file_pages(wanted, self._rows), wanted.limit)

    def decisions(self, wanted: EventFilter) -> Iterator[LoggedDecision]:
        """See LogReader."""
        yield from _limited(decision_pages(wanted, self._rows), wanted.limit)

    def verify_chain(self, log: str = FILES) -> ChainReport:
        """See LogReader."""
        return self._run(lambda c, n: _in_snapshot(c, lambda: check_chain(c, n, self._project, log)))

    def _run(self, work: Callable[[Connection, int], T]) -> T:
        return run(self._pool, lambda c: flushed(c, work(c, self._number(c))))

    def _rows(self, statement: str, *arguments: object) -> list[Row]:
        return self._run(lambda c, n: c.execute(statement.encode(), (n, *arguments), binary=True).fetchall())

    def _number(self, connection: Connection) -> int:
        if not self._number_known:
            row = connection.execute("select id from projects where project = %s", (self._project,)).fetchone()
            self._number_known = 0 if row is None else int(row[0])
        return self._number_known


def _in_snapshot(connection: Connection, work: Callable[[], T]) -> T:
    """Run reads that must see one moment."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        return work()


def _load_tree(connection: Connection, number: int, incarnations: Sequence[int], position: int | None) -> TreeSnapshot:
    def read() -> TreeSnapshot:
        head = {log: LogHead(at, name) for log, at, name in _fetch(connection, _HEADS, (number,))}.get(
            FILES, LogHead(0, GENESIS_HASH)
        )
        if position is not None and position < head.position:
            return _tree_within(connection, number, position)
        nodes, names = packed_nodes(connection, number), packed_names(connection, number)
        aliases = _fetch(connection, _ALIASES, {"project": number, "at": waiting.END})
        known = last_sequences(connection, number, incarnations)
        return TreeSnapshot(head, nodes, names, aliases, {i: known.get(i, 0) for i in incarnations})

    return _in_snapshot(connection, read)


def _tree_within(connection: Connection, number: int, position: int) -> TreeSnapshot:
    """Return an earlier tree: the rows at the end of an append, and the events of the next one up to `position`."""
    ended = _fetch(connection, _APPEND_BEFORE, {"project": number, "at": position})
    start = ended[0][0] if ended else 0
    tree = MemoryTree()
    tree.fill(*_tree_rows(connection, number, start))
    for incarnation, origin_name, payload, outcome in _fetch(
        connection, _REQUESTS, (number, start, position, position)
    ):
        if payload is not None and outcome_of(outcome).kind not in {"rejected", "shadowed"}:
            apply(tree, decode_request(payload), incarnation, origin_name)
    names = [(parent, name, inode) for parent, held in tree.children.items() for name, inode in held.items()]
    return TreeSnapshot(_head_at(connection, number, position), tree.nodes.items(), names, tree.aliases.items(), {})


def _tree_rows(
    connection: Connection, number: int, position: int | None
) -> tuple[list[tuple[int, Node]], list[Row], list[Row]]:
    """Return nodes, names and aliases at the end of an append, or now."""
    asked = {"project": number, "at": waiting.END if position is None else position}
    was_nodes, was_names = ("", "") if position is None else (_NODES_PAST, _NAMES_PAST)
    rows = _fetch(connection, _NODES + was_nodes, asked)
    nodes = [(inode, decode_node(node)) for inode, node in rows]
    if not any(inode == ROOT_INODE for inode, _ in nodes):
        nodes.append((ROOT_INODE, ROOT_NODE))
    names = _fetch(connection, _NAMES + was_names, asked)
    aliases = _fetch(connection, _ALIASES, asked)
    return nodes, names, aliases


def _head_at(connection: Connection, number: int, position: int) -> LogHead:
    rows = _fetch(connection, _HASH, {"project": number, "at": position})
    return LogHead(position, rows[0][0]) if rows else LogHead(0, GENESIS_HASH)


def _fetch(connection: Connection, statement: str, arguments: tuple[Any, ...] | dict[str, Any]) -> list[Row]:
    return connection.execute(statement.encode(), arguments, binary=True).fetchall()


def _limited(items: Iterator[T], limit: int) -> Iterator[T]:
    for count, item in enumerate(items, 1):
        yield item
        if count == limit:
            return


def _as_event(decision: LoggedDecision) -> LoggedEvent:
    record = decision.record
    return LoggedEvent(
        "decisions", decision.position, "decision", record.at_ns, record.agent, record.session, record.tool_call,
        record.id, decision.task_id, b"", 0, decision.spool, "", 0, record.sequence, record.verdict, 0,
    )  # fmt: skip
