"""If these fail, a call is judged as another one was, or a gateway grows with what it is asked."""

import json

import pytest

from app.entry.gateway.known_calls import BODY_BYTES_MAX, CALLS_MAX, KnownCalls
from app.entry.gateway.problems import Problem
from app.services.questions import encode_question


def body_of(command: str, **more: object) -> bytes:
    return json.dumps({"tool": "Bash", "input": {"command": command}, "agent": "a", **more}).encode()


def test_what_comes_again_is_the_same_call_and_what_differs_in_one_byte_is_not() -> None:
    known = KnownCalls()
    first = [known.of(body_of("ls")) for _ in range(3)]
    assert first[1] is first[2]
    assert known.of(body_of("ls ")).call.input == {"command": "ls "}
    assert known.of(body_of("ls", cwd="/x")).call.cwd == "/x"
    assert known.of(body_of("ls")).call.cwd == ""


def test_the_question_of_a_known_call_names_the_policy_of_now() -> None:
    known = KnownCalls()
    for version in ("", "v1", "v2", "v1"):
        for _ in range(3):
            call = known.of(body_of("ls"))
            assert call.asked(version) == encode_question(call.call, version)


def test_a_bad_body_is_refused_however_often_it_comes() -> None:
    known = KnownCalls()
    twice = b'{"tool":"Bash","input":{"command":"ls","command":"rm -rf /"},"agent":"a"}'
    for body in [twice, b"{", body_of("ls", other=1)] * 3:
        with pytest.raises(Problem):
            known.of(body)


def test_what_is_kept_is_bounded_in_number_and_size() -> None:
    known = KnownCalls()
    long = body_of("x" * BODY_BYTES_MAX)
    nested = body_of("x", context={"a": [[] for _ in range(50)]})
    for body in (long, nested):
        assert known.of(body) is not known.of(body) is not known.of(body)
    for number in range(CALLS_MAX + 100):
        for _ in range(2):
            known.of(body_of(f"ls {number}"))
    assert 0 < len(known._calls) <= CALLS_MAX


def test_what_comes_once_is_not_kept() -> None:
    known = KnownCalls()
    for number in range(1000):
        known.of(body_of(f"ls {number}"))
    assert not known._calls
