"""What a caller of the gateway gets for a call that a person has to answer."""

import json
import threading
import time

import pytest

from app.core.messages import FORMAT
from app.services.escalation import AGENT_MAX, EscalationReply


@pytest.fixture
def asked(stack, eventually):
    """Ask in a thread with a wait, return once the ticket is out: (ticket, the answer when it comes)."""

    def ask(command="ask me", on=stack, **fields):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(on.bash(command, **{"wait_ms": 60_000} | fields)))
        before = len(on.experts.tickets)
        thread.start()
        eventually(lambda: len(on.experts.tickets) > before)

        def answer():
            thread.join(10)
            return answers[0]

        return on.experts.tickets[-1], answer

    return ask


def test_an_escalation_is_sent_with_the_decision_s_id_and_what_a_person_must_see(stack, eventually):
    answer = stack.bash("ask me", cwd="/srv/x", session="s1")
    assert answer["verdict"] == "escalate"
    eventually(lambda: stack.experts.sent)
    [request] = stack.experts.sent
    assert (request.ticket, request.agent, request.session, request.cwd) == (answer["id"], "a1", "s1", "/srv/x")
    assert (json.loads(request.input), request.reason) == ({"command": "ask me"}, "escalate by rule")
    assert stack.spool.records[0].id == request.ticket


@pytest.mark.parametrize("state", ["approve", "block"])
def test_who_waits_gets_what_the_person_says_and_the_record_s_id(stack, asked, state):
    ticket, answer = asked()
    stack.experts.end(ticket, state)
    got = answer()
    assert (got["verdict"], got["layer"], got["id"], got["reason"]) == (
        state,
        "person",
        f"{ticket}.e",
        f"{state} by ann",
    )
    assert got["duration_us"] > 0
    assert stack.unix().get(f"/v1/decisions/{ticket}").json["verdict"] == state


def test_nobody_is_kept_waiting_behind_one_who_waits(stack, asked):
    ticket, answer = asked()
    assert [stack.bash(command)["verdict"] for command in ("ls", "rm x", "ask another")] == [
        "approve",
        "block",
        "escalate",
    ]
    stack.experts.end(ticket, "approve")
    assert answer()["verdict"] == "approve"


def test_who_waits_less_than_the_deadline_gets_the_ticket_and_may_read_its_end_later(stack, asked, eventually):
    ticket, answer = asked(wait_ms=200)
    got = answer()
    assert (got["verdict"], got["id"]) == ("escalate", ticket)
    stack.experts.end(ticket, "approve")
    eventually(lambda: stack.unix().get(f"/v1/decisions/{ticket}").json["verdict"] == "approve")


def test_at_the_deadline_a_worker_is_asked_again_and_its_block_is_the_answer(make_stack, asked, eventually):
    stack = make_stack(deadline_ms=500, patience_ms=600)
    ticket, answer = asked(on=stack)
    eventually(lambda: len(stack.experts.sent) == 2)
    stack.experts.end(ticket, "block", "deadline")
    assert (answer()["verdict"], answer()["layer"]) == ("block", "deadline")


@pytest.mark.thorough  # 3 s of waiting
def test_without_any_word_from_a_worker_the_deadline_is_a_recorded_block(make_stack, asked):
    stack = make_stack(deadline_ms=500, patience_ms=300)
    _, answer = asked(on=stack)
    got = answer()
    assert (got["verdict"], got["layer"]) == ("block", "deadline")
    assert [record.verdict for record in stack.spool.records] == ["escalate", "block"]
    assert stack.spool.records[-1].id == got["id"]


@pytest.mark.thorough  # 3 s of waiting
def test_with_the_broker_away_the_answer_is_escalate_at_once_and_the_ticket_goes_out_later(stack, eventually):
    stack.experts.mode = "gone"
    started = time.monotonic()
    answers = [stack.bash(f"ask {n}", wait_ms=60_000) for n in range(3)]
    assert [answer["verdict"] for answer in answers] == ["escalate"] * 3
    assert time.monotonic() - started < 5
    assert stack.experts.tried < 10
    stack.experts.mode = "keeps"
    eventually(lambda: set(stack.experts.tickets) == {answer["id"] for answer in answers}, timeout_s=15)


@pytest.mark.thorough  # 3 s of waiting
def test_a_ticket_that_the_broker_lost_is_sent_again(stack, eventually):
    stack.experts.mode = "silent"
    ticket = stack.bash("ask me")["id"]
    stack.experts.mode = "keeps"
    eventually(lambda: stack.experts.tickets == [ticket], timeout_s=8)


def test_a_dry_run_asks_nobody(stack):
    assert stack.bash("ask me", dry_run=True, wait_ms=60_000)["verdict"] == "escalate"
    assert not stack.experts.tried


def test_a_hook_asks_in_the_agent_s_own_way_and_opens_no_ticket(stack):
    body = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ask me"}}
    answer = stack.unix().post("/v1/hooks/claude-code", json.dumps(body).encode()).json
    assert answer["hookSpecificOutput"]["permissionDecision"] == "ask"
    assert not stack.experts.tried


def test_a_degraded_escalation_is_put_to_a_person_too(make_stack, asked):
    stack = make_stack(deadline_ms=100)
    stack.worker.mode = "silent"
    ticket, answer = asked(on=stack)
    stack.experts.end(ticket, "approve")
    assert (answer()["verdict"], answer()["degraded"]) == ("approve", False)


def test_an_agent_that_floods_is_blocked_with_the_reason_and_others_are_not(stack):
    calls = [{"tool": "Bash", "input": {"command": f"ask {n}"}, "agent": "flood"} for n in range(AGENT_MAX + 5)]
    found = stack.unix().post("/v1/validate", json.dumps({"calls": calls}).encode()).json["decisions"]
    assert [decision["verdict"] for decision in found] == ["escalate"] * AGENT_MAX + ["block"] * 5
    assert "wait for a person already" in found[-1]["reason"]
    assert found[-1]["id"] in {record.id for record in stack.spool.records if record.verdict == "block"}
    assert stack.bash("ask", agent="calm")["verdict"] == "escalate"
    assert stack.bash("ls", agent="flood")["verdict"] == "approve"


def test_an_answered_ticket_makes_room_for_the_next(stack, eventually):
    [stack.bash(f"ask {n}") for n in range(AGENT_MAX)]
    assert stack.bash("ask more")["verdict"] == "block"
    eventually(lambda: len(stack.experts.tickets) == AGENT_MAX)
    stack.experts.end(stack.experts.tickets[0], "block")
    eventually(lambda: stack.figure("weir_escalations_open") == AGENT_MAX - 1)
    assert stack.bash("ask more")["verdict"] == "escalate"


@pytest.mark.parametrize("state", ["escalate", "yes", ""])
def test_a_reply_that_is_no_answer_approves_nothing(stack, asked, eventually, state):
    ticket, answer = asked()
    stack.experts.say(EscalationReply(FORMAT, ticket, state, "x", "person", "odd"))
    stack.experts.say(EscalationReply(FORMAT, "unknown", "approve", "x", "person", "odd"))
    eventually(lambda: stack.figure("weir_escalation_replies_refused_total") == 2)
    stack.experts.end(ticket, "block")
    assert answer()["verdict"] == "block"


def test_many_calls_of_which_some_wait_are_answered_together_in_order(stack, asked, eventually):
    calls = [
        {"tool": "Bash", "input": {"command": c}, "agent": "a", "wait_ms": 60_000}
        for c in ("ls", "ask 1", "rm x", "ask 2")
    ]
    found = []
    body = json.dumps({"calls": calls}).encode()
    thread = threading.Thread(target=lambda: found.append(stack.unix().post("/v1/validate", body).json["decisions"]))
    thread.start()
    eventually(lambda: len(stack.experts.tickets) == 2)
    for ticket, state in zip(stack.experts.tickets, ("approve", "block"), strict=True):
        stack.experts.end(ticket, state)
    thread.join(10)
    assert [decision["verdict"] for decision in found[0]] == ["approve", "approve", "block", "block"]


def test_a_gateway_that_stops_gives_who_waits_the_ticket(stack, asked):
    ticket, answer = asked()
    stack._loop.call_soon_threadsafe(stack.desk.close)
    assert (answer()["verdict"], answer()["id"]) == ("escalate", ticket)
