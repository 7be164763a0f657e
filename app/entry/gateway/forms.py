"""The bodies of requests and answers that are not a call's own."""

import msgspec

from app.core.decisions import Decision, ToolCall
from app.core.policy import Explanation


class CallsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many calls at once, answered in the same order."""

    calls: list[ToolCall]


class RawCalls(msgspec.Struct):
    """The same, undecoded: to find the first bad one."""

    calls: list[msgspec.Raw]


class DecisionsBody(msgspec.Struct, frozen=True):
    """The answer to many calls, in their order."""

    decisions: list[Decision]


class ExplanationBody(msgspec.Struct, frozen=True):
    """The answer that the call would get now (a dry run), and why, by the gateway's own copy of the rules."""

    decision: Decision
    explanation: Explanation


class Health(msgspec.Struct, frozen=True):
    """The process runs."""

    ok: bool


class Readiness(msgspec.Struct, frozen=True):
    """Whether calls are decided and recorded; `workers_answer` is false while answers are degraded."""

    ready: bool
    recording: bool
    workers_answer: bool
    policy_version: str
