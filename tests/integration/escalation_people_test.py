"""Escalations on the whole stack: people approve, deny, come too late or never; agents may not; processes die meanwhile."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from app.entry.cli.control import AGENTS
from app.gateway_place import find_socket
from app.gateway_socket import post
from tests.conftest import Stack, unmount_all

WEIR = str(Path(sys.executable).parent / "weir")
DEADLINE_S = 20


@pytest.fixture(scope="module")
def asked_stack(tmp_path_factory):
    folder = Path(tempfile.mkdtemp(prefix="we-", dir="/tmp"))
    made = Stack(folder)
    made.environ["WEIR_ESCALATION_S"] = str(DEADLINE_S)
    try:
        made.up()
        yield made
    finally:
        made.down()
        unmount_all(folder)


class Caller(threading.Thread):
    """One call that waits for a person."""

    def __init__(self, stack: Stack, command: str, wait_s: float = 60) -> None:
        super().__init__(daemon=True)
        call = {
            "tool": "Bash",
            "input": {"command": command},
            "agent": f"agent of {command}",
            "wait_ms": int(wait_s * 1000),
        }
        self._body = json.dumps(call).encode()
        self._stack = stack
        self.start()

    def run(self) -> None:
        started = time.monotonic()
        self.got = post(find_socket(self._stack.environ), "/v1/validate", self._body, 60).json()
        self.took_s = time.monotonic() - started

    def answer(self) -> dict:
        self.join(60)
        return self.got


def person(stack: Stack, *words: str, marks: dict[str, str] | None = None) -> "tuple[int, str]":
    """Run weir as a terminal of a person's own does: with none of an agent's marks, below no process that has one."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {name: value for name, value in stack.environ.items() if name not in AGENTS} | {"OUT": folder}
        script = '( "$@" >"$OUT/text" 2>&1; echo $? >"$OUT/rc.tmp"; mv "$OUT/rc.tmp" "$OUT/rc" ) &'
        subprocess.run(["sh", "-c", script, "sh", WEIR, *words], env=environ | (marks or {}), check=True)
        code = Path(folder) / "rc"
        until(code.exists, 60)
        return int(code.read_text()), (Path(folder) / "text").read_text()


def until(condition, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waiting(stack: Stack) -> dict[str, dict]:
    """Return what waits, by its command."""
    ran = stack.weir("approvals", "--json")
    entries = [json.loads(line) for line in ran.stdout.splitlines()]
    return {entry["input"]["command"]: entry for entry in entries}


def ticket(stack: Stack, command: str) -> str:
    until(lambda: command in waiting(stack))
    return waiting(stack)[command]["ticket"]


def recorded(stack: Stack, name: str) -> list[tuple[str, str, str]]:
    """Return (id, verdict, layer) of every record of a ticket, by id: the ticket itself first."""
    lines = stack.weir("log", "--decisions", "--json", "--limit", "1000000").stdout.splitlines()
    records = [record for line in lines if (record := json.loads(line))["id"].split(".")[0] == name]
    return sorted((record["id"], record["verdict"], record["layer"]) for record in records)


def ask(stack: Stack, command: str) -> tuple[Caller, str]:
    caller = Caller(stack, command)
    return caller, ticket(stack, command)


@pytest.mark.parametrize(("word", "verdict"), [("approve", "approve"), ("deny", "block")])
def test_what_a_person_says_is_the_waiting_caller_s_answer_and_is_recorded(asked_stack, word, verdict):
    caller, name = ask(asked_stack, f"frobnicate --{word}")
    code, text = person(asked_stack, "approvals", word, name, "--reason", "looked at it")
    assert code == 0, text
    got = caller.answer()
    assert (got["verdict"], got["layer"], got["degraded"]) == (verdict, "person", False)
    assert "looked at it" in got["reason"]
    assert f"frobnicate --{word}" not in waiting(asked_stack)
    until(lambda: len(recorded(asked_stack, name)) == 2)
    assert {record[:2] for record in recorded(asked_stack, name)} == {(name, "escalate"), (got["id"], verdict)}


def test_nobody_answers_and_it_is_a_block_at_the_deadline(asked_stack):
    caller, name = ask(asked_stack, "frobnicate --unanswered")
    got = caller.answer()
    assert (got["verdict"], got["layer"]) == ("block", "deadline")
    assert DEADLINE_S <= caller.took_s < DEADLINE_S + 5
    code, text = person(asked_stack, "approvals", "approve", name)
    assert code == 1
    assert "too late, it stands: block" in text


def test_who_does_not_wait_gets_the_ticket_and_the_block_is_recorded_all_the_same(asked_stack):
    caller = Caller(asked_stack, "frobnicate --impatient", wait_s=0.3)
    assert caller.answer()["verdict"] == "escalate"
    name = caller.answer()["id"]
    until(lambda: len(recorded(asked_stack, name)) == 2, 60)
    assert recorded(asked_stack, name)[1] == (f"{name}.deadline", "block", "deadline")


def test_of_two_people_at_once_exactly_one_wins(asked_stack):
    caller, name = ask(asked_stack, "frobnicate --contested")
    said: dict[str, tuple[int, str]] = {}
    people = [
        threading.Thread(target=lambda word=word: said.update({word: person(asked_stack, "approvals", word, name)}))
        for word in ("approve", "deny")
    ]
    [one.start() for one in people]
    [one.join() for one in people]
    got = caller.answer()
    winner = "approve" if got["verdict"] == "approve" else "deny"
    assert Counter(code for code, _ in said.values()) == {0: 1, 1: 1}, said
    assert said[winner][0] == 0
    until(lambda: len(recorded(asked_stack, name)) == 2)
    assert [record[0] for record in recorded(asked_stack, name) if "." in record[0]] == [got["id"]]


@pytest.mark.parametrize("mark", ["WEIR_AGENT", "CLAUDECODE", "CURSOR_AGENT"])
def test_an_agent_cannot_approve_its_own_call_nor_can_what_it_starts(asked_stack, mark):
    caller, name = ask(asked_stack, f"frobnicate --by {mark}")
    itself = person(asked_stack, "approvals", "approve", name, marks={mark: "1"})
    below = subprocess.run(
        ["sh", "-c", f'env -u {mark} "$@"; exit $?', "sh", WEIR, "approvals", "approve", name],
        env={n: v for n, v in asked_stack.environ.items() if n not in AGENTS} | {mark: "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    for code, text in (itself, (below.returncode, below.stderr)):
        assert code == 1
        assert "refused to agents" in text
    assert person(asked_stack, "approvals", "deny", name)[0] == 0
    assert caller.answer()["verdict"] == "block"


def test_an_unknown_ticket_is_an_error_that_names_the_remedy(asked_stack):
    code, text = person(asked_stack, "approvals", "approve", "no-such-ticket")
    assert code == 1
    assert "weir approvals" in text


def test_an_experts_worker_that_is_killed_while_somebody_waits_loses_nothing(asked_stack):
    caller, name = ask(asked_stack, "frobnicate --kept")
    asked_stack.kill(asked_stack.pid("experts"))
    fresh = Caller(asked_stack, "frobnicate --queued")
    code, text = person(asked_stack, "approvals", "approve", name)
    assert code == 0, text
    assert caller.answer()["verdict"] == "approve"
    code, text = person(asked_stack, "approvals", "approve", ticket(asked_stack, "frobnicate --queued"))
    assert code == 0, text
    assert fresh.answer()["verdict"] == "approve"


def test_with_redis_frozen_nobody_waits_and_the_ticket_comes_afterwards(asked_stack):
    wrapper = asked_stack.pid("redis")
    [server] = [int(pid) for pid in Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()]
    os.kill(server, signal.SIGSTOP)
    try:
        caller = Caller(asked_stack, "frobnicate --frozen")
        got = caller.answer()
    finally:
        os.kill(server, signal.SIGCONT)
    assert got["verdict"] == "escalate"
    assert caller.took_s < 5
    assert ticket(asked_stack, "frobnicate --frozen") == got["id"]
