"""`weir validate`: ask the gateway about one tool call. Exits 0 approve, 2 block, 3 escalate, 1 error."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from app.client import Client, Decision, NoDecision, RequestRefused, ToolCall, Verdict

CODES: Final = {Verdict.APPROVE: 0, Verdict.BLOCK: 2, Verdict.ESCALATE: 3}
ERROR: Final = 1
ANSWER_S: Final = 10.0
STYLES: Final = {Verdict.APPROVE: "bold green", Verdict.BLOCK: "bold red", Verdict.ESCALATE: "bold yellow"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate")(validate)


def validate(
    command: Annotated[
        list[str] | None, typer.Argument(help="The shell command, after `--`; `-` or nothing reads stdin.")
    ] = None,
    tool: Annotated[str, typer.Option(help="The tool that would run.")] = "Bash",
    agent: Annotated[str, typer.Option(envvar="WEIR_AGENT", help="Who would run it.")] = "cli",
    session: Annotated[str, typer.Option(envvar="WEIR_SESSION", help="The agent's session.")] = "",
    cwd: Annotated[str | None, typer.Option(help="Where it would run; default: here.")] = None,
    tool_input: Annotated[
        str | None, typer.Option("--input", help="The tool's input as JSON, instead of a command.")
    ] = None,
    *,
    wait: Annotated[
        float, typer.Option(min=0, max=31_536_000, help="Wait so many seconds for a person where it escalates.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide without recording.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Ask whether a tool call would be approved. Exits 0 approve, 2 block, 3 escalate, 1 error."""
    call = tool_call(command, tool_input, tool, agent, session, str(Path.cwd()) if cwd is None else cwd)
    call |= {"wait_ms": round(wait * 1000), "dry_run": dry_run}
    decision = _ask(call, as_json=as_json)
    if as_json:
        print(msgspec.json.encode(decision).decode())
    else:
        show(decision, Console())
    raise typer.Exit(CODES[decision.verdict])


def tool_call(
    command: list[str] | None, tool_input: str | None, tool: str, agent: str, session: str, cwd: str
) -> dict[str, Any]:
    """Return the call that the options name; exits 1 where they name none."""
    return {"tool": tool, "input": _input(command, tool_input), "agent": agent, "session": session, "cwd": cwd}


def _input(command: list[str] | None, tool_input: str | None) -> dict[str, Any]:
    if command and tool_input is not None:
        fail("give a command or --input, not both")
    if tool_input is not None:
        return _object(tool_input)
    # one word is the command as the shell would get it; several were split by the caller's shell already
    words = command or []
    text = sys.stdin.read() if not words or words == ["-"] else " ".join(words)
    if not text.strip():
        fail("the command is empty; give it after `--`, or on stdin")
    return {"command": text}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except ValueError as error:
        fail(f"--input is not JSON: {error}")
    if not isinstance(value, dict):
        fail('--input must be a JSON object such as {"file_path": "a.txt"}')
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _ask(call: dict[str, Any], *, as_json: bool) -> Decision:
    try:
        with Client(deadline_s=ANSWER_S, raise_on_failure=True) as client:
            return client.validate_call(msgspec.convert(call, ToolCall))
    except RequestRefused as error:
        fail_on(error.problem, as_json=as_json)
    except NoDecision as error:
        fail(str(error))


def fail_on(problem: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Print why the gateway refused, and exit 1."""
    if as_json:
        print(json.dumps(problem))
    fail(str(RequestRefused(problem)))


def fail(text: str) -> NoReturn:
    """Print what went wrong, and exit 1."""
    print(f"weir: {text}", file=sys.stderr)
    raise typer.Exit(ERROR)


def show(decision: Decision, console: Console) -> None:
    """Print a decision for a person."""
    head = Text(decision.verdict.value, STYLES[decision.verdict])
    for rule in decision.rules:
        head.append(f"  {rule.id}", "bold").append(f" ({rule.file}:{rule.line})", "dim")
    console.print(head)
    if decision.reason:
        console.print(Text(decision.reason))
    if decision.remedy:
        console.print(Text(f"remedy: {decision.remedy}"))
    mark = ", degraded: no worker answered in time" if decision.degraded else ""
    console.print(Text(f"{decision.layer}{mark}, {decision.duration_us / 1000:.1f} ms, {decision.id}", "dim"))
