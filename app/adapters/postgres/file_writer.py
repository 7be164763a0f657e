"""The files log, writing role: one transaction a batch, gapless positions in commit order.

Two ways, the same function at their end. *Standing*: rows that are not known are read, the batch is folded, and one
call takes the lock, compares the rows that the fold relied on, gives positions and hashes, and appends: others may
have appended meanwhile. *Locked*: take the lock, read head and rows, fold, append; for what meets others' changes, and
for what needs stored content. A retry is harmless: what is stored already is recognised by its sequence and digest.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

import psycopg

from app.adapters.postgres import arrays, calls
from app.adapters.postgres.bases import WHOLE_BYTES_MAX, Bases
from app.adapters.postgres.connections import Connection, Pool, run
from app.adapters.postgres.content_reads import kept_whole
from app.adapters.postgres.flushed import flush
from app.adapters.postgres.fold import CheckMove, CheckPath, CutHere, Fold, Folded, Poisoned, Task, outcome_of
from app.adapters.postgres.links import hashes_of
from app.adapters.postgres.prepared import PreparedBatch, check_chunks, prepare
from app.adapters.postgres.sequences import last_sequences, stored
from app.adapters.postgres.standing import Head, Origin, Standing
from app.adapters.postgres.told import Told, tell
from app.adapters.postgres.touched import FOREIGN_MAX
from app.adapters.postgres.tree_rows import TreeRow, Unknown, Wanted
from app.adapters.postgres.work import Done, Work, event_arguments, refusal_of, tree_arguments, wanted_by
from app.core.chunks import project_key
from app.core.deltas import DELTA
from app.core.errors import PayloadRefused, StoreRefused, StoreUnavailable
from app.core.messages import FORMAT, ChunkData, FeedMessage, PersistBatch, PersistReply, Rejection

KNOWN_MAX: Final = 200_000
_WAIT_MAX: Final = 64
"""What up to so many events change waits."""
_ROWS_MAX: Final = 512
"""But not more rows of content maps than this: they are unpacked by whoever reads what waits."""
_ROWS_AN_EVENT: Final = 4
"""Rows beyond these count as events do towards settling."""
_SETTLE_FROM: Final = 512
"""With so many events of this writer the rows that wait are put into the tables."""
_YIELD_MIN: Final = 1
_YIELD_MAX: Final = 64
_CROWD: Final = 32
"""For so many appends after one that met others' the log's lock is given back before the flush."""


class PostgresFileWriter:
    """See FileEventWriter. `check_path(path, request)` returns why policy refuses a path, or None; `check_move(old,
    new, inside)` the same for a directory and what is inside it.

    Thread-safe: one thread at a time uses what is known of a project, others take the locked way.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        check_path: CheckPath | None = None,
        check_move: CheckMove | None = None,
        keeps_deltas: bool = True,
    ) -> None:
        self._pool = pool
        self._bases_bytes = WHOLE_BYTES_MAX if keeps_deltas else 0
        self._bases: dict[int, Bases] = {}
        self._check_path = check_path
        self._check_move = check_move
        self._projects: dict[str, int] = {}
        self._standings: dict[int, Standing] = {}
        self._guard = threading.Lock()
        self._yield_left = 0
        self._yield_next = _YIELD_MIN
        self._crowd_left = 0
        self._waiting = 0
        self._clock_ahead_us = 0

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def register_incarnation(self, project: str, origin: str, origin_name: str, request_id: str) -> int:
        """See FileEventWriter."""
        number = self._project(project)
        arguments = (number, arrays.clean(origin), arrays.clean(origin_name), arrays.clean(request_id))
        row = run(self._pool, lambda c: c.execute("select register_incarnation(%s, %s, %s, %s)", arguments).fetchone())
        assert row is not None
        return int(row[0])

    def put_chunks(self, project: str, chunks: Sequence[ChunkData]) -> None:
        """See FileEventWriter."""
        plain = check_chunks(project_key(project), chunks, self._bases_bytes)
        number = self._project(project)
        run(self._pool, lambda c: c.execute(calls.PUT_CHUNKS, calls.chunk_arguments(number, chunks)))
        self._bases_of(number).keep(chunks, plain)

    def append(self, batch: PersistBatch, task_id: str) -> tuple[PersistReply, Sequence[FeedMessage]]:
        """See FileEventWriter."""
        key = project_key(batch.project)
        number = self._project(batch.project)
        try:
            plain = check_chunks(key, batch.chunks, self._bases_bytes)
            prepared = prepare(batch)
        except PayloadRefused:
            return PersistReply(
                FORMAT, batch.batch_id, batch.incarnation, self._last(number, batch.incarnation), 0, error="invalid"
            ), ()
        task, bases = Task(batch.project, key, batch.incarnation, arrays.clean(task_id)), self._bases_of(number)
        chunks = bases.packed(batch.chunks, plain)
        done = self._append(_work(batch, number, task, prepared, chunks))
        if done.missing:
            bases.forget(chunks)
        elif not done.error:
            bases.keep(chunks, plain)
        reply = PersistReply(
            FORMAT,
            batch.batch_id,
            batch.incarnation,
            done.acked,
            done.position,
            done.rejected,
            done.missing,
            done.error,
        )
        return reply, done.feed

    def _append(self, work: Work) -> Done:
        try:
            return self._append_standing(work) or self._append_locked_retrying(work)
        except CutHere as cut:
            return self._append_parts(work, cut.index)
        except Poisoned as poisoned:
            return self._append(work._replace(poison=work.poison | {poisoned.index}))
        except StoreRefused as error:
            if not isinstance(error.__cause__, psycopg.DataError | psycopg.IntegrityError):
                raise
            return self._append_bisected(work)

    def _append_bisected(self, work: Work) -> Done:
        """Postgres cannot hold one of the requests: find it, refuse it, keep the rest."""
        if len(work.requests) > 1:
            return self._append_parts(work, len(work.requests) // 2)
        if work.poison:
            raise StoreRefused(f"sequence {work.first} of incarnation {work.task.incarnation} cannot be stored")
        return self._append(work._replace(poison=frozenset({0})))

    def _append_parts(self, work: Work, cut: int) -> Done:
        before = self._append(work.part(0, cut))
        if before.error or before.missing:
            return before
        after = self._append(work.part(cut, len(work.requests)))
        return after._replace(rejected=before.rejected + after.rejected, feed=before.feed + after.feed)

    # the standing way

    def _append_standing(self, work: Work) -> Done | None:
        if self._yield_left:
            self._yield_left -= 1
            return None
        with self._guard:
            standing = self._standings.pop(work.project, None)
        if standing is None or not _continues(standing, work):
            return None
        try:
            standing.tree.fetch = lambda asked: self._look_up(standing, work, asked)
            folded = self._fold_known(standing, work)
        except (Unknown, Poisoned, CutHere):
            return None
        tree = self._tree(len(work.requests), folded)
        result, told = self._send(standing, work, folded, tree, self._make(standing, folded))
        if result.status == "moved":
            result, told = self._send(standing, work, folded, tree, calls.Appended("ok"))
        if not _is_done(result):
            self._meet_others(result.status)
            return None
        self._crowd_left = _CROWD if result.status == "checked" else max(0, self._crowd_left - 1)
        self._yield_next = _YIELD_MIN
        return self._finish(standing, work, result, told or _tell(standing, work, folded, result))

    def _fold_known(self, standing: Standing, work: Work) -> Folded:
        """Fold on what is known; raises Unknown if some of it may be old."""
        folded = self._fold(standing, work, None)
        if standing.foreign and standing.foreign.meets(folded.reads()):
            raise Unknown
        return folded

    def _tree(self, count: int, folded: Folded) -> list[bytes]:
        """Return the tree's rows, and what is to become of them: few wait until it pays to put them."""
        rows = folded.content.rows()
        self._waiting += count + max(0, rows - _ROWS_AN_EVENT * count)
        large = count > _WAIT_MAX or rows > _ROWS_MAX
        what = calls.PUT if large else calls.WAIT if self._waiting < _SETTLE_FROM else calls.SETTLE
        if what is not calls.WAIT:
            self._waiting = 0
        return [*tree_arguments(folded, waits=what is not calls.PUT), what]

    def _send(
        self, standing: Standing, work: Work, folded: Folded, tree: Sequence[bytes], made: calls.Appended
    ) -> tuple[calls.Appended, Told | None]:
        """Append; while Postgres works on what was made here, what to say of it is made as well."""
        early, told = self._crowd_left > 0, list[Told]()
        arguments = [*event_arguments(work, standing, folded, made, waits=tree[-1] is not calls.PUT), *tree]
        meanwhile = (lambda: told.append(_tell(standing, work, folded, made))) if made.hashes else None
        result = run(
            self._pool,
            lambda c: calls.append(c, arguments, early=early, meanwhile=meanwhile),
            # never twice: a server that fell may have lost what was looked up, before the log gave its positions anew
            lambda _: calls.NOT_APPENDED,
        )
        return (made, told[0]) if result.status == "made" else (result, None)

    def _make(self, standing: Standing, folded: Folded) -> calls.Appended:
        """Make what holds if nobody else has appended; without hashes where that is not to be expected."""
        if self._crowd_left or not self._clock_ahead_us:
            return calls.Appended("ok", standing.head)
        at_us = max(time.monotonic_ns() // 1000 + self._clock_ahead_us, standing.at_us + 1)
        rows = zip(folded.events.contexts, folded.events.backs, strict=True)
        first, previous = standing.head.position + 1, standing.head.hash
        hashes = hashes_of(previous, folded.front, first, at_us, folded.middles, rows)
        return calls.Appended("ok", standing.head, at_us, hashes)

    def _look_up(self, standing: Standing, work: Work, asked: Wanted) -> Sequence[TreeRow]:
        """Return rows that the fold lacks, and learn all that it will ask for; that they may be of a later head is for
        the append to find.
        """
        unknown = standing.tree.unknown(wanted_by(work.requests))
        wanted = Wanted([*asked.inodes, *unknown.inodes], [*asked.names, *unknown.names])
        rows = run(self._pool, lambda c: calls.settled_tree_rows(c, work.project, wanted))
        standing.tree.absorb(wanted, rows)
        return rows

    def _meet_others(self, status: str) -> None:
        if status == "stale":
            self._yield_left, self._yield_next = self._yield_next, min(self._yield_next * 2, _YIELD_MAX)

    # the locked way

    def _append_locked_retrying(self, work: Work) -> Done:
        return run(self._pool, lambda c: self._append_locked_flushed(c, work))

    def _append_locked_flushed(self, connection: Connection, work: Work) -> Done:
        """An answer that was only read may tell of an append whose flush is still under way."""
        done = self._append_locked(connection, work)
        if not done.feed:
            flush(connection)
        return done

    def _append_locked(self, connection: Connection, work: Work) -> Done:
        with self._guard:
            standing = self._standings.pop(work.project, None)
        wanted = wanted_by(work.requests)
        with connection.transaction():
            unknown = wanted if standing is None else standing.tree.unknown(wanted)
            opened = calls.open_files(
                connection, work.project, work.task.incarnation, work.chunks, work.named_chunks, unknown
            )
            refusal = refusal_of(work, opened)
            if refusal is not None:
                return refusal
            seen = self._skip_seen(connection, work, opened)
            if seen.error or seen.acked >= work.first + len(work.requests) - 1:
                return seen
            standing, rows = _stand(connection, work, standing, opened, wanted)
            standing.tree.absorb(*rows)
            left = work.part(max(0, opened.last_sequence + 1 - work.first), len(work.requests))
            folded = self._fold(standing, left, calls.StoredContents(connection, work.project))
            here = left._replace(named_chunks=(), chunks=())
            events = event_arguments(here, standing, folded, calls.Appended("ok"), waits=False)
            result = calls.append(connection, [*events, *tree_arguments(folded, waits=False), calls.PUT])
        if not _is_done(result):
            raise StoreUnavailable(f"the files log did not stand still under its lock: {result.status}")
        done = self._finish(standing, left, result, _tell(standing, left, folded, result))
        return done._replace(rejected=seen.rejected + done.rejected)

    def _skip_seen(self, connection: Connection, work: Work, opened: calls.Opened) -> Done:
        """Compare what is stored already; `acked` below the batch's first sequence means that nothing is."""
        last, position = opened.last_sequence, opened.head.position
        if work.first > last:
            return Done(last, position)
        rejected: list[Rejection] = []
        for sequence, stored_at, digest, outcome in stored(
            connection, work.project, work.task.incarnation, work.first, last
        ):
            index = sequence - work.first
            if index >= len(work.requests):
                break
            if digest != work.requests[index].digest:
                return Done(last, position, error="digest-mismatch")
            kept = outcome_of(outcome)
            position = stored_at
            if kept.kind == "rejected":
                rejected.append(Rejection(sequence, stored_at, kept.reason))
        return Done(last, position, tuple(rejected))

    # both ways

    def _fold(self, standing: Standing, work: Work, contents: calls.StoredContents | None) -> Folded:
        fold = Fold(
            standing,
            work.task,
            contents=contents,
            check_path=self._check_path,
            check_move=self._check_move,
            poison=work.poison,
        )
        return fold.run(work.first, work.requests)

    def _finish(self, standing: Standing, work: Work, result: calls.Appended, told: Told) -> Done:
        """After the commit: the tree rows are now those of the new head, as far as they were known."""
        count = len(work.requests)
        self._clock_ahead_us = result.at_us - time.monotonic_ns() // 1000
        standing.at_us = result.at_us
        if result.head.position != standing.head.position:
            standing.tree.moved(result.head.position - standing.head.position)
        standing.foreign.add(result.foreign)
        for other in result.others:  # how far they came is not known here any more
            standing.origins.pop(other, None)
        standing.head = Head(result.head.position + count, result.hashes[-1])
        last = work.first + count - 1
        origin = standing.origins[work.task.incarnation]
        standing.origins[work.task.incarnation] = origin._replace(last_sequence=last)
        standing.tree.closed()
        if len(standing.tree) < KNOWN_MAX and len(standing.foreign) < FOREIGN_MAX:
            self._keep(work.project, standing)
        return Done(last, standing.head.position, told.rejected, feed=told.feed)

    def _keep(self, project: int, standing: Standing | None) -> None:
        if standing is not None:
            with self._guard:
                self._standings[project] = standing

    def _project(self, project: str) -> int:
        number = self._projects.get(project)
        if number is None:
            row = run(self._pool, lambda c: c.execute("select project_id(%s)", (project,)).fetchone())
            assert row is not None
            number = self._projects[project] = int(row[0])
        return number

    def _bases_of(self, number: int) -> Bases:
        bases = self._bases.get(number)
        if bases is None:
            bases = self._bases[number] = Bases(lambda names: run(self._pool, lambda c: kept_whole(c, number, names)))
        return bases

    def _last(self, number: int, incarnation: int) -> int:
        def read(connection: Connection) -> int:
            last = last_sequences(connection, number, [incarnation]).get(incarnation, 0)
            flush(connection)
            return last

        return run(self._pool, read)


def _work(batch: PersistBatch, number: int, task: Task, prepared: PreparedBatch, chunks: Sequence[ChunkData]) -> Work:
    """Of chunks that are kept as differences it is looked for whether they could be."""
    named = [*prepared.named_chunks, *(chunk.hash for chunk in chunks if chunk.encoding == DELTA)]
    return Work(batch, number, task, prepared.first, prepared.requests, chunks, named)


def _is_done(result: calls.Appended) -> bool:
    return result.status in {"ok", "checked"}


def _continues(standing: Standing, work: Work) -> bool:
    """Tell whether the batch follows what this writer has seen of its incarnation."""
    origin = standing.origins.get(work.task.incarnation)
    return origin is not None and origin.origin == work.batch.origin and origin.last_sequence + 1 == work.first


def _stand(
    connection: Connection, work: Work, standing: Standing | None, opened: calls.Opened, wanted: Wanted
) -> tuple[Standing, tuple[Wanted, Sequence[TreeRow]]]:
    """Return what is known under the lock, and the rows to learn: the old knowledge if the log stood still."""
    rows: tuple[Wanted, Sequence[TreeRow]] = (opened.asked, opened.rows)
    if standing is None or standing.foreign or standing.head != opened.head:
        if standing is not None:
            rows = (wanted, calls.tree_rows(connection, work.project, wanted))
        standing = Standing(opened.head)
    standing.origins[work.task.incarnation] = Origin(opened.origin, opened.origin_name, opened.last_sequence)
    standing.tree.newest.setdefault(work.task.incarnation, opened.last_inode)
    standing.tree.fetch = lambda asked: calls.tree_rows(connection, work.project, asked)
    standing.tree.find_names = lambda directory, limit: calls.names_in(connection, work.project, directory, limit)
    standing.tree.find_below = lambda above, limit: calls.names_below(connection, work.project, above, limit)
    return standing, rows


def _tell(standing: Standing, work: Work, folded: Folded, result: calls.Appended) -> Told:
    name = standing.origins[work.task.incarnation].origin_name
    return tell(work.task, name, work.first, work.requests, folded.outcomes, result)
