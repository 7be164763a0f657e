"""`weir approvals`: what waits for a person, and the person's answer. Refused to agents and what they start."""

import getpass
import json
import time
from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer

from app import bootstrap
from app.core.decisions import Verdict
from app.core.errors import PayloadRefused
from app.core.messages import decode
from app.entry.cli.control import AGENTS, refuse_agents
from app.entry.cli.times import plain
from app.services.escalation import EscalationRequest
from app.services.event_lines import show_time
from config import settings as weir_settings

SHOWN_CHARACTERS: Final = 2_000
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Ticket = Annotated[str, typer.Argument(help="The id of the escalation: `weir approvals` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; the agent is told, and it is recorded.")]


def register(app: typer.Typer) -> None:
    """Add the command and its two answers."""
    commands = typer.Typer(help="Show what waits for a person; approve or deny it.", rich_markup_mode=None)
    commands.callback(invoke_without_command=True)(approvals)
    commands.command("approve")(approve)
    commands.command("deny")(deny)
    app.add_typer(commands, name="approvals")


def approvals(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what waits for a person, the next deadline first; approve or deny it."""
    if context.invoked_subcommand is not None:
        return
    with closing(bootstrap.ticket_reader(weir_settings.load())) as reader:
        waiting = [shown for kept in reader.waiting(limit) if (shown := _shown(kept)) is not None]
    for entry in waiting:
        print(json.dumps(entry)) if as_json else _print(entry)
    if not waiting and not as_json:
        print("Nothing waits.")


def approve(ticket: Ticket, *, reason: Reason = "", as_json: Json = False) -> None:
    """Let a waiting call go on: exits 0 if this answer stands, 1 if another does."""
    _answer(ticket, Verdict.APPROVE, reason, as_json=as_json)


def deny(ticket: Ticket, *, reason: Reason = "", as_json: Json = False) -> None:
    """Block a waiting call: exits 0 if this answer stands, 1 if another does."""
    _answer(ticket, Verdict.BLOCK, reason, as_json=as_json)


def _answer(ticket: str, verdict: Verdict, reason: str, *, as_json: bool) -> None:
    refuse_agents("approvals", AGENTS)
    with bootstrap.approver(weir_settings.load()) as approver:
        stands = approver.answer(ticket, verdict, getpass.getuser(), reason)
    if as_json:
        print(json.dumps({"ticket": ticket, "won": stands.won, "verdict": stands.state, "reason": stands.reason}))
    else:
        late = "" if stands.won else "too late, it stands: "
        print(plain(f"{late}{stands.state}: {stands.reason}"))
    raise typer.Exit(0 if stands.won else 1)


def _shown(kept: bytes) -> dict[str, Any] | None:
    try:
        request = decode(EscalationRequest, kept)
        asked = json.loads(request.input)
    except (PayloadRefused, ValueError):
        return None
    fields = msgspec.structs.asdict(request)
    kept_fields = ("ticket", "agent", "session", "tool_call", "tool", "cwd", "reason", "policy_version")
    left_s = (request.deadline_at_ms - time.time_ns() // 1_000_000) / 1000
    return {name: fields[name] for name in kept_fields} | {
        "input": asked,
        "rules": list(request.rules),
        "asked_at": show_time(request.asked_at_ms * 1_000_000),
        "deadline_at": show_time(request.deadline_at_ms * 1_000_000),
        "left_s": round(max(left_s, 0.0), 1),
    }


def _print(entry: dict[str, Any]) -> None:
    asked = entry["input"]
    text = asked["command"] if list(asked) == ["command"] else json.dumps(asked)
    rest = len(str(text)) - SHOWN_CHARACTERS
    more = f" ... and {rest} characters more: --json" if rest > 0 else ""
    who = entry["agent"] + (f" ({entry['session']})" if entry["session"] else "")
    rules = f" [{', '.join(entry['rules'])}]" if entry["rules"] else ""
    print(plain(f"{entry['ticket']}  {who}, in {entry['cwd'] or '?'}, {entry['left_s']:.0f} s left"))
    print(plain(f"    {entry['tool']}: {str(text)[:SHOWN_CHARACTERS]}{more}"))
    print(plain(f"    {entry['reason']}{rules}"))
