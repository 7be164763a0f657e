"""What the gateway refuses, and that nothing is approved by accident."""

import json
import socket
import threading
import time

import pytest

GOOD = b'{"tool": "Bash", "input": {"command": "ls"}, "agent": "a"}'
NESTED = b'{"tool": "Bash", "input": {"a": %b1%b}, "agent": "a"}'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b'"ls"', ""),
        (b"\xff\xfe", ""),
        (GOOD[:-1], ""),
        (GOOD + b"x", ""),
        (GOOD.replace(b"ls", b"\xff"), ""),
        (GOOD.replace(b"ls", b"\\ud800"), ""),
        (b'{"tool": "Bash", "input": {"command": "ls"}}', "agent"),
        (b'{"input": {}, "agent": "a"}', "tool"),
        (b'{"tool": 1, "input": {}, "agent": "a"}', "tool"),
        (b'{"tool": "Bash", "input": "ls", "agent": "a"}', "input"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "verdict": "approve"}', "verdict"),
        (b'{"tool": "", "input": {}, "agent": "a"}', "tool"),
        (b'{"tool": "Bash", "input": {}, "agent": ""}', "agent"),
        (b'{"tool": "Bash", "input": {}, "agent": "' + b"a" * 600 + b'"}', "agent"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "cwd": "' + b"a" * 5000 + b'"}', "cwd"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "wait_ms": -1}', "wait_ms"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "deadline_ms": -1}', "deadline_ms"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "deadline_ms": 1001}', "deadline_ms"),
        (b'{"tool": "Bash", "input": {}, "agent": "a", "deadline_ms": 9, "deadline_ms": 100}', "deadline_ms"),
        (b'{"tool": "Bash", "input": {"n": ' + b"9" * 30 + b'}, "agent": "a"}', "input"),
        (b'{"tool": "Bash", "input": {"n": 1e999}, "agent": "a"}', "input[...]"),
        (NESTED % (b"[" * 100, b"]" * 100), "input"),
        (NESTED % (b"[" * 200_000, b"]" * 200_000), "input"),
        (b'{"calls": []}', "calls"),
        (b'{"calls": [' + GOOD + b', {"tool": "Bash"}]}', "calls[1].input"),
        (b'{"calls": [' + GOOD + b"," + GOOD.replace(b'"a"', b'""') + b"]}", "calls[1].agent"),
        (b'{"calls": [' + b",".join([GOOD] * 1001) + b"]}", "calls"),
        (b'{"calls": [' + GOOD + b'], "dry_run": true}', "dry_run"),
    ],
)
def test_a_body_that_is_not_a_call_is_refused_by_field_with_a_remedy(stack, body, field):
    answer = stack.unix().post("/v1/validate", body)
    assert answer.status == 400, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.get("field", "") == field
    assert answer.json["detail"]
    assert answer.json["remedy"]
    assert not stack.spool.records
    assert not stack.worker.calls


def test_the_connection_serves_on_after_a_refused_body(stack):
    client = stack.unix()
    assert client.post("/v1/validate", b"{").status == 400
    assert client.post("/v1/validate", GOOD).json["verdict"] == "approve"


def test_the_largest_numbers_that_fit_are_decided(stack):
    body = b'{"tool": "Bash", "input": {"n": [18446744073709551615, -9223372036854775808]}, "agent": "a"}'
    assert stack.unix().post("/v1/validate", body).json["verdict"] == "approve"


def test_ten_megabytes_are_refused_and_the_answer_arrives(stack):
    body = b'{"tool": "Bash", "input": {"command": "' + b"a" * 10_000_000 + b'"}, "agent": "a"}'
    client = stack.unix()
    sender = threading.Thread(
        target=lambda: client.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    )
    sender.start()
    assert client.read().status == 413
    sender.join(5)


def test_a_chunked_body_is_bounded_too(stack):
    client = stack.unix()
    client.send(b"POST /v1/validate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    sender = threading.Thread(target=lambda: [client.send(piece) for _ in range(20)])
    sender.start()
    assert client.read().status == 413
    sender.join(5)


def test_a_chunked_call_is_decided(stack):
    client = stack.unix()
    client.send(
        b"POST /v1/validate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    )
    assert client.read().json["verdict"] == "approve"


def test_curl_that_asks_before_sending_is_told_to_go_on(stack):
    client = stack.unix()
    client.send(b"POST /v1/validate HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD))
    assert client.read().status == 100
    client.send(GOOD)
    assert client.read().json["verdict"] == "approve"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/validate HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/validate HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/validate HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_once_and_closed(stack, data):
    client = stack.unix()
    client.send(data)
    answer = client.read()
    assert answer.status in {400, 431}
    assert answer.headers["connection"] == "close"
    assert client.at_end()


def test_pipelined_requests_are_answered_in_their_order(stack):
    client = stack.unix()
    stack.worker.delay_s = 0.05
    requests = b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
    client.send((requests + b"GET /healthz HTTP/1.1\r\n\r\n") * 100)
    for _ in range(100):
        assert client.read().json["verdict"] == "approve"
        assert client.read().json == {"ok": True}


def test_a_request_that_comes_byte_by_byte_is_decided(stack):
    client = stack.unix()
    for byte in b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD):
        client.send(bytes([byte]))
    assert client.read().json["verdict"] == "approve"


def test_a_peer_that_stops_writing_still_gets_its_answer(stack):
    client = stack.unix()
    stack.worker.delay_s = 0.05
    client.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.read().json["verdict"] == "approve"
    assert client.at_end()


def test_a_peer_that_leaves_costs_nobody_else_anything_and_its_call_is_recorded(stack, eventually):
    stack.worker.delay_s = 0.05
    client = stack.unix()
    client.send(b"POST /v1/validate HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD))
    time.sleep(0.02)
    client.socket.close()
    eventually(lambda: len(stack.spool.records) == 1)
    assert stack.bash("ls")["verdict"] == "approve"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/validate", 405),
        ("PUT", "/v1/validate", 405),
        ("POST", "/healthz", 405),
        ("GET", "/v1/hooks/claude-code", 200),
    ],
)
def test_paths_and_methods_that_are_not_there_say_so(stack, method, path, status):
    client = stack.unix()
    client.send(f"{method} {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
    answer = client.read()
    assert answer.status == status
    if status == 200:  # a hook path: an error there is a deny
        assert answer.json["hookSpecificOutput"]["permissionDecision"] == "deny"


# ---- TCP: tokens and browsers

JSON = {"Content_Type": "application/json"}
TOKEN = {"Authorization": "Bearer a-token"}


def test_over_tcp_a_token_is_asked_for_except_for_health(stack):
    assert stack.tcp().get("/healthz").status == 200
    assert stack.tcp().post("/v1/validate", GOOD, **JSON).status == 401
    assert stack.tcp().post("/v1/validate", GOOD, **JSON, Authorization="Bearer wrong").status == 401
    assert stack.tcp().post("/v1/validate", GOOD, **JSON, Authorization="Basic a-token").status == 401
    assert stack.tcp().get("/metrics").status == 401
    assert stack.tcp().post("/v1/validate", GOOD, **JSON, **TOKEN).json["verdict"] == "approve"


def test_a_hook_token_may_validate_but_not_read(stack):
    token = {"Authorization": "Bearer hook-token"}
    answer = stack.tcp().post("/v1/validate", GOOD, **JSON, **token)
    assert answer.json["verdict"] == "approve"
    assert stack.tcp().get(f"/v1/decisions/{answer.json['id']}", **token).status == 401
    assert stack.tcp().get("/metrics", **token).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {**JSON, **TOKEN, "Host": "evil.example:8787"},
        {**JSON, **TOKEN, "Host": ""},
        {**JSON, **TOKEN, "Origin": "http://127.0.0.1"},
        {**JSON, **TOKEN, "Origin": "null"},
        {**TOKEN, "Content_Type": "text/plain"},
        {**TOKEN},
    ],
)
def test_a_web_page_cannot_post(stack, headers):
    answer = stack.tcp().post("/v1/validate", GOOD, **headers)
    assert answer.status in {403, 415}
    assert not stack.spool.records


def test_the_figures_are_measured_ones(stack):
    stack.bash("ls")
    stack.bash("ls")
    text = stack.unix().get("/metrics").body.decode()
    assert 'weir_decisions_total{verdict="approve",layer="policy"} 1' in text
    assert 'weir_decisions_total{verdict="approve",layer="local-cache"} 1' in text
    assert "weir_decision_duration_us_count 2" in text
    assert "weir_cache_hits 1" in text
    assert json.loads(stack.unix().get("/openapi.json").body)["openapi"] == "3.1.0"


def _request(command: str, *lines: str) -> bytes:
    body = json.dumps({"tool": "Bash", "input": {"command": command}, "agent": "a"}).encode()
    head = "\r\n".join(["POST /v1/validate HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


def test_a_head_that_came_before_never_makes_another_request_of_what_follows_it(stack):
    client = stack.unix()
    for command in ("rm a", "ls b", "rm c"):  # the same head three times, known from the second on
        client.send(_request(command))
        assert client.read().json["verdict"] == ("block" if command.startswith("rm") else "approve")
    client.send(_request("ls 1") + _request("rm 2") + _request("ls 3"))
    assert [client.read().json["verdict"] for _ in range(3)] == ["approve", "block", "approve"]
    whole = _request("rm d")
    for cut in (3, whole.index(b"\r\n\r\n") + 2, len(whole) - 5):  # in two pieces
        client.send(whole[:cut])
        time.sleep(0.02)
        client.send(whole[cut:])
        assert client.read().json["verdict"] == "block"
    client.send(_request("ls x", "Connection: close"))
    assert client.read().json["verdict"] == "approve"
    assert client.at_end()


def test_a_known_head_lets_nobody_in_over_tcp(stack):
    near = stack.unix()
    for _ in range(3):
        near.send(_request("ls"))
        assert near.read().status == 200
    far = stack.tcp()
    far.send(_request("ls"))
    assert far.read().status in {401, 415}


def test_a_chunked_request_with_a_length_is_never_learned(stack):
    client = stack.unix()
    client.send(_request("ls", "Transfer-Encoding: chunked"))
    assert client.read().status == 400


def test_who_asks_and_never_reads_is_not_read_for_ever(stack):
    client = stack.unix()
    client.socket.settimeout(0.5)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    with pytest.raises(TimeoutError):
        for _ in range(100):  # 130 MB of answers, which the gateway would have to keep
            client.send(asked)
    assert stack.unix().get("/healthz").status == 200
