"""What both clients share: who asks, where, how long; how calls become requests, and answers decisions. No waiting."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypedDict, TypeVar, Unpack

import msgspec

from app.core.decisions import Decision, ToolCall, Verdict
from app.gateway_place import find_socket
from app.gateway_socket import Address, Answer, GatewayUnreachable, NoDecision

DEADLINE_S: Final = 2.0
LAYER: Final = "client"
VALIDATE: Final = "/v1/validate"
EXPLAIN: Final = "/v1/explain"
CALLS_MAX: Final = 1_000
"""Calls a request, and below it their bytes: the gateway takes a body of 1 MiB."""
BYTES_MAX: Final = 900_000
_REMEDY: Final = "nothing was decided, so nothing may run; see `weir status`"
_NO_GATEWAY: Final = "what answered is not a Weir gateway"


T = TypeVar("T")


class CallFields(TypedDict, total=False):
    """What a call may say beside tool and input; see docs/reference/api.md."""

    agent: str
    session: str
    cwd: str
    context: dict[str, Any]
    tool_call: str
    wait_ms: int
    dry_run: bool
    deadline_ms: int


class RequestRefused(NoDecision):
    """The gateway refused a request; `problem` is its problem document (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        field = f" ({problem['field']})" if problem.get("field") else ""
        super().__init__(f"{problem.get('detail', 'refused')}{field}. Remedy: {problem.get('remedy', _REMEDY)}")


class Part(NamedTuple):
    """One request: its body, how many calls it asks, how long a person may take, and whether it has the form of many.

    `refusal` is set where it cannot be asked.
    """

    body: bytes
    calls: int
    wait_s: float = 0.0
    many: bool = False
    route: str = VALIDATE
    refusal: NoDecision | None = None


class Explained(msgspec.Struct, frozen=True):
    """A dry run's decision, and why: the object of POST /v1/explain, or None where no gateway explained."""

    decision: Decision
    explanation: dict[str, Any] | None


class _Decisions(msgspec.Struct, frozen=True):
    decisions: list[Decision]


_encoder: Final = msgspec.json.Encoder()
_one: Final = msgspec.json.Decoder(Decision)
_explained: Final = msgspec.json.Decoder(Explained)
_many: Final = msgspec.json.Decoder(_Decisions)


class Caller:
    """Base of both clients.

    Without `socket_path` or `url` (http://host:port, with a token) the gateway of the project in `home`, WEIR_HOME or
    the installation's folder is looked for at each call, never one that lies around (app.gateway_place). `agent` and
    `session` default to WEIR_AGENT and WEIR_SESSION, `cwd` to the current folder. `deadline_s` bounds a whole request,
    connecting included; a call's `wait_ms` is added to it. Raises ValueError for a `url` that is none.
    """

    def __init__(
        self,
        agent: str = "",
        session: str = "",
        cwd: str | None = None,
        *,
        socket_path: str = "",
        url: str = "",
        token: str = "",
        home: str = "",
        deadline_s: float = DEADLINE_S,
        raise_on_failure: bool = False,
    ) -> None:
        self._agent = agent or os.environ.get("WEIR_AGENT", "") or "python"
        self._session = session or os.environ.get("WEIR_SESSION", "")
        self._cwd = cwd
        self._given = Address(socket_path) if socket_path else _tcp_address(url, token) if url else None
        self._home_given = home
        self._deadline_s = deadline_s
        self._raises = raise_on_failure

    def call(self, tool: str, tool_input: dict[str, Any], **fields: Unpack[CallFields]) -> ToolCall:
        """Return a call of this client's agent, session and folder, unless `fields` say otherwise."""
        own: CallFields = {"agent": self._agent, "session": self._session}
        if "cwd" not in fields:
            own["cwd"] = _here() if self._cwd is None else self._cwd
        return ToolCall(tool, tool_input, **(own | fields))

    def _address(self) -> Address:
        return self._given or Address(find_socket(home=self._home_given))

    def _failed(self, error: NoDecision, part: Part, started_ns: int) -> list[Decision]:
        if self._raises:
            raise error
        took_us = (time.monotonic_ns() - started_ns) // 1000
        block = Decision("", Verdict.BLOCK, (), str(error), _REMEDY, LAYER, False, True, "", took_us)
        return [block] * part.calls


def decisions(answer: Answer, part: Part) -> list[Decision]:
    """Return the decisions of an answer; raises RequestRefused or GatewayUnreachable."""
    found = _decoded(_many, answer).decisions if part.many else [_decoded(_one, answer)]
    if len(found) != part.calls:
        raise GatewayUnreachable(f"{_NO_GATEWAY}: {part.calls} calls, {len(found)} answers; see `weir status`")
    return found


def explained(answer: Answer) -> Explained:
    """Return the explanation of an answer; raises RequestRefused or GatewayUnreachable."""
    return _decoded(_explained, answer)


def _decoded(decoder: "msgspec.json.Decoder[T]", answer: Answer) -> T:
    if answer.status != 200:
        problem = answer.json()
        raise RequestRefused(problem if isinstance(problem, dict) else {})
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise GatewayUnreachable(f"{_NO_GATEWAY}: {error}; see `weir status`") from error


def single(call: ToolCall, route: str = VALIDATE) -> Part:
    """Return the request of one call."""
    body = _encoded(call)
    if isinstance(body, NoDecision):
        return Part(b"", 1, refusal=body)
    return Part(body, 1, _wait_s(call), route=route)


def parts(calls: Sequence[ToolCall]) -> Iterator[Part]:
    """Cut calls into requests that a gateway takes; one that cannot be asked stands for itself."""
    bodies: list[bytes] = []
    size, wait_s = 0, 0.0
    for call in calls:
        body = _encoded(call)
        fits = isinstance(body, bytes) and len(bodies) < CALLS_MAX and size + len(body) <= BYTES_MAX
        if bodies and not fits:
            yield _together(bodies, wait_s)
            bodies, size, wait_s = [], 0, 0.0
        if isinstance(body, NoDecision):
            yield Part(b"", 1, refusal=body)
            continue
        bodies.append(body)
        size, wait_s = size + len(body) + 1, max(wait_s, _wait_s(call))
    if bodies:
        yield _together(bodies, wait_s)


def _together(bodies: list[bytes], wait_s: float) -> Part:
    return Part(b'{"calls":[%b]}' % b",".join(bodies), len(bodies), wait_s, many=True)


def _encoded(call: ToolCall) -> bytes | NoDecision:
    try:
        return _encoder.encode(call)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return NoDecision(f"the call cannot be written as JSON ({error}); {_REMEDY}")


def _wait_s(call: ToolCall) -> float:
    return max(call.wait_ms, 0) / 1000


def _tcp_address(url: str, token: str) -> Address:
    scheme, _, place = url.rstrip("/").partition("://")
    host, _, port = place.rpartition(":")
    if scheme != "http" or not host or not port.isdigit():
        raise ValueError(f"{url!r} is not http://host:port, as `weir status` shows it")
    return Address("", host, int(port), token)


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  # the text is all that is wanted
    except OSError:  # the folder is gone: the policy takes a relative path for a doubt
        return ""
