"""Who sends half a request, or none: a hook is denied rather than left without an answer, and nobody keeps a place."""

import json
import socket
import time

import pytest

from app.entry.gateway import connection as wire
from app.entry.gateway import site as places

HEAD = b"POST /v1/hooks/claude-code HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90\r\n"
BODY = b'{"tool_name": "Bash", "tool_input": {"comm'


def permission(answer) -> str:
    assert answer.status == 200
    return answer.json["hookSpecificOutput"]["permissionDecision"]


@pytest.mark.parametrize("sent", [HEAD + b"\r\n" + BODY, HEAD + b"\r\n", HEAD, HEAD[:36]])
def test_a_hook_that_ends_before_its_end_is_denied(stack, sent: bytes) -> None:
    client = stack.unix()
    client.send(sent)
    client.socket.shutdown(socket.SHUT_WR)
    assert permission(client.read()) == "deny"
    assert client.at_end()


def test_another_request_that_ends_before_its_end_is_told_so(stack) -> None:
    client = stack.unix()
    client.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.read().json["type"] == "urn:weir:problem:cut-short"


def only(stack, eventually) -> wire.HttpConnection:
    eventually(lambda: len(stack.site.connections) == 1)
    (found,) = stack.site.connections
    return found


@pytest.mark.parametrize("sent", [HEAD + b"\r\n" + BODY, HEAD])
def test_a_hook_that_trickles_is_denied_after_a_bound_however_often_a_byte_comes(stack, eventually, sent: bytes) -> None:
    client = stack.unix()
    client.send(sent)
    found = only(stack, eventually)
    eventually(lambda: not found.idle)
    client.send(b"a")
    now = time.monotonic_ns()
    assert not found.is_stale(now + wire.ARRIVAL_NS_MAX // 2)
    assert found.is_stale(now + wire.ARRIVAL_NS_MAX + 10**9)
    stack._loop.call_soon_threadsafe(found.give_up)
    assert permission(client.read()) == "deny"
    assert client.at_end()


def test_a_silent_connection_keeps_its_place_for_less_than_one_that_asked(stack, eventually) -> None:
    client = stack.unix()
    found = only(stack, eventually)
    later = time.monotonic_ns() + wire.SILENT_NS_MAX + 10**9
    assert found.is_stale(later)
    client.get("/healthz")
    assert not found.is_stale(later)
    stack._loop.call_soon_threadsafe(found.give_up)
    assert client.at_end()


def test_a_hook_beyond_the_bound_on_connections_is_denied_not_left_with_an_error(stack, eventually) -> None:
    for path, body in (("/v1/hooks/claude-code", b"{}"), ("/v1/validate", b"{}")):
        stack.site._over_tcp = places.TCP_MAX
        client = stack.tcp()
        answer = client.post(path, body, Authorization="Bearer a-token")
        assert (answer.status if path == "/v1/validate" else permission(answer)) in {503, "deny"}
        assert client.at_end()
        near = stack.unix()
        assert near.get("/healthz").status == 200, "this user's own socket has places of its own"


def test_who_is_beyond_the_bound_and_says_nothing_is_told_after_a_while(stack) -> None:
    stack.site._over_tcp = places.TCP_MAX
    client = stack.tcp()
    assert client.read().status == 503
    assert client.at_end()


def test_an_agent_that_floods_waits_for_itself_and_what_nobody_can_judge_in_time_is_blocked(stack, eventually) -> None:
    class Heavy(type(stack.rules)):
        def judge(self, call):
            time.sleep(0.004 if call.agent == "flood" else 0)
            return super().judge(call)

    stack.worker.mode = "silent"
    stack.validation._policy = Heavy()
    calls = [{"tool": "Bash", "input": {"command": f"ls {n}"}, "agent": "flood"} for n in range(600)]
    body = json.dumps({"calls": calls}).encode()
    flood, began = stack.unix(), time.monotonic()
    flood.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    time.sleep(0.05)
    other = stack.bash("ls other", agent="other")
    assert other["verdict"] == "approve"
    assert other["duration_us"] < 1_400_000, "500 ms is its deadline here"
    found = flood.read().json["decisions"]
    assert time.monotonic() - began < 2.6, "to judge them all takes over 2.9 s"
    late = [one for one in found if one["verdict"] == "block"]
    assert late
    assert all(one["degraded"] and "too much is asked" in one["reason"] for one in late)
    assert stack.figure("weir_degraded_unjudged_total") == len(late)
