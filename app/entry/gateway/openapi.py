"""The OpenAPI document, made from the wire types: what the decoders accept is what it says.

`python -m app.entry.gateway.openapi` prints it; the copy in docs/reference is a snapshot that a test compares.
"""

from inspect import cleandoc
from typing import Any, Final, NamedTuple

import msgspec

from app.core.decisions import Decision, ToolCall
from app.entry.gateway.forms import CallsBody, DecisionsBody, ExplanationBody, Health, Readiness
from app.entry.gateway.hooks import PreToolUse, PreToolUseAnswer
from app.entry.gateway.problems import ProblemDocument


class _Operation(NamedTuple):
    method: str
    path: str
    summary: str
    takes: tuple[type, ...]
    gives: tuple[type, ...]
    problems: tuple[int, ...] = (401, 403)
    media_type: str = "application/json"
    parameters: tuple[tuple[str, str], ...] = ()


_OPERATIONS: Final = (
    _Operation(
        "post", "/v1/validate", "Decide one call, or up to 1,000 at once.",
        (ToolCall, CallsBody), (Decision, DecisionsBody), (400, 401, 403, 413, 415, 431),
    ),
    _Operation(
        "post", "/v1/explain", "Say why a call would be decided as it would; records nothing.",
        (ToolCall,), (ExplanationBody,), (400, 401, 403, 413, 415, 431),
    ),
    _Operation(
        "post", "/v1/hooks/claude-code", "PreToolUse hook of Claude Code. Errors are a deny with status 200.",
        (PreToolUse,), (PreToolUseAnswer,), (), parameters=(("agent", "query"),),
    ),
    _Operation(
        "get", "/v1/decisions/{id}", "One recent decision of this gateway.", (), (Decision,), (401, 403, 404),
        parameters=(("id", "path"),),
    ),
    _Operation("get", "/healthz", "The process runs. Needs no token.", (), (Health,), (403,)),
    _Operation("get", "/readyz", "Calls are decided and recorded (503 while not).", (), (Readiness,)),
    _Operation("get", "/metrics", "Figures in the Prometheus text format.", (), (), media_type="text/plain"),
    _Operation("get", "/openapi.json", "This document.", (), (), (401, 403)),
)  # fmt: skip
_REF: Final = "#/components/schemas/{name}"


def describe() -> dict[str, Any]:
    """Return the document."""
    kinds = [kind for operation in _OPERATIONS for kind in (*operation.takes, *operation.gives)]
    unique = list(dict.fromkeys([*kinds, ProblemDocument]))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    for component in components.values():
        if "description" in component:  # a docstring: its lines are indented before Python 3.13
            component["description"] = cleandoc(component["description"])
    paths: dict[str, Any] = {}
    refs = dict(zip(unique, schemas, strict=True))
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe_one(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weir gateway", "version": "1"},
        "servers": [{"url": "http://127.0.0.1:8787"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _describe_one(operation: _Operation, refs: dict[type, Any]) -> dict[str, Any]:
    content = {operation.media_type: {"schema": _one_of(operation.gives, refs)}}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    for status in operation.problems:
        problem = {"application/problem+json": {"schema": refs[ProblemDocument]}}
        responses[str(status)] = {"description": "What is wrong, and the remedy.", "content": problem}
    described: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if operation.parameters:
        described["parameters"] = [
            {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
            for name, place in operation.parameters
        ]
    if operation.takes:
        schema = _one_of(operation.takes, refs)
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _one_of(kinds: tuple[type, ...], refs: dict[type, Any]) -> Any:
    schemas = [refs[kind] for kind in kinds]
    return schemas[0] if len(schemas) == 1 else ({"oneOf": schemas} if schemas else {})


def encode() -> bytes:
    """Return the document as it is served."""
    return msgspec.json.encode(describe(), order="deterministic")


if __name__ == "__main__":
    print(msgspec.json.format(encode(), indent=2).decode())
