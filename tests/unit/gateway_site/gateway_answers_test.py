"""What a caller of the gateway gets: verdicts, caching, joining, degraded answers, refusals."""

import json
import threading
import time

import pytest


def test_a_call_is_answered_by_a_worker_with_rule_reason_and_measured_time(stack):
    answer = stack.bash("rm -rf /")
    assert (answer["verdict"], answer["layer"], answer["degraded"], answer["cached"]) == (
        "block",
        "policy",
        False,
        False,
    )
    assert answer["rules"] == [{"id": "no-rm", "file": "default.yaml", "line": 3}]
    assert answer["duration_us"] > 50
    [record] = stack.spool.records
    assert (record.id, record.verdict, record.task_id, json.loads(record.input)) == (
        answer["id"], "block", "task-1", {"command": "rm -rf /"},
    )  # fmt: skip


def test_the_same_question_again_is_answered_from_the_local_cache_and_recorded_too(stack):
    first, second = stack.bash("ls"), stack.bash("ls", tool_call="another")
    assert (first["layer"], second["layer"], second["cached"]) == ("policy", "local-cache", True)
    assert first["id"] != second["id"]
    assert [record.cached for record in stack.spool.records] == [False, True]
    assert len(stack.worker.calls) == 1


@pytest.mark.parametrize(
    "other", [{"agent": "a2"}, {"session": "s"}, {"cwd": "/x"}, {"context": {"k": 1}}, {"tool": "Read"}]
)
def test_a_cached_answer_is_never_given_to_another_question(stack, other):
    stack.bash("ls")
    assert stack.bash("ls", **other)["layer"] == "policy"


def test_numbers_that_python_calls_equal_are_different_questions(stack):
    layers = [stack.bash("x", input={"n": n})["layer"] for n in (1, True, 1.0)]
    assert layers == ["policy"] * 3


def test_what_a_judgement_read_outside_the_call_is_never_cached(stack):
    assert [stack.bash("script")["layer"] for _ in range(2)] == ["policy", "policy"]


def test_a_judgement_of_another_policy_version_is_used_but_not_cached(stack):
    stack.worker.rules.version = "v0"
    assert [stack.bash("ls")["policy_version"] for _ in range(2)] == ["v0", "v0"]
    assert len(stack.worker.calls) == 2


def test_a_new_policy_version_makes_earlier_answers_unreachable(stack):
    stack.bash("ls")
    stack.rules.version = stack.worker.rules.version = "v2"
    assert stack.bash("ls")["layer"] == "policy"


def test_a_dry_run_is_neither_recorded_nor_cached(stack):
    assert stack.bash("ls", dry_run=True)["verdict"] == "approve"
    assert not stack.spool.records
    assert stack.bash("ls")["layer"] == "policy"


def test_the_same_question_asked_by_many_at_once_goes_to_a_worker_once(stack):
    stack.worker.delay_s = 0.1
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(stack.bash("ls"))) for _ in range(20)]
    stack.bash("warm")
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(answers) == 20
    assert len({answer["id"] for answer in answers}) == 20
    assert [call.input for call in stack.worker.calls].count({"command": "ls"}) == 1
    assert len(stack.spool.records) == 21


@pytest.mark.parametrize("flag", ["local_cache", "single_flight", "micro_batching", "batch_company"])
def test_each_optimisation_off_gives_the_same_verdicts(make_stack, flag):
    stack = make_stack(deadline_ms=500, **{flag: False})
    client = stack.unix()
    verdicts = [stack.bash(command, client)["verdict"] for command in ("ls", "rm x", "ask", "ls")]
    assert verdicts == ["approve", "block", "escalate", "approve"]


def test_many_calls_at_once_come_back_in_their_order(stack):
    calls = [
        {"tool": "Bash", "input": {"command": f"{'rm' if i % 3 else 'ls'} {i}"}, "agent": "a"} for i in range(1000)
    ]
    answer = stack.unix().post("/v1/validate", json.dumps({"calls": calls}).encode())
    assert [d["verdict"] for d in answer.json["decisions"]] == ["block" if i % 3 else "approve" for i in range(1000)]
    assert len(stack.spool.records) == 1000


def test_batches_hold_at_most_250_and_at_most_two_a_worker_are_out(stack):
    stack.worker.mode = "silent"
    calls = [{"tool": "Bash", "input": {"command": f"ls {i}"}, "agent": "a"} for i in range(1000)]
    stack.unix().post("/v1/validate", json.dumps({"calls": calls}).encode())
    assert [len(batch.calls) for batch in stack.worker.batches] == [250] * 4


def test_a_recent_decision_can_be_read_again(stack):
    answer = stack.bash("ls")
    assert stack.unix().get(f"/v1/decisions/{answer['id']}").json == answer
    missing = stack.unix().get("/v1/decisions/none")
    assert (missing.status, missing.json["field"]) == (404, "id")


# ---- no worker in time


@pytest.mark.parametrize("mode", ["silent", "gone", "frozen", "torn"])
def test_without_a_worker_a_call_is_answered_at_its_deadline_and_marked(make_stack, mode):
    stack = make_stack(deadline_ms=50)
    stack.worker.mode = mode
    client = stack.unix()
    for command, verdict in (("ls", "approve"), ("rm x", "block"), ("ask", "escalate"), ("ls", "approve")):
        answer = stack.bash(command, client)  # the client itself gives up after 5 s
        assert (answer["verdict"], answer["layer"], answer["degraded"]) == (verdict, "degraded", True)
    assert [record.degraded for record in stack.spool.records] == [True] * 4


def test_a_degraded_answer_is_never_cached(make_stack):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "silent"
    assert stack.bash("ls")["degraded"]
    stack.worker.mode = "answers"
    assert stack.bash("ls")["layer"] == "policy"


def test_a_degraded_approval_that_depends_on_more_than_the_call_escalates(make_stack):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "silent"
    answer = stack.bash("script")
    assert (answer["verdict"], answer["degraded"]) == ("escalate", True)


def test_a_policy_that_fails_here_blocks(make_stack):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "silent"
    answer = stack.bash("boom")
    assert (answer["verdict"], answer["degraded"]) == ("block", True)
    assert "ZeroDivisionError" in answer["reason"]


def test_a_worker_that_answers_late_and_otherwise_is_counted_as_a_difference(make_stack, eventually, capfd):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "silent"
    assert stack.bash("ls")["verdict"] == "approve"
    stack.worker.rules.judge = lambda call: type(stack.rules)().judge(type(call)("Bash", {"command": "rm"}, "a"))
    stack.worker.reply(stack.worker.batches[0])
    eventually(lambda: stack.figure("weir_degraded_differences_total") == 1)
    assert "a worker says block" in capfd.readouterr().err


def test_what_was_answered_without_a_worker_is_judged_by_one_when_it_is_back(make_stack, eventually):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "gone"
    [stack.bash(f"ls {i}") for i in range(5)]
    assert not stack.validation.workers_answer
    stack.worker.mode = "answers"
    eventually(lambda: stack.figure("weir_degraded_rechecked_total") == 5, timeout_s=8)
    assert stack.validation.workers_answer
    assert stack.figure("weir_degraded_differences_total") == 0


def test_with_the_breaker_open_nobody_waits_for_the_deadline(make_stack):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "gone"
    client = stack.unix()
    [stack.bash(f"a{i}", client) for i in range(3)]
    stack.worker.mode = "silent"
    assert all(stack.bash(f"b{i}", client)["degraded"] for i in range(20))
    assert len(stack.worker.batches) < 10  # one trial a quarter of a second


def test_a_spool_that_is_full_blocks_every_call_even_a_cached_one(stack):
    stack.bash("ls")
    stack.spool.full = True
    answers = [stack.bash("ls"), stack.bash("cat x")]
    assert [a["verdict"] for a in answers] == ["block", "block"]
    assert all("could not be recorded" in a["reason"] and a["remedy"] for a in answers)
    ready = stack.unix().get("/readyz")
    assert (ready.status, ready.json["recording"]) == (503, False)
    stack.spool.full = False
    assert stack.bash("ls")["verdict"] == "approve"


def test_a_thousand_connections_at_once_are_all_answered(stack):
    clients = [stack.unix() for _ in range(1000)]
    for index, client in enumerate(clients):
        body = json.dumps({"tool": "Bash", "input": {"command": f"ls {index}"}, "agent": "a"}).encode()
        client.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answers = [client.read().json for client in clients]
    assert {a["verdict"] for a in answers} == {"approve"}
    assert len({a["id"] for a in answers}) == 1000
    assert stack.spool.appends < 500


def test_explain_says_what_would_be_answered_and_why_and_records_nothing(stack):
    answer = stack.unix().post("/v1/explain", b'{"tool": "Bash", "input": {"command": "ask"}, "agent": "a", "wait_ms": 9}')
    assert answer.status == 200
    assert answer.json["decision"]["verdict"] == answer.json["explanation"]["verdict"] == "escalate"
    assert answer.json["decision"]["layer"] == "policy"
    assert not stack.spool.records
    assert not stack.experts.sent
    assert stack.tcp().post("/v1/explain", b"{}", Content_Type="application/json").status == 401


def test_an_explanation_that_waits_for_the_store_holds_up_nobody_and_one_that_fails_is_told(stack):
    waiting, other = stack.unix(), stack.unix()
    body = b'{"tool": "Bash", "input": {"command": "slow"}, "agent": "a"}'
    waiting.send(b"POST /v1/explain HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    begun = time.monotonic()
    assert other.post("/v1/validate", b'{"tool": "Bash", "input": {"command": "ls"}, "agent": "a"}').status == 200
    assert time.monotonic() - begun < 0.4
    assert waiting.read().status == 200
    assert other.post("/v1/explain", b'{"tool": "Bash", "input": {"command": "odd"}, "agent": "a"}').status == 500


# ---- more answers than can be recorded


def test_callers_are_slowed_down_and_all_answered_when_answers_wait_to_be_recorded(stack):
    client = stack.unix()
    stack.bash("ls", client)

    def answered_within(seconds: float) -> int:
        until, count = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            assert stack.bash("ls", client)["verdict"] == "approve"
            count += 1
        return count

    def held_ms() -> int:
        return int(stack.metrics.text().partition("\nweir_held_back_ms_total ")[2].split()[0])

    free = answered_within(0.5)
    assert held_ms() == 0
    stack.spool.filled = 1.0
    time.sleep(0.15)
    assert 0 < answered_within(0.5) < free
    assert held_ms() >= 90
    stack.spool.filled = 0.4
    time.sleep(0.15)
    before = held_ms()
    assert answered_within(0.3)
    assert held_ms() == before
