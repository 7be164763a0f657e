"""Parts of the gateway that need no socket: cache bounds, batches, breaker, figures."""

from app.core.decisions import Judgement, ToolCall, Verdict, ruling
from app.services.answering import Waiter
from app.services.batching import Batcher, Breaker, Question
from app.services.decision_cache import DecisionCache, cache_key
from app.telemetry.histogram import Histogram
from app.telemetry.metrics import Metrics

APPROVED = ruling(Judgement(Verdict.APPROVE, (), "fine", "", "v1"))
SECOND = 1_000_000_000


def test_the_cache_keeps_what_is_asked_for_and_stays_in_its_bounds():
    cache = DecisionCache(entries_max=100)
    asked = cache_key("v1", b"asked often")
    cache.put(asked, APPROVED, 0)
    for number in range(10_000):
        cache.put(cache_key("v1", b"%d" % number), APPROVED, 0)
        assert cache.get(asked, 0) is APPROVED
        assert cache.figures().entries <= 100
    assert cache.figures().size_bytes < 100 * 1000


def test_the_cache_is_bounded_in_bytes_too():
    cache = DecisionCache(bytes_max=10_000)
    for number in range(1000):
        cache.put(cache_key("v1", b"%d" % number), ruling(Judgement(Verdict.BLOCK, (), "x" * 500, "", "v1")), 0)
    assert cache.figures().size_bytes <= 10_000
    assert 0 < cache.figures().entries < 20


def test_a_cached_answer_ends_with_its_time_and_with_its_policy():
    cache = DecisionCache(ttl_s=10)
    cache.put(cache_key("v1", b"q"), APPROVED, 0)
    assert cache.get(cache_key("v1", b"q"), 10 * SECOND - 1) is APPROVED
    assert cache.get(cache_key("v1", b"q"), 10 * SECOND) is None
    assert cache.get(cache_key("v2", b"q"), 0) is None


def test_what_read_the_world_or_belongs_to_another_policy_is_not_kept():
    cache = DecisionCache()
    cache.put(cache_key("v2", b"q"), APPROVED, 0)
    cache.put(cache_key("v1", b"q"), ruling(Judgement(Verdict.APPROVE, (), "", "", "v1", reads=("branch",))), 0)
    assert cache.figures().entries == 0


def test_long_questions_are_keyed_by_a_whole_digest_and_never_meet_a_short_one():
    long = cache_key("v1", b"x" * 10_000)
    assert len(long[1]) == len(b"digest") + 32
    assert cache_key("v1", b"x" * 9_999) != long


def question(number: int) -> Question:
    call = ToolCall("Bash", {"n": number}, "a")
    return Question(call, b"", ("v1", b"%d" % number), 0, Waiter(call, 0, lambda decision: None))


def test_what_waits_is_shared_out_over_the_free_places():
    batcher = Batcher(workers=4)
    assert all(batcher.add(question(n)) for n in range(200))
    sizes = [len(batch.questions) for batch in iter(lambda: batcher.cut(0), None)]
    assert sizes == [50, 50, 50, 50]
    batcher.add(question(1))
    assert batcher.cut(0) is None
    assert batcher.close(1) is not None
    assert len(batcher.cut(0).questions) == 1


def test_too_many_that_wait_are_refused_and_settled_ones_are_not_sent():
    batcher = Batcher(workers=1, waiting_max=2)
    first, second = question(1), question(2)
    assert batcher.add(first)
    assert batcher.add(second)
    assert not batcher.add(question(3))
    first.settled = True
    assert batcher.cut(0).questions == (second,)


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
