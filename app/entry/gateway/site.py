"""What the gateway serves: routes, and answers for everything that goes wrong on the way.

On /v1/hooks/* every error is a deny with status 200 in the agent's own contract, because agents let a call pass when
their hook fails.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from mypy_extensions import mypyc_attr

from app.core.decisions import Decision, ToolCall, Verdict
from app.core.errors import RequestInvalid
from app.core.policy import Explanation
from app.entry.gateway import access, bodies, hooks
from app.entry.gateway.connection import HttpConnection
from app.entry.gateway.explaining import Explainer
from app.entry.gateway.forms import ExplanationBody, Health, Readiness
from app.entry.gateway.known_calls import KnownCalls
from app.entry.gateway.problems import Problem, document
from app.entry.gateway.requests import JSON, Request
from app.services.answers import Answered
from app.services.questions import KnownCall
from app.services.waiting import Answer, CallbackWaiter, Waiter
from app.telemetry.metrics import Counter, Metrics

CONNECTIONS_MAX: Final = 4096
TCP_MAX: Final = 3072
"""Of them over TCP, where every local user may connect: the rest is for this user's own socket."""
BARRED_MAX: Final = 512
"""Connections beyond, which are only told so."""
PROBLEM: Final = b"application/problem+json"
HOOKS: Final = b"/v1/hooks/"
DECISIONS: Final = b"/v1/decisions/"
ONE: Final = b'{"tool"'
"""What the body of one call may begin with, and that of many cannot."""
_json: Final = msgspec.json.Encoder()


class Decisions(Protocol):
    """The validation service as the site uses it."""

    def decide(self, waiter: Waiter, known: KnownCall | None = None) -> None:
        """Answer a call once, in a later tick; `known` is its question where that is at hand. Raises RequestInvalid."""

    def decision(self, decision_id: str) -> Decision | None:
        """Return a recent decision."""

    @property
    def policy_version(self) -> str:
        """Return the version of the gateway's policy."""

    @property
    def workers_answer(self) -> bool:
        """Tell whether workers answer."""

    @property
    def recording(self) -> bool:
        """Tell whether answers can be recorded."""


class Desk(Protocol):
    """Where escalations go; see EscalationDesk."""

    def escalate(self, call: ToolCall, answered: Answered, started_ns: int, answer: Answer) -> None:
        """Open a ticket for a recorded escalate verdict; answer now or within the call's `wait_ms`."""

    def ended(self, ticket: str) -> Decision | None:
        """Return how a recent escalation ended."""


class Route(NamedTuple):
    """`scope` is what a TCP caller's token must have ('' = none needed); `name` is its label in the figures."""

    name: str
    scope: str
    serve: Callable[[Request], None]


class GatewaySite:
    """See connection.Site."""

    def __init__(
        self,
        decisions: Decisions,
        desk: Desk,
        metrics: Metrics,
        gate: access.Gate,
        openapi: bytes,
        explainer: Explainer,
    ) -> None:
        self._explainer = explainer
        self._decisions = decisions
        self._desk = desk
        self._metrics = metrics
        self._gate = gate
        self._openapi = openapi
        self.connections: set[HttpConnection] = set()
        self._over_tcp = 0
        self.draining = False
        self._calls = KnownCalls()
        self._requests: dict[tuple[str, int], Counter] = {}
        self._unknown_keys = metrics.counter(
            "weir_hook_unknown_keys_total", "Keys in hook bodies that are not known here."
        )
        metrics.gauge("weir_connections", "Open connections.", lambda: len(self.connections))
        self._routes: dict[tuple[bytes, bytes], Route] = {
            (b"POST", b"/v1/validate"): Route("validate", access.VALIDATE, self._validate),
            (b"POST", b"/v1/explain"): Route("explain", access.VALIDATE, self._explain_call),
            (b"GET", b"/healthz"): Route("healthz", "", self._healthz),
            (b"GET", b"/readyz"): Route("readyz", access.READ, self._readyz),
            (b"GET", b"/metrics"): Route("metrics", access.READ, self._show_metrics),
            (b"GET", b"/openapi.json"): Route("openapi", access.READ, self._show_openapi),
        }
        self._hook = Route("hooks", access.VALIDATE, self._serve_hook)
        self._validated = self._counter("validate", 200)
        self._show = Route("decisions", access.READ, self._show_decision)

    # ---- connections

    def joined(self, connection: HttpConnection) -> Problem | None:
        """See connection.Site."""
        self.connections.add(connection)
        self._over_tcp += connection.over_tcp
        crowded = connection.over_tcp and self._over_tcp > TCP_MAX
        if self.draining or crowded or len(self.connections) > CONNECTIONS_MAX:
            remedy = "try again in a second; keep fewer connections open"
            bound = TCP_MAX if crowded else CONNECTIONS_MAX
            return Problem(503, "busy", f"the gateway stops, or has {bound} connections", remedy)
        if connection.over_tcp:
            return None
        uid = access.peer_uid(connection.transport.get_extra_info("socket"))
        if access.trusts_uid(uid):
            return None
        return Problem(403, "foreign-user", f"the peer is user {uid}", "call as the user who runs Weir, or as root")

    def left(self, connection: HttpConnection) -> None:
        """See connection.Site."""
        self.connections.remove(connection)
        self._over_tcp -= connection.over_tcp

    @property
    def full(self) -> bool:
        """Tell whether nobody more can even be refused."""
        return len(self.connections) >= CONNECTIONS_MAX + BARRED_MAX

    # ---- requests

    def serve(self, request: Request) -> None:
        """See connection.Site."""
        try:
            route = self._routes.get((request.method, request.path)) or self._route(request)
            if request.over_tcp:
                self._gate.check(request.credentials(), request.method, route.scope)
            route.serve(request)
        except Problem as problem:
            self.refuse(request, problem)

    def refuse(self, request: Request, problem: Problem) -> None:
        """See connection.Site."""
        if request.path.startswith(HOOKS) or means_hook(request):
            contract = hooks.CONTRACTS.get(_hook_name(request.path), hooks.CLAUDE_CODE)
            self._reply(request, "hooks-refused", 200, contract.deny(problem))
        else:
            self._reply(request, "problem", problem.status, document(problem), PROBLEM)

    def _route(self, request: Request) -> Route:
        if request.path.startswith(HOOKS) and request.method == b"POST":
            return self._hook
        if request.path.startswith(DECISIONS) and request.method == b"GET":
            return self._show
        methods = [method.decode() for method, path in self._routes if path == request.path]
        if methods or request.path.startswith((HOOKS, DECISIONS)):
            allowed = ", ".join(methods) or ("POST" if request.path.startswith(HOOKS) else "GET")
            raise Problem(
                405, "method", f"this path does not take {request.method.decode('latin-1')}", f"use {allowed}"
            )
        remedy = "POST to /v1/hooks/claude-code" if means_hook(request) else "see /openapi.json for the paths"
        raise Problem(404, "no-such-path", "there is nothing at this path", remedy)

    def _reply(self, request: Request, name: str, status: int, body: bytes, media_type: bytes = JSON) -> None:
        self._counter(name, status).add()
        request.answer(status, body, media_type)

    def _counter(self, name: str, status: int) -> Counter:
        counter = self._requests.get((name, status))
        if counter is None:
            meaning = "Answered requests by route and status."
            counter = self._metrics.counter("weir_http_requests_total", meaning, route=name, status=str(status))
            self._requests[name, status] = counter
        return counter

    def _decide(self, waiter: Waiter, known: KnownCall | None = None) -> None:
        try:
            self._decisions.decide(waiter, known)
        except RequestInvalid as error:
            field, _, detail = str(error).partition(": ")
            raise Problem(
                400, "invalid-field", detail, "see /openapi.json for the fields and their types", field
            ) from error

    # ---- routes

    def _validate(self, request: Request) -> None:
        body = request.body
        if not body.startswith(ONE) and bodies.is_many(body):
            self._validate_many(request)
            return
        known = self._calls.of(body)
        self._decide(_One(self, request, known.call), known)

    def given_one(self, request: Request, call: ToolCall, answered: Answered) -> None:
        """Answer a request of one call, or let a person or an expert do so."""
        if answered.verdict is Verdict.ESCALATE and not call.dry_run:
            self._desk.escalate(call, answered, request.started_ns, partial(self._show_one, request))
        else:
            self._show_one(request, answered)

    def _show_one(self, request: Request, answered: Answered) -> None:
        self._validated.add()
        request.answer(200, answered.json())

    def _validate_many(self, request: Request) -> None:
        calls = bodies.decode_many(request.body)
        found: list[Answered | None] = [None] * len(calls)
        missing, started_ns, decide = len(calls), request.started_ns, self._decide

        def collect(index: int, answered: Answered) -> None:
            nonlocal missing
            found[index] = answered
            missing -= 1
            if not missing:
                body = b'{"decisions":[%b]}' % b",".join([one.json() for one in found if one is not None])
                self._reply(request, "validate-many", 200, body)

        def given(index: int, answered: Answered) -> None:
            if answered.verdict is Verdict.ESCALATE and not calls[index].dry_run:
                self._desk.escalate(calls[index], answered, started_ns, partial(collect, index))
            else:
                collect(index, answered)

        for index, call in enumerate(calls):
            decide(CallbackWaiter(call, started_ns, partial(given, index)))

    def _explain_call(self, request: Request) -> None:
        call = msgspec.structs.replace(bodies.decode_one(request.body), dry_run=True, wait_ms=0)

        self._explainer.refuse_many()

        def show(decision: Decision, why: Explanation | None) -> None:
            if why is None:
                self.refuse(request, Problem(500, "no-explanation", "the explanation failed", "see `weir doctor`"))
            else:
                self._reply(request, "explain", 200, _json.encode(ExplanationBody(decision, why)))

        def explain(answered: Answered) -> None:
            self._explainer.ask(call, partial(show, answered.decision()))

        self._decide(CallbackWaiter(call, request.started_ns, explain))

    def _serve_hook(self, request: Request) -> None:
        name = _hook_name(request.path)
        contract = hooks.CONTRACTS.get(name)
        if contract is None:
            known = ", ".join(hooks.CONTRACTS)
            raise Problem(404, "no-such-hook", f"there is no hook {name!r}", f"set the hook's URL to one of: {known}")
        try:
            hook = contract.decode(request.body, _agent(request.query) or name)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bodies.malformed(error) from error
        self._unknown_keys.add(hook.unknown_keys)
        if hook.call is None:
            self._reply(request, "hooks", 200, b"{}")
            return
        bodies.check_call(hook.call, request.body)

        def answer(answered: Answered) -> None:
            self._reply(request, "hooks", 200, contract.answer(answered.decision()))

        self._decide(CallbackWaiter(hook.call, request.started_ns, answer))

    def _show_decision(self, request: Request) -> None:
        decision_id = request.path[len(DECISIONS) :].decode("latin-1")
        decision = self._desk.ended(decision_id) or self._decisions.decision(decision_id)
        if decision is None:
            remedy = "older ones are in the decisions log: `weir log --decisions`"
            raise Problem(404, "no-such-decision", "this gateway has no recent decision of that id", remedy, "id")
        self._reply(request, "decisions", 200, _json.encode(decision))

    def _healthz(self, request: Request) -> None:
        self._reply(request, "healthz", 200, _json.encode(Health(ok=True)))

    def _readyz(self, request: Request) -> None:
        source = self._decisions
        ready = source.recording and not self.draining
        body = Readiness(ready, source.recording, source.workers_answer, source.policy_version)
        self._reply(request, "readyz", 200 if ready else 503, _json.encode(body))

    def _show_metrics(self, request: Request) -> None:
        self._reply(request, "metrics", 200, self._metrics.text().encode(), b"text/plain; version=0.0.4; charset=utf-8")

    def _show_openapi(self, request: Request) -> None:
        self._reply(request, "openapi", 200, self._openapi)


@mypyc_attr(acyclic=True)
class _One(Waiter):
    """Who sent a request of one call."""

    def __init__(self, site: GatewaySite, request: Request, call: ToolCall) -> None:
        super().__init__(call, request.started_ns)
        self._site = site
        self._request = request

    def answer(self, answered: Answered) -> None:
        """See Waiter."""
        self._site.given_one(self._request, self.call, answered)


def means_hook(request: Request) -> bool:
    """Tell whether a request was meant for a hook, however its path is spelled: no route of ours has the word."""
    return request.method == b"POST" and b"hook" in unquote_to_bytes(request.path).lower()


def _hook_name(path: bytes) -> str:
    # also of a path that is shorter: as text, since compiled code has no slice of bytes that ends before it begins
    return path.decode("latin-1")[len(HOOKS) :]


def _agent(query: bytes) -> str:
    if not query:
        return ""
    try:
        return parse_qs(query.decode("ascii"), max_num_fields=16).get("agent", [""])[0]
    except (UnicodeDecodeError, ValueError) as error:
        raise Problem(400, "malformed-query", "the query does not parse", "send ?agent=NAME", "agent") from error
