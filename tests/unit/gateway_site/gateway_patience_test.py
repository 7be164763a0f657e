"""Callers that would rather wait for a worker than be answered by the gateway's own rules: longer, never shorter."""

import threading
import time

import pytest


@pytest.mark.parametrize("stated", [0, 1, 100, 500])
def test_no_caller_can_have_a_worker_waited_for_less_than_usual(make_stack, stated: int) -> None:
    stack = make_stack(deadline_ms=500)
    stack.worker.delay_s = 0.1
    assert stack.bash("ls", deadline_ms=stated)["layer"] == "policy"


def test_a_patient_caller_gets_the_workers_word_where_others_get_the_gateways(make_stack) -> None:
    stack = make_stack(deadline_ms=50)
    stack.worker.delay_s = 0.15
    answers: dict[int, dict[str, object]] = {}

    def ask(ms: int) -> None:
        answers[ms] = stack.bash("ls", stack.unix(), deadline_ms=ms)

    callers = [threading.Thread(target=ask, args=(ms,)) for ms in (800, 0)]
    for caller in callers:
        caller.start()
        time.sleep(0.01)  # the same question, while the patient one waits
    for caller in callers:
        caller.join(5)
    assert (answers[0]["layer"], answers[800]["layer"]) == ("degraded", "policy")
    assert stack.bash("ls", deadline_ms=800)["layer"] == "local-cache"


def test_a_patient_caller_is_answered_by_the_end_of_its_patience(make_stack) -> None:
    stack = make_stack(deadline_ms=50)
    stack.worker.mode = "silent"
    started = time.monotonic()
    answer = stack.bash("ls", deadline_ms=200)
    assert (answer["layer"], answer["degraded"]) == ("degraded", True)
    assert 0.15 < time.monotonic() - started < 1
    short = time.monotonic()
    assert stack.bash("rm x")["degraded"]
    assert time.monotonic() - short < 0.15
