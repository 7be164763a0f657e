"""Parts of the gateway that need no socket: batches, breaker, figures."""

import msgspec
import pytest

from app.core.decisions import (
    Ground,
    InnerCommand,
    Judgement,
    RuleRef,
    ToolCall,
    ValidateReply,
    Verdict,
    ruling,
    validate_reply,
)
from app.core.errors import PayloadRefused
from app.core.messages import decode, encode
from app.services import answering, questions
from app.services.batching import Batcher, Breaker
from app.services.waiting import CallbackWaiter, Question
from app.telemetry.histogram import Histogram
from app.telemetry.metrics import Metrics

APPROVED = ruling(Judgement(Verdict.APPROVE, (), "fine", "", "v1"))
SECOND = 1_000_000_000


def test_members_that_are_read_by_place_stand_there():
    names = [(questions, ToolCall, ("tool", "input", "agent", "session", "cwd", "context", "tool_call"))]
    names += [(answering, Ground, ("verdict", "rules", "reason", "policy_version"))]
    for module, struct, members in names:
        for member in members:
            assert struct.__struct_fields__[getattr(module, member.upper())] == member


def question(number: int) -> Question:
    call = ToolCall("Bash", {"n": number}, "a")
    return Question(call, b"", "v1", b"v1%d" % number, 0, [CallbackWaiter(call, 0, lambda decision: None)])


def test_what_waits_is_shared_out_over_the_free_places():
    batcher = Batcher(workers=4)
    assert all(batcher.add(question(n)) for n in range(200))
    sizes = [len(batch.questions) for batch in iter(lambda: batcher.cut(0), None)]
    assert sizes == [50, 50, 50, 50]
    batcher.add(question(1))
    assert batcher.cut(0) is None
    assert batcher.close(1) is not None
    assert len(batcher.cut(0).questions) == 1


def test_a_few_wait_for_company_beside_a_batch_that_has_just_gone_out():
    batcher = Batcher(workers=2, company=3, company_ns=100)
    batcher.add(question(1))
    assert len(batcher.cut(0).questions) == 1  # the first never waits
    batcher.add(question(2))
    assert (batcher.cut(60), batcher.held_ns(60)) == (None, 40)
    assert len(batcher.cut(100).questions) == 1  # not for ever: the worker of the first may hang
    assert batcher.close(2) is not None
    for number in (3, 4, 5):
        batcher.add(question(number))
    assert len(batcher.cut(101).questions) == 3
    assert batcher.held_ns(102) == 0


def test_what_waits_goes_out_as_soon_as_the_other_batch_is_back():
    batcher = Batcher(workers=2, company=3, company_ns=100)
    batcher.add(question(1))
    batcher.cut(0)
    batcher.add(question(2))
    assert batcher.cut(1) is None
    batcher.close(1)
    assert len(batcher.cut(2).questions) == 1


def test_behind_a_batch_of_several_a_few_wait_though_it_is_back():
    """At thousands a second the next ones are on their way: a batch for each handful cost a quarter more CPU a call."""
    batcher = Batcher(workers=2, company=10, company_ns=100)
    for number in range(4):
        batcher.add(question(number))
    assert batcher.close(batcher.cut(0).id) is not None
    batcher.add(question(5))
    assert (batcher.cut(60), batcher.held_ns(60)) == (None, 40)
    assert len(batcher.cut(100).questions) == 1
    assert batcher.close(2) is not None
    batcher.add(question(6))
    assert len(batcher.cut(101).questions) == 1  # the last was alone: nobody is known to come


def test_too_many_that_wait_are_refused_and_settled_ones_are_not_sent():
    batcher = Batcher(workers=1, waiting_max=2)
    first, second = question(1), question(2)
    assert batcher.add(first)
    assert batcher.add(second)
    assert not batcher.add(question(3))
    first.settled = True
    assert batcher.cut(0).questions == (second,)


def test_many_that_can_wait_hold_up_nobody_who_cannot():
    batcher = Batcher(workers=1, waiting_max=3)
    patient = [question(n) for n in range(4)]
    for one in patient:
        one.patience_ms = 500
    assert [batcher.add(one) for one in patient] == [True, True, True, False]
    urgent = question(9)
    assert batcher.add(urgent)
    assert batcher.cut(0).questions == (urgent, *patient[:3])


def test_a_batch_that_nobody_answers_frees_its_place():
    batcher = Batcher(workers=1, lost_after_ns=SECOND)
    batcher.add(question(1))
    batch = batcher.cut(0)
    assert batcher.lost(SECOND) == []
    assert batcher.lost(SECOND + 1) == [batch]
    assert batcher.close(batch.id) is None


def test_the_breaker_opens_after_failures_tries_ever_more_rarely_and_closes_with_an_answer():
    breaker = Breaker(failures_max=2, trial_after_ns=100, trial_max_ns=400)
    breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert [breaker.allows(t) for t in (0, 99, 100, 101, 199, 200)] == [False, False, True, False, False, True]
    for _ in range(5):
        breaker.failed(1000)
    assert [breaker.allows(t) for t in (1399, 1400)] == [False, True]
    breaker.answered()
    assert breaker.allows(0)


def test_percentiles_are_at_most_a_sixteenth_too_low():
    histogram = Histogram()
    for value in range(100_000):
        histogram.record(value)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        assert share * 100_000 * (1 - 1 / 16) <= histogram.percentile(share) <= share * 100_000 + 1
    assert histogram.count == 100_000
    assert [below for bound, below in histogram.octaves() if bound == 1024] == [1024]
    histogram.record(-5)
    histogram.record(1 << 63)
    assert histogram.percentile(1.0) == 1 << 63


def test_labels_are_escaped_in_the_figures():
    metrics = Metrics()
    metrics.counter("weir_x_total", "X.", name='a"b\\c\nd').add(3)
    assert metrics.text().splitlines()[-1] == 'weir_x_total{name="a\\"b\\\\c\\nd"} 3'


def test_a_reply_says_once_what_its_rulings_share_and_gives_each_back_whole():
    rulings = [
        ruling(Judgement(Verdict.APPROVE, (), "fine", "", "v1", (InnerCommand(("ls", str(number))),)))
        for number in range(50)
    ]
    rulings.append(ruling(Judgement(Verdict.BLOCK, (RuleRef("r", "f.yaml", 3),), "no", "ask", "v1")))
    reply = decode(ValidateReply, encode(validate_reply("1", "task", "w", rulings, ["policy"] * 51, 5)))
    assert (len(reply.grounds), reply.rulings) == (2, rulings)


def test_a_reply_that_points_beside_its_table_is_no_reply():
    torn = validate_reply("1", "task", "w", [APPROVED], ["policy"], 5)
    with pytest.raises(IndexError):
        _ = msgspec.structs.replace(torn, places=(1,)).rulings
    with pytest.raises(PayloadRefused):
        decode(ValidateReply, encode(msgspec.structs.replace(torn, places=(-1,))))


def test_values_counted_together_count_as_one_by_one():
    values = [0, 1, 15, 16, 17, 31, 32, 1000, 45_000, 45_001, 7_000_000]
    together, singly = Histogram(), Histogram()
    together.record_all(values)
    for value in values:
        singly.record(value)
    assert list(together.octaves()) == list(singly.octaves())
    assert (together.total, together.maximum, together.count) == (singly.total, singly.maximum, singly.count)
