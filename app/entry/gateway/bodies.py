"""Bodies of /v1/validate: strict decoding, with errors that name the field and the remedy."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.core.decisions import ToolCall
from app.entry.gateway.forms import CallsBody, RawCalls
from app.entry.gateway.problems import Problem
from app.entry.gateway.repeats import keys_of, refuse_repeats

CALLS_MAX: Final = 1000
NAME_CHARACTERS_MAX: Final = 512
PATH_CHARACTERS_MAX: Final = 4096
DEPTH_MAX: Final = 64
DEADLINE_MS_MAX: Final = 1000
"""As long as a batch is waited for that nobody answers; clients wait 2 s."""
_SHORT: Final = 2 * DEPTH_MAX
"""A body of so few bytes can neither nest too deep nor have a name in it that is too long: most are as short."""
_MANY: Final = re.compile(rb"\s*\{\s*\"calls\"\s*:")
_FIELD: Final = re.compile(r" - at `\$\.?([^`]*)`")


_one: Final = msgspec.json.Decoder(ToolCall)
_many: Final = msgspec.json.Decoder(CallsBody)
_raw_many: Final = msgspec.json.Decoder(RawCalls)


def is_many(body: bytes) -> bool:
    """Tell whether a body is the form for many calls."""
    # of most bodies that are none the word tells it, at a fifth of the pattern's price
    return b'"calls"' in body and _MANY.match(body) is not None


def decode_one(body: bytes) -> ToolCall:
    """Return the call of a body; raises Problem."""
    try:
        call = _one.decode(body)
        if body.count(b":") != keys_of(call):
            refuse_repeats(body, (call,))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from error
    if len(body) > _SHORT or not (call.tool and call.agent) or call.wait_ms or call.deadline_ms:
        check_call(call, body)
    return call


def decode_many(body: bytes) -> list[ToolCall]:
    """Return the calls of a body, 1 to 1,000; raises Problem, naming the first bad one."""
    try:
        calls = _many.decode(body).calls
        refuse_repeats(body, calls, 1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _first_bad(body) or malformed(error) from error
    if not 1 <= len(calls) <= CALLS_MAX:
        raise Problem(400, "calls", f"calls holds {len(calls)} calls", f"send 1 to {CALLS_MAX} calls at once", "calls")
    bracketed = len(body) > 2 * DEPTH_MAX and _bracketed(body, len(calls))
    for index, call in enumerate(calls):
        try:
            _check_call(call, maybe_deep=bracketed)
        except Problem as problem:
            problem.field = f"calls[{index}].{problem.field}"
            raise
    return calls


def _first_bad(body: bytes) -> Problem | None:
    try:
        calls = _raw_many.decode(body).calls
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for index, raw in enumerate(calls):
        try:
            decode_one(bytes(raw))
        except Problem as problem:
            problem.field = f"calls[{index}].{problem.field}".rstrip(".")
            return problem
    return None


def malformed(error: Exception) -> Problem:
    """Return the problem of a body that does not decode."""
    if isinstance(error, RecursionError):
        return _too_deep("input")
    text = str(error)
    field = found[1] if (found := _FIELD.search(text)) else ""
    detail = _FIELD.sub("", text)
    if isinstance(error, msgspec.ValidationError):
        if (name := re.search(r"(?:unknown field|required field) `([^`]*)`", detail)) is not None:
            field = f"{field}.{name[1]}".lstrip(".")
        return Problem(400, "invalid-field", detail, "see /openapi.json for the fields and their types", field)
    return Problem(400, "malformed-json", detail, "send one JSON object in UTF-8, without lone surrogates")


def check_call(call: ToolCall, body: bytes) -> None:
    """Raise Problem for names that are empty or absurd, and for nesting that a worker may be unable to read."""
    _check_call(call, maybe_deep=len(body) > 2 * DEPTH_MAX and _bracketed(body, 1))


def _bracketed(body: bytes, calls: int) -> bool:
    # counting brackets is free, and only a body with many of them can be deep; each call has at least two
    return body.count(b"[") + body.count(b"{") > DEPTH_MAX + 2 * (calls - 1)


def _check_call(call: ToolCall, *, maybe_deep: bool) -> None:
    tool, agent = call.tool, call.agent
    if not (tool and agent):
        field = "agent" if tool else "tool"
        raise Problem(400, "empty-field", f"{field} is empty", f"name the {field}", field)
    if len(tool) + len(agent) + len(call.session) + len(call.tool_call) > NAME_CHARACTERS_MAX:
        longest = max(("tool", "agent", "session", "tool_call"), key=lambda name: len(getattr(call, name)))
        detail = f"names of {NAME_CHARACTERS_MAX} characters in all are allowed"
        raise Problem(400, "long-field", detail, f"shorten {longest}", longest)
    if len(call.cwd) > PATH_CHARACTERS_MAX:
        raise Problem(
            400,
            "long-field",
            "cwd is longer than any path",
            f"send at most {PATH_CHARACTERS_MAX} characters",
            "cwd",
        )
    if call.wait_ms < 0:
        raise Problem(400, "invalid-field", "wait_ms is negative", "send 0 or more milliseconds", "wait_ms")
    if not 0 <= call.deadline_ms <= DEADLINE_MS_MAX:
        detail = f"deadline_ms is {call.deadline_ms}"
        raise Problem(400, "invalid-field", detail, f"send 0 to {DEADLINE_MS_MAX} milliseconds", "deadline_ms")
    if maybe_deep and too_deep([call.input, call.context]):
        raise _too_deep("input")


def too_deep(values: Sequence[Any]) -> bool:
    """Tell whether values nest more than 64 deep."""
    level: list[Any] = list(values)
    for _ in range(DEPTH_MAX):
        level = [inner for value in level for inner in _children(value)]
        if not level:
            return False
    return True


def _children(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _too_deep(field: str) -> Problem:
    return Problem(400, "too-deep", f"the JSON nests more than {DEPTH_MAX} deep", "send a flatter input", field)
