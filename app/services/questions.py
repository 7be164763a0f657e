"""The question that a call asks: all that a judgement may depend on, one encoding for cache key and wire form.

So a worker never sees more of a call than the key holds, and two calls share an answer only if all of it is equal.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import astuple

from app.core.decisions import ToolCall, ValidateBatch
from app.core.errors import RequestInvalid
from app.services.asking import Asking
from app.services.waiting import Question

_encode: Final = msgspec.msgpack.Encoder().encode
# places of a ToolCall's members. All are read at once: to look up each by its name took as long as to encode them
TOOL: Final = 0
INPUT: Final = 1
AGENT: Final = 2
SESSION: Final = 3
CWD: Final = 4
CONTEXT: Final = 5
TOOL_CALL: Final = 6
_SIX: Final = _encode((0,) * 6)[:1]


def encode_question(call: ToolCall, policy_version: str) -> bytes:
    """Return the encoded question of a call under a policy; raises RequestInvalid where its input cannot be encoded."""
    of = astuple(call)
    try:
        return _encode((policy_version, of[TOOL], of[INPUT], of[AGENT], of[SESSION], of[CWD], of[CONTEXT]))
    except (OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise RequestInvalid(f"input: {error}; send integers of at most 64 bits and whole characters") from error


class KnownCall:
    """A call, and the question that it asks under the policy's `version`, encoded once."""

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self._version: str | None = None
        self._asked = b""

    def asked(self, version: str) -> bytes:
        """Return the encoded question; raises RequestInvalid."""
        if self._version != version:
            self._asked = encode_question(self.call, version)
            self._version = version
        return self._asked


def wire_of(asked: bytes, policy_version: str) -> bytes:
    """Return the wire form of Asked from an encoded question: the same array without its first member."""
    return _SIX + asked[_from(policy_version) :]


@lru_cache(maxsize=8)
def _from(policy_version: str) -> int:
    return 1 + len(_encode(policy_version))


def encode_batch(
    project: str, batch_id: str, reply_to: str, deadline_ms: int, questions: Sequence[Question], version: str
) -> bytes:
    """Return the wire form of a ValidateBatch of these questions."""
    calls = tuple(msgspec.Raw(wire_of(question.asked, question.version)) for question in questions)
    return _encode(Asking(ValidateBatch.FORMAT, project, batch_id, reply_to, deadline_ms, calls, version))
