"""`weir explain`: why a command would be decided as it would. Asks the gateway; without one, the rule files.

Exits 0 approve, 2 block, 3 escalate, 1 error, as `weir validate` does. Nothing is recorded.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app import bootstrap
from app.core.decisions import Decision, ToolCall
from app.core.policy.explain import ExplainedCommand, Explanation, MatchedRule
from app.entry.cli.times import plain
from app.entry.cli.validate import CODES, STYLES, fail, fail_on, tool_call
from app.gateway_place import find_home, find_socket
from app.gateway_socket import GatewayUnreachable, post
from config.settings import policies_folder

ANSWER_S: Final = 10.0
FLAGS_SHOWN: Final = 12


class _Answer(msgspec.Struct, frozen=True):
    decision: Decision | None
    explanation: Explanation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    command: Annotated[list[str] | None, typer.Argument(help="The shell command; `-` or nothing reads stdin.")] = None,
    tool: Annotated[str, typer.Option(help="The tool that would run.")] = "Bash",
    agent: Annotated[str, typer.Option(envvar="WEIR_AGENT", help="Who would run it.")] = "cli",
    session: Annotated[str, typer.Option(envvar="WEIR_SESSION", help="The agent's session.")] = "",
    cwd: Annotated[str | None, typer.Option(help="Where it would run; default: here.")] = None,
    tool_input: Annotated[
        str | None, typer.Option("--input", help="The tool's input as JSON, instead of a command.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a tool call would be decided as it would. Exits 0 approve, 2 block, 3 escalate, 1 error."""
    call = tool_call(command, tool_input, tool, agent, session, str(Path.cwd()) if cwd is None else cwd)
    answer = _asked(call, as_json=as_json)
    if as_json:
        print(msgspec.json.encode(answer).decode())
    else:
        show(answer.decision, answer.explanation, Console(highlight=False))
    raise typer.Exit(CODES[answer.explanation.verdict])


def _asked(call: dict[str, Any], *, as_json: bool) -> _Answer:
    try:
        found = post(find_socket(), "/v1/explain", json.dumps(call).encode(), ANSWER_S)
    except GatewayUnreachable:
        return _Answer(
            None,
            bootstrap.policy_at(policies_folder(), find_home(os.environ, Path.cwd()), sees=True).explain(
                msgspec.convert(call, ToolCall)
            ),
        )
    if found.status != 200:
        fail_on(found.json(), as_json=as_json)
    try:
        return msgspec.json.decode(found.body, type=_Answer)
    except msgspec.DecodeError as error:
        fail(f"the gateway's answer does not decode: {error}; is it of another version? `weir down`, `weir up`")


def show(decision: Decision | None, why: Explanation, console: Console) -> None:
    """Print an explanation for a person."""
    console.print(Text(f"{why.verdict.value}  ", STYLES[why.verdict]).append(plain(why.reason), "default"))
    if why.remedy:
        console.print(Text(f"remedy: {plain(why.remedy)}"))
    for doubt in why.doubts:
        console.print(Text(f"doubt: {plain(doubt)} (the text is never approved)", "yellow"))
    if why.reads:
        console.print(Text(f"depends on: {', '.join(why.reads)} (never cached)", "yellow"))
    for number, command in enumerate(why.commands, 1):
        console.print()
        _show_command(number, command, console)
    console.print()
    console.print(Text(_times(decision, why), "dim"))


def _show_command(number: int, command: ExplainedCommand, console: Console) -> None:
    head = Text(f"{number}  ", "dim")
    for wrapper in command.wrappers:
        head.append(plain(wrapper), "magenta").append(" > ", "dim")
    head.append(plain(" ".join(command.words)), "bold")
    head.append(f"  {command.verdict.value}", STYLES[command.verdict])
    console.print(head)
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, words in _known_of(command):
        facts.add_row(name, words)
    for rule in command.rules:
        facts.add_row("rule", _rule(rule))
    if not command.rules:
        facts.add_row("rule", Text("none speaks for it: escalate", "yellow"))
    console.print(Padding(facts, (0, 0, 0, 3)))


def _known_of(command: ExplainedCommand) -> list[tuple[str, Text]]:
    found = []
    if command.source:
        start, end = command.span
        found.append(("bytes", Text(f"{start}-{end}  ").append(plain(command.source), "dim")))
    if command.flags:
        rest = len(command.flags) - FLAGS_SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        found.append(("flags", Text(plain(" ".join(command.flags[:FLAGS_SHOWN])) + more)))
    found += [
        (touch.access, Text(plain(touch.path)).append(f"  {' '.join(touch.where)}", "cyan"))
        for touch in command.touches
    ]
    if command.facts:
        found.append(("facts", Text(" ".join(command.facts), "cyan")))
    if command.unresolved:
        found.append(("open", Text("some words are known only when it runs", "yellow")))
    return found


def _rule(rule: MatchedRule) -> Text:
    text = Text("● " if rule.decides else "○ ", STYLES[rule.verdict])
    text.append(rule.verdict.value, STYLES[rule.verdict]).append(f"  {rule.id}", "bold" if rule.decides else "")
    text.append(f"  {rule.file}:{rule.line} ({rule.tier})", "dim")
    if rule.lifted_by:
        text.append(f"  lifted by {rule.lifted_by}", "yellow")
    if rule.unmet:
        text.append(f"  not now: {rule.unmet}", "yellow")
    return text


def _times(decision: Decision | None, why: Explanation) -> str:
    steps = [f"{step.layer} {step.us:.0f} us" for step in why.layers]
    if decision is None:
        steps.append("no gateway runs: the rule files as they are")
    else:
        mark = " (degraded)" if decision.degraded else ""
        steps.append(f"answered by {decision.layer}{mark} in {decision.duration_us / 1000:.1f} ms")
        if decision.verdict is not why.verdict:
            steps.append(f"which says {decision.verdict.value}")
    return ", ".join([*steps, f"rules {why.policy_version[:12]}"])
