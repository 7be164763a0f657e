"""Repeated keys in a body: refused, because of two values the judge would see one and the agent might run the other.

Decoders keep the last value and say nothing, so keys are counted. A body has a colon for each pair, and else colons in
strings only: where it has as many as there are keys in what was decoded, no pair was dropped. Most bodies cost one
count; those with colons in their strings one more decoding; those with a `u` escape, which may spell a colon, more.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.core.decisions import ToolCall
from app.entry.gateway.problems import Problem

_ASKED: Final = 3  # tool, input, agent
_any: Final = msgspec.json.Decoder()


def refuse_repeats(body: bytes, calls: Sequence[ToolCall], keys: int = 0) -> None:
    """Raise Problem where an object of a body has a key twice; `calls` are decoded from it, `keys` are around."""
    colons = body.count(b":")
    if colons == keys + sum(map(keys_of, calls)):
        return
    escaped = b"\\u" in body
    if not escaped and (colons == keys + sum(map(_colons_of, calls)) or colons == _colons(_any.decode(body))):
        return
    _look_closely(body)


def refuse_repeats_in(body: bytes, decoded: dict[str, Any]) -> None:
    """Raise Problem where an object of a body has a key twice; `decoded` is the whole of it."""
    if b"\\u" in body or body.count(b":") != _colons(decoded):
        _look_closely(body)


def keys_of(call: ToolCall) -> int:
    """Return how many keys the body of a call has at least: a field at its default may have stood there or not."""
    found = _ASKED + len(call.input)
    if call.session:
        found += 1
    if call.cwd:
        found += 1
    if call.tool_call:
        found += 1
    if call.wait_ms or call.dry_run or call.deadline_ms:
        found += (call.wait_ms != 0) + call.dry_run + (call.deadline_ms != 0)
    return found


def _colons_of(call: ToolCall) -> int:
    names = [call.tool, call.agent, call.session, call.cwd, call.tool_call]
    inner = _colons(call.input) - len(call.input) + _colons(names)
    return keys_of(call) + inner + (1 + _colons(call.context) if call.context else 0)


def _colons(value: Any) -> int:
    """Return how many colons a list or an object has in JSON: its keys', and those within strings."""
    if isinstance(value, dict):
        found = len(value) + "".join(value).count(":")
        value = value.values()
    else:
        found = 0
    for inner in value:
        kind = type(inner)
        if kind is str:
            if ":" in inner:
                found += inner.count(":")
        elif kind is dict or kind is list:
            found += _colons(inner)
    return found


def _look_closely(body: bytes) -> None:
    try:
        json.loads(body.decode(), object_pairs_hook=_distinct, parse_int=len, parse_float=len)
    except RecursionError as error:
        raise Problem(400, "too-deep", "the JSON nests too deep to be read", "send a flatter input", "input") from error


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        return
    twice = next(name for name in names if names.count(name) > 1)
    shown = json.dumps(twice[:64])
    raise Problem(400, "repeated-key", f"the key {shown} stands twice in one object", "send each key once", twice[:64])
