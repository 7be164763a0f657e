"""What the decisions log promises: once, in order, findable, provable."""

import uuid

import msgspec
import pytest

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.decisions import PostgresDecisionWriter
from app.core.decisions import DecisionRecord
from app.core.messages import DECISIONS, FORMAT, RecordBatch
from app.ports import EventFilter

encode = msgspec.msgpack.Encoder().encode


@pytest.fixture
def log(postgres_store, postgres_server):
    pool = open_pool(postgres_server.writer_url, 2, writing=True)
    yield PostgresDecisionWriter(pool), postgres_store.project, postgres_store.read()
    pool.close()


def records(first, count, agent="a1", verdict="approve"):
    return tuple(
        encode(
            DecisionRecord(
                1,
                n,
                1000 + n,
                f"id{n}",
                agent,
                "s",
                "t",
                "Bash",
                "/",
                b"{}",
                verdict,
                ("r1",),
                "why",
                "policy",
                False,
                False,
                "v1",
                12,
            )  # fmt: skip
        )
        for n in range(first, first + count)
    )


def batch(project, spool, first, payloads):
    return RecordBatch(FORMAT, project, spool, uuid.uuid4().hex, "r", first, tuple(payloads))


def test_a_thousand_decisions_are_four_rows_and_each_is_found(log):
    writer, project, reader = log
    reply = writer.append(batch(project, "spool", 1, records(1, 1000)), "task-9")
    assert (reply.acked, reply.position, reply.error) == (1000, 4, "")
    found = list(reader.decisions(EventFilter(log=DECISIONS, limit=0, ascending=True)))
    assert [d.record.sequence for d in found] == list(range(1, 1001))
    assert (found[256].position, found[256].leaf, found[256].task_id) == (2, 0, "task-9")
    assert reader.head(DECISIONS).position == 4
    assert reader.verify_chain(DECISIONS).broken_at == 0


def test_a_batch_sent_again_or_overlapping_is_recorded_once(log):
    writer, project, reader = log
    writer.append(batch(project, "spool", 1, records(1, 10)), "t")
    assert writer.append(batch(project, "spool", 1, records(1, 10)), "t").acked == 10
    assert writer.append(batch(project, "spool", 6, records(6, 10)), "t").acked == 15
    found = list(reader.decisions(EventFilter(log=DECISIONS, limit=0, ascending=True)))
    assert [d.record.sequence for d in found] == list(range(1, 16))


def test_a_gap_in_a_spool_is_refused_and_says_where_to_begin(log):
    writer, project, _ = log
    writer.append(batch(project, "spool", 1, records(1, 3)), "t")
    reply = writer.append(batch(project, "spool", 7, records(7, 3)), "t")
    assert (reply.error, reply.acked) == ("gap", 3)


def test_spools_do_not_disturb_each_other(log):
    writer, project, reader = log
    writer.append(batch(project, "one", 1, records(1, 2)), "t")
    assert writer.append(batch(project, "two", 1, records(1, 2)), "t").acked == 2
    assert reader.head(DECISIONS).position == 2


def test_newest_decisions_of_an_agent_come_first(log):
    writer, project, reader = log
    writer.append(batch(project, "s", 1, [*records(1, 5, "ann"), *records(6, 5, "bob", "block")]), "t")
    found = [(e.agent, e.outcome, e.decision) for e in reader.log(EventFilter(log=DECISIONS, agent="bob", limit=2))]
    assert found == [("bob", "block", "id10"), ("bob", "block", "id9")]
    in_time = list(reader.decisions(EventFilter(log=DECISIONS, since_ns=1003, until_ns=1005, ascending=True)))
    assert [d.record.sequence for d in in_time] == [3, 4]


def test_a_record_that_does_not_decode_is_kept_and_stops_nothing(log):
    writer, project, reader = log
    reply = writer.append(batch(project, "s", 1, [b"\xff garbage", *records(2, 1)]), "t")
    assert (reply.acked, reply.error) == (2, "")
    assert [d.record.sequence for d in reader.decisions(EventFilter(log=DECISIONS))] == [2]
    assert reader.verify_chain(DECISIONS).broken_at == 0
