"""Claude Code's PreToolUse contract: every way of asking gets allow, deny or ask; every error is a deny."""

import json

import pytest

from app.core.shell.form import marks_of

HOOK = {
    "session_id": "s", "transcript_path": "/t", "cwd": "/p", "permission_mode": "plan", "hook_event_name": "PreToolUse",
    "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "toolu_1",
}  # fmt: skip


def ask(client, body, path="/v1/hooks/claude-code", **headers):
    answer = client.post(path, body if isinstance(body, bytes) else json.dumps(body).encode(), **headers)
    assert answer.status == 200
    assert set(answer.json) == {"hookSpecificOutput"}
    output = answer.json["hookSpecificOutput"]
    assert set(output) == {"hookEventName", "permissionDecision", "permissionDecisionReason"}
    assert output["hookEventName"] == "PreToolUse"
    return output["permissionDecision"], output["permissionDecisionReason"]


@pytest.mark.parametrize(("command", "permission"), [("ls", "allow"), ("rm -rf /", "deny"), ("ask", "ask")])
def test_verdicts_come_out_in_the_contract_with_rule_reason_and_remedy(stack, command, permission):
    given, reason = ask(stack.unix(), HOOK | {"tool_input": {"command": command}})
    assert given == permission
    assert "by rule" in reason
    assert "Remedy: think again" in reason
    [record] = stack.spool.records
    assert (record.agent, record.session, record.tool_call, record.cwd) == ("claude-code", "s", "toolu_1", "/p")


def test_the_agent_can_be_named_in_the_url(stack):
    ask(stack.unix(), HOOK, "/v1/hooks/claude-code?agent=reviewer")
    assert stack.spool.records[0].agent == "reviewer"


def test_unknown_keys_are_counted_and_ignored(stack):
    assert ask(stack.unix(), HOOK | {"brand_new": [1], "another": {}})[0] == "allow"
    assert stack.figure("weir_hook_unknown_keys_total") == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"{}",
        b'{"tool_name": "Bash"}',
        b'{"tool_name": "Bash", "tool_input": null}',
        b'{"tool_name": "Bash", "tool_input": "ls"}',
        b'{"tool_name": 7, "tool_input": {}}',
        b'{"tool_name": "", "tool_input": {}}',
        b'{"tool_name": "Bash", "tool_input": {"command": "\\ud800"}}',
        b'{"tool_name": "Bash", "tool_input": {"command": "\xff"}}',
        b'{"tool_name": "Bash", "tool_input": {"n": ' + b"9" * 40 + b"}}",
        b'{"tool_name": "Bash", "tool_input": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"tool_name": "Bash", "tool_input": {"a": ' + b"[" * 100000,
        b'{"tool_name": "Bash", "tool_input": {"command": "' + b"a" * 2_000_000 + b'"}}',
        b'{"hook_event_name": "BeforeTool", "tool_name": "", "tool_input": {}}',
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_decided_is_a_deny_because_the_agent_would_go_on(stack, body):
    permission, reason = ask(stack.unix(), body)
    assert permission == "deny"
    assert "Remedy" in reason
    assert not stack.spool.records


def test_an_unknown_event_with_a_tool_is_decided_and_one_that_gates_nothing_gets_no_opinion(stack):
    assert ask(stack.unix(), HOOK | {"hook_event_name": "NewGate", "tool_input": {"command": "rm"}})[0] == "deny"
    answer = stack.unix().post("/v1/hooks/claude-code", json.dumps(HOOK | {"hook_event_name": "PostToolUse"}).encode())
    assert (answer.status, answer.json) == (200, {})


def test_a_wrong_hook_url_and_a_missing_token_are_denies_that_name_the_remedy(stack):
    permission, reason = ask(stack.unix(), HOOK, "/v1/hooks/claude")
    assert (permission, "claude-code" in reason) == ("deny", True)
    permission, reason = ask(stack.tcp(), HOOK, Content_Type="application/json")
    assert (permission, "gateway.token" in reason) == ("deny", True)
    permission, reason = ask(stack.tcp(), HOOK, Authorization="Bearer a-token")
    assert (permission, "Content-Type" in reason) == ("deny", True)


@pytest.mark.parametrize(
    "path",
    ["//v1/hooks/claude-code", "/v1/hooks/claude-code/", "/v1//hooks/claude-code", "/v1/hooks", "/v1/Hooks/claude-code",
     "/v1/%68ooks/claude-code", "/v1/hooks%2Fclaude-code", "/v1/hooks/claude%2Dcode", "/v1/./hooks/claude-code?agent=a",
     "/v1/hooks/claude-code;x", "/hook", "/v1/hooks/claude-code?agent=%ff&agent=x"],
)  # fmt: skip
def test_a_hook_url_however_it_is_spelled_never_lets_a_blocked_call_pass(stack, path):
    blocked = HOOK | {"tool_input": {"command": "rm"}}
    permission, reason = ask(stack.unix(), blocked, path)
    assert permission == "deny"
    assert reason


def test_without_a_folder_a_relative_path_is_a_doubt_and_not_in_the_project(stack):
    for cwd in ({}, {"cwd": ""}, {"cwd": "somewhere"}, {"cwd": "../.."}):
        ask(stack.unix(), {key: value for key, value in HOOK.items() if key != "cwd"} | cwd)
        assert marks_of(stack.spool.records[-1].cwd)


def test_a_spool_that_is_full_is_a_deny(stack):
    stack.spool.full = True
    assert ask(stack.unix(), HOOK)[0] == "deny"
