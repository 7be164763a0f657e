"""A body that says two things under one key is refused: the judge would see one and the agent might run the other."""

import json
import random
from typing import Any

import pytest

from app.entry.gateway import bodies, hooks
from app.entry.gateway.problems import Problem

RISKY = [
    '{"tool":"Bash","agent":"a","input":{"command":"rm -rf /","command":"ls"}}',
    '{"tool":"Bash","agent":"a","input":{"command":"rm -rf /"},"input":{"command":"ls"}}',
    '{"tool":"Bash","tool":"Read","agent":"a","input":{"command":"ls"}}',
    '{"tool":"Bash","agent":"a","cwd":"","cwd":"","input":{"command":"ls"}}',
    '{"tool":"Bash","agent":"a","context":{"a":{"b":1,"b":2}},"input":{"command":"ls"}}',
    '{"tool":"Bash","agent":"a","input":{"command":"rm -rf /","comm\\u0061nd":"ls"}}',
    '{"tool":"Bash","agent":"a","input":{"command":"rm -rf /","command":"ls \\u003a"}}',
    '{"tool":"Bash","agent":"a","input":{"command":"rm : /", "command" : "ls"}}',
    '{"tool":"MultiEdit","agent":"a","input":{"edits":[{"old":"a:","old":"b","new":":"}]}}',
]


@pytest.mark.parametrize("body", RISKY)
def test_a_repeated_key_is_refused_alone_among_many_and_in_an_explanation(stack, body: str) -> None:
    client = stack.unix()
    for path, sent in (("/v1/validate", body), ("/v1/explain", body), ("/v1/validate", f'{{"calls":[{body}]}}')):
        answer = client.post(path, sent.encode())
        assert (answer.status, answer.json["type"]) == (400, "urn:weir:problem:repeated-key")
    assert not stack.worker.calls


@pytest.mark.parametrize(
    "body",
    [
        '{"tool_name":"Bash","tool_input":{"command":"rm -rf /","command":"ls"}}',
        '{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"hook_event_name":"Stop"}',
        '{"tool_name":"Bash","tool_input":{"command":"ls"},"later":{"a":1,"a":":"}}',
        '{"tool_name":"Bash","tool_input":{"command":"ls"},"tool_inp\\u0075t":{"command":"ls"}}',
    ],
)
def test_a_hook_with_a_repeated_key_is_denied_and_told_why(stack, body: str) -> None:
    answer = stack.unix().post("/v1/hooks/claude-code", body.encode())
    output = answer.json["hookSpecificOutput"]
    assert (answer.status, output["permissionDecision"]) == (200, "deny")
    assert "stands twice" in output["permissionDecisionReason"]


def test_many_calls_with_one_repeated_list_are_refused(stack) -> None:
    call = '{"tool":"Bash","agent":"a","input":{"command":"ls"}}'
    answer = stack.unix().post("/v1/validate", f'{{"calls":[{call}],"calls":[{call}]}}'.encode())
    assert answer.json["type"] == "urn:weir:problem:repeated-key"


def value(dice: random.Random, depth: int) -> Any:
    text = "".join(dice.choice('ab:\\"{}[],\u00e9\x01 ') for _ in range(dice.randrange(8)))
    if depth and dice.random() < 0.5:
        inner = [value(dice, depth - 1) for _ in range(dice.randrange(4))]
        return inner if dice.random() < 0.4 else {f"{dice.choice('ab:')}{n}": one for n, one in enumerate(inner)}
    return dice.choice([text, 1, -2.5, None, True])


def test_whatever_has_no_repeated_key_passes_and_one_that_is_doubled_anywhere_does_not() -> None:
    dice = random.Random(7)
    for _ in range(1_500):
        inner = {"command": value(dice, 3), ":": value(dice, 2)}
        call = {"tool": "Bash", "agent": ":a", "cwd": dice.choice(["", "/a:b"]), "input": inner}
        hook = {"tool_name": "Bash", "tool_input": inner, "effort": value(dice, 2), "new": value(dice, 2)}
        ascii_only = dice.random() < 0.5
        good = [json.dumps(one, ensure_ascii=ascii_only).encode() for one in (call, hook)]
        bodies.decode_one(good[0])
        hooks.decode_pre_tool_use(good[1], "a")
        for body, decode in ((good[0], bodies.decode_one), (good[1], lambda one: hooks.decode_pre_tool_use(one, "a"))):
            with pytest.raises(Problem, match="stands twice"):
                decode(body.replace(b'"command":', b'"command": ":", "command":', 1))
