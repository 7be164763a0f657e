"""The decisions log, writing role: rows of up to 256 records, each record a salted leaf of the row's Merkle root.

A row's payload is zstd of the msgpack array of (salt, record, leaf digest); one of record and leaf digest is empty: a
redacted record keeps its leaf digest only. A record that does not decode is kept as it came: an answered call is
never lost, and never stops the spool.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import zstandard

from app.adapters.postgres.arrays import bytea_array, clean, int8_array, text_array
from app.adapters.postgres.connections import Connection, Pool, run
from app.core.chain import EventHeader, leaf_digest, merkle_root, row_hash
from app.core.decisions import DecisionRecord
from app.core.messages import DECISIONS, FORMAT, RecordBatch, RecordReply

RECORDS_MAX: Final = 256
SALT_BYTES: Final = 16
KIND: Final = "decisions"
_SEPARATOR: Final = "\x1f"
_OPEN: Final = "select * from open_decisions(%s, %s)"
_APPEND: Final = f"select append_decisions({', '.join(['%s'] * 15)})"
_encode: Final = msgspec.msgpack.Encoder().encode
decode_record: Final = msgspec.msgpack.Decoder(DecisionRecord).decode


class Leaf(msgspec.Struct, frozen=True, array_like=True):
    """One decision of a row: `digest` is kept where the record was redacted."""

    salt: bytes
    record: bytes
    digest: bytes = b""


class _Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    # what the columns of a row tell of a DecisionRecord; the rest of it is passed over
    format: int
    sequence: int
    at_ns: int
    id: msgspec.Raw
    agent: str
    session: msgspec.Raw
    tool_call: msgspec.Raw
    tool: msgspec.Raw
    cwd: msgspec.Raw
    input: msgspec.Raw
    verdict: str


_decode_told: Final = msgspec.msgpack.Decoder(_Told).decode


class DecisionRow(NamedTuple):
    """The columns of a row that differ within a batch."""

    first: int
    record_count: int
    first_at_ns: int
    last_at_ns: int
    agents: str
    verdicts: str
    payload: bytes
    digest: bytes
    hash: bytes


decode_leaves: Final = msgspec.msgpack.Decoder(list[Leaf]).decode


def digest_of(leaf: Leaf) -> bytes:
    """Return a leaf's digest, also of a redacted one."""
    return leaf.digest or leaf_digest(leaf.salt, leaf.record)


class PostgresDecisionWriter:
    """See DecisionWriter."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._projects: dict[str, int] = {}

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def append(self, batch: RecordBatch, task_id: str) -> RecordReply:
        """See DecisionWriter. `error` is '', 'gap' (earlier records are missing: send from acked + 1) or 'invalid'."""
        if batch.first_sequence < 1:
            return RecordReply(FORMAT, batch.batch_id, batch.spool, 0, 0, "invalid")
        number = self._project(batch.project)
        return run(self._pool, lambda c: self._append(c, number, batch, clean(task_id)))

    def _append(self, connection: Connection, number: int, batch: RecordBatch, task_id: str) -> RecordReply:
        spool = clean(batch.spool)
        with connection.pipeline(), connection.transaction():
            row = connection.execute(_OPEN, (number, spool), binary=True).fetchone()
            assert row is not None
            position, previous, clock_us, head_at_us, last = row
            skipped = last + 1 - batch.first_sequence
            if skipped < 0:
                return RecordReply(FORMAT, batch.batch_id, batch.spool, last, position, "gap")
            records = batch.records[skipped:]
            if not records:
                return RecordReply(FORMAT, batch.batch_id, batch.spool, last, position)
            at_us = max(clock_us, head_at_us)
            rows = list(_rows(batch.project, spool, task_id, position, previous, at_us, last + 1, records))
            last += len(records)
            columns = list(zip(*rows, strict=True))
            connection.execute(
                _APPEND,
                (
                    number, position, spool, last, at_us, task_id, *(int8_array(c) for c in columns[:4]),
                    *(text_array(c) for c in columns[4:6]), *(bytea_array(c) for c in columns[6:]),
                ),
            )  # fmt: skip
        return RecordReply(FORMAT, batch.batch_id, batch.spool, last, position + len(rows))

    def _project(self, project: str) -> int:
        number = self._projects.get(project)
        if number is None:
            row = run(self._pool, lambda c: c.execute("select project_id(%s)", (project,)).fetchone())
            assert row is not None
            number = self._projects[project] = int(row[0])
        return number


def _rows(
    project: str,
    spool: str,
    task_id: str,
    position: int,
    previous: bytes,
    at_us: int,
    first: int,
    records: Sequence[bytes],
) -> Iterator[DecisionRow]:
    for start in range(0, len(records), RECORDS_MAX):
        position += 1
        part = records[start : start + RECORDS_MAX]
        salts = secrets.token_bytes(SALT_BYTES * len(part))
        leaves = [Leaf(salts[i * SALT_BYTES : (i + 1) * SALT_BYTES], record) for i, record in enumerate(part)]
        digest = merkle_root([leaf_digest(leaf.salt, leaf.record) for leaf in leaves])
        previous = row_hash(previous, header_of(project, position, at_us, spool, first + start, task_id), digest)
        told = [one for one in map(_told_by, part) if one is not None]
        times = [one.at_ns for one in told] or [at_us * 1000]
        yield DecisionRow(
            first + start, len(part), min(times), max(times),
            _joined({one.agent for one in told}), _joined({one.verdict for one in told}),
            zstandard.ZstdCompressor(level=1).compress(_encode(leaves)), digest, previous,
        )  # fmt: skip


def header_of(project: str, position: int, at_us: int, spool: str, first_sequence: int, task_id: str) -> EventHeader:
    """Return what the chain covers of a row; the spool stands as origin, its first sequence as sequence."""
    return EventHeader(
        project, DECISIONS, position, KIND, at_us, spool, 0, first_sequence, "", "", "", "", task_id, 0, b""
    )


def try_decode(record: bytes) -> DecisionRecord | None:
    """Return the record, or None if it is not one."""
    try:
        return decode_record(record)
    except msgspec.DecodeError:
        return None


def _told_by(record: bytes) -> _Told | None:
    try:
        return _decode_told(record)
    except msgspec.DecodeError:
        return None


def _joined(values: set[str]) -> str:
    return _SEPARATOR.join(sorted({clean(value).replace(_SEPARATOR, "\ufffd") for value in values}))
