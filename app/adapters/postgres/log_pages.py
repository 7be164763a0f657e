"""Events as people read them, page by page: each page is one short query, so that a slow reader holds no connection."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import zstandard

from app.adapters.postgres import arrays
from app.adapters.postgres.connections import Row
from app.adapters.postgres.decisions import decode_leaves, try_decode
from app.adapters.postgres.fold import outcome_of
from app.adapters.postgres.places import agent_place, path_place
from app.core.messages import FILES
from app.core.operations import Content, decode_request
from app.ports import EventFilter, LoggedDecision, LoggedEvent

Ask = Callable[..., list[Row]]
_PAGE_MAX: Final = 500
_WIDTH_MAX: Final = 50_000
_END: Final = 2**62
# b"0" follows b"/" in byte order
_BELOW: Final = " and (e.path = %s or (e.path >= %s::bytea || '/' and e.path < %s::bytea || '0'))"
# both in one statement: what is behind the last span now may be in a span of its own later
_SPANS: Final = """
with asked as materialized (select %s::integer as project, %s::integer[] as places)
select s.first, s.last from asked a join file_event_places s
on s.project = a.project and (s.places is null or s.places @> a.places)
union all
select coalesce((select max(l.last) from file_event_places l where l.project = a.project), 0) + 1, 4611686018427387904
from asked a
order by 1"""
_FILES: Final = """
with asked as materialized (select %s::integer as project, %s::bigint as low, %s::bigint as high)
select e.position, e.kind, e.at_ns, e.agent, e.session, e.tool_call, e.decision, e.task_id, e.path, e.inode, i.origin,
    i.origin_name, e.incarnation, e.sequence, e.outcome, case when e.kind in ('write', 'truncate') then e.payload end
from asked q cross join lateral (
    select coalesce(max(a.position), 0) as position from file_appends a
    where a.project = q.project and a.position <= q.low + 1
) s join file_events e on e.project = q.project and e.append >= s.position and e.append < q.high
join incarnations i on i.project = e.project and i.incarnation = e.incarnation
where e.position > q.low and e.position < q.high"""
_HEAD: Final = "select position from heads where project = %s and log = 'files'"
_DECISIONS: Final = "select e.position, e.spool, e.task_id, e.payload from decision_events e where e.project = %s"


def file_pages(wanted: EventFilter, ask: Ask) -> Iterator[LoggedEvent]:
    """Yield file events."""
    conditions: list[tuple[str, tuple[Any, ...]]] = []
    places: list[int] = []
    path = wanted.path.strip(b"/")
    if path:
        conditions.append((_BELOW, (path,) * 3))
        places.append(path_place(path))
    if wanted.agent:
        conditions.append((" and e.agent = %s", (wanted.agent,)))
        places.append(agent_place(wanted.agent))
    if wanted.since_ns:
        conditions.append((" and e.at_ns >= %s and e.last_at_ns >= %s", (wanted.since_ns,) * 2))
    if wanted.until_ns:
        conditions.append((" and e.at_ns < %s and e.first_at_ns < %s", (wanted.until_ns,) * 2))
    for low, high in _spans(places, wanted, ask) if places else [(wanted.after, _END)]:
        for row in _windows(conditions, wanted, ask, max(low, wanted.after), min(high, wanted.before or _END)):
            yield _file_event(row)


def _windows(
    conditions: list[tuple[str, tuple[Any, ...]]], wanted: EventFilter, ask: Ask, low: int, high: int
) -> Iterator[Row]:
    """Yield rows at the positions between `low` and `high`, a window of positions a query: they have no gap."""
    page = min(_PAGE_MAX, wanted.limit) if wanted.limit > 0 else _PAGE_MAX
    text = _FILES + "".join(condition for condition, _ in conditions)
    text += f" order by e.position {'asc' if wanted.ascending else 'desc'} limit %s"
    arguments = [value for _, values in conditions for value in values]
    width, low = page, max(low, 0)
    high = min([high, *(row[0] + 1 for row in ask(_HEAD))])
    while low + 1 < high:
        start, end = (low, min(high, low + width + 1)) if wanted.ascending else (max(low, high - width - 1), high)
        rows = ask(text, start, end, *arguments, page)
        yield from rows
        last = rows[-1][0] if len(rows) == page else end - 1 if wanted.ascending else start + 1
        low, high = (last, high) if wanted.ascending else (low, last)
        width = min(2 * width, _WIDTH_MAX)


def _spans(places: list[int], wanted: EventFilter, ask: Ask) -> list[tuple[int, int]]:
    """Return (low, high), both exclusive, of the spans that may hold all `places`, in the order asked for."""
    spans: list[tuple[int, int]] = []
    for first, last in ask(_SPANS, arrays.int4_array(places)):
        if last <= wanted.after:
            continue
        low = max(first - 1, wanted.after)
        if spans and spans[-1][1] > low:
            low = spans.pop()[0]
        spans.append((low, min(last + 1, _END)))
    return spans if wanted.ascending else spans[::-1]


def decision_pages(wanted: EventFilter, ask: Ask) -> Iterator[LoggedDecision]:
    """Yield decision records; rows are found by index, records are filtered here."""
    conditions: list[tuple[str, tuple[Any, ...]]] = []
    if wanted.agent:
        conditions.append((" and e.agents @> array[%s]", (wanted.agent,)))
    if wanted.since_ns:
        conditions.append((" and e.last_at_ns >= %s", (wanted.since_ns,)))
    if wanted.until_ns:
        conditions.append((" and e.first_at_ns < %s", (wanted.until_ns,)))
    for position, spool, task_id, payload in _pages(_DECISIONS, conditions, wanted, ask, 20):
        leaves = list(enumerate(decode_leaves(zstandard.ZstdDecompressor().decompress(payload))))
        for index, leaf in leaves if wanted.ascending else reversed(leaves):
            record = try_decode(leaf.record)
            if record is not None and _is_wanted(wanted, record.agent, record.at_ns):
                yield LoggedDecision(position, index, task_id, spool, record)


def _is_wanted(wanted: EventFilter, agent: str, at_ns: int) -> bool:
    in_time = wanted.since_ns <= at_ns and (not wanted.until_ns or at_ns < wanted.until_ns)
    return in_time and wanted.agent in {"", agent}


def _pages(
    statement: str,
    conditions: list[tuple[str, tuple[Any, ...]]],
    wanted: EventFilter,
    ask: Ask,
    page: int,
) -> Iterator[Row]:
    page = min(page, wanted.limit) if wanted.limit > 0 else page
    text = statement + "".join(condition for condition, _ in conditions) + " and e.position > %s and e.position < %s"
    text += f" order by e.position {'asc' if wanted.ascending else 'desc'} limit %s"
    arguments = [value for _, values in conditions for value in values]
    low, high = wanted.after, wanted.before or _END
    while rows := ask(text, *arguments, low, high, page):
        yield from rows
        if len(rows) < page:
            return
        low, high = (rows[-1][0], high) if wanted.ascending else (low, rows[-1][0])


def _file_event(row: Row) -> LoggedEvent:
    *columns, outcome, payload = row
    became = outcome_of(outcome)
    size = 0
    if payload is not None and became.kind != "rejected":
        operation = decode_request(payload).operation
        size = became.size if became.size >= 0 else operation.size if isinstance(operation, Content) else 0
    word = became.kind if not became.reason else f"{became.kind}: {became.reason}"
    (
        position,
        kind,
        at_ns,
        agent,
        session,
        tool_call,
        decision,
        task_id,
        path,
        inode,
        origin,
        origin_name,
        incarnation,
        sequence,
    ) = columns
    return LoggedEvent(
        FILES, position, kind, at_ns, agent, session, tool_call, decision, task_id, path, inode, origin, origin_name,
        incarnation, sequence, word, size,
    )  # fmt: skip
