"""Agents' hook contracts: their JSON in, a ToolCall; a decision, their JSON out.

Agents let a call pass when a hook fails, so here an error is an answer too: a deny in the agent's own contract,
with status 200. Unknown keys are counted and ignored: an agent's update must not stop work.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from app.core.decisions import Decision, ToolCall, Verdict
from app.core.shell.form import UNKNOWN
from app.entry.gateway.problems import Problem
from app.entry.gateway.repeats import refuse_repeats_in

PERMISSIONS: Final = {Verdict.APPROVE: "allow", Verdict.BLOCK: "deny", Verdict.ESCALATE: "ask"}
NOT_GATES: Final = frozenset(
    """
    ConfigChange CwdChanged FileChanged InstructionsLoaded Notification PostCompact PostToolUse PostToolUseFailure
    PreCompact SessionEnd SessionStart Setup Stop StopFailure SubagentStart SubagentStop TaskCompleted TeammateIdle
    UserPromptSubmit
    """.split()  # noqa: SIM905 - one name a line would be twenty lines
)
"""Events that decide nothing about a tool call: they get an empty answer. Any other name is taken for a gate."""


class PreToolUse(msgspec.Struct, frozen=True):
    """What Claude Code (and Codex, VS Code) sends before a tool runs."""

    tool_name: str = ""
    tool_input: dict[str, Any] | None = None
    hook_event_name: str = "PreToolUse"
    session_id: str = ""
    cwd: str = ""
    tool_use_id: str = ""
    transcript_path: str = ""
    permission_mode: str = ""
    agent_id: str = ""
    agent_type: str = ""
    model: str = ""
    prompt_id: str = ""
    effort: Any = None


_KNOWN: Final = frozenset(field.name for field in msgspec.structs.fields(PreToolUse))
_whole: Final = msgspec.json.Decoder(dict[str, Any])


class HookCall(NamedTuple):
    """A decoded hook body: `call` is None for an event that is no gate; `unknown_keys` were ignored."""

    call: ToolCall | None
    unknown_keys: int


class PermissionOutput(msgspec.Struct, frozen=True):
    """The inner object of a PreToolUse answer."""

    hookEventName: str  # noqa: N815 - the agent's contract
    permissionDecision: str  # noqa: N815
    permissionDecisionReason: str  # noqa: N815


class PreToolUseAnswer(msgspec.Struct, frozen=True):
    """The answer to a PreToolUse hook: allow, deny or ask."""

    hookSpecificOutput: PermissionOutput  # noqa: N815


def decode_pre_tool_use(body: bytes, agent: str) -> HookCall:
    """Return the call of a Claude Code hook body; raises Problem, msgspec.DecodeError or RecursionError."""
    whole = _whole.decode(body)
    refuse_repeats_in(body, whole)
    unknown = len(whole.keys() - _KNOWN)
    hook = msgspec.convert(whole, PreToolUse)
    if hook.hook_event_name in NOT_GATES:
        return HookCall(None, unknown)
    if not hook.tool_name or hook.tool_input is None:
        field = "tool_input" if hook.tool_name else "tool_name"
        raise Problem(
            400, "missing-field", f"the hook's JSON has no {field}", f"send {field}, as Claude Code does", field
        )
    # without a folder that it stands in, a relative path may be anywhere: a doubt, not a place in the project
    cwd = hook.cwd if hook.cwd.startswith("/") else UNKNOWN
    call = ToolCall(
        hook.tool_name, hook.tool_input, agent, session=hook.session_id, cwd=cwd, tool_call=hook.tool_use_id
    )
    return HookCall(call, unknown)


def answer_pre_tool_use(decision: Decision) -> bytes:
    """Return a decision in Claude Code's contract."""
    return _answer(PERMISSIONS[decision.verdict], explain(decision))


def deny_pre_tool_use(problem: Problem) -> bytes:
    """Return an error in Claude Code's contract."""
    field = f" ({problem.field})" if problem.field else ""
    return _answer("deny", f"Weir could not decide: {problem.detail}{field}. Remedy: {problem.remedy}")


def _answer(permission: str, reason: str) -> bytes:
    return msgspec.json.encode(PreToolUseAnswer(PermissionOutput("PreToolUse", permission, reason)))


def explain(decision: Decision) -> str:
    """Return verdict, rules, reason and remedy in one line for an agent or a person."""
    rules = f" [{', '.join(rule.id for rule in decision.rules)}]" if decision.rules else ""
    remedy = f" Remedy: {decision.remedy}" if decision.remedy else ""
    degraded = " (decided without a worker)" if decision.degraded else ""
    return f"Weir: {decision.verdict.value}{rules}: {decision.reason}{degraded}{remedy} ({decision.id})"


class Contract(NamedTuple):
    """One agent's way of asking and being answered."""

    decode: Callable[[bytes, str], HookCall]
    answer: Callable[[Decision], bytes]
    deny: Callable[[Problem], bytes]


CLAUDE_CODE: Final = Contract(decode_pre_tool_use, answer_pre_tool_use, deny_pre_tool_use)
CONTRACTS: Final = {"claude-code": CLAUDE_CODE}
