"""`weir policy replay`: what recorded decisions would be by these rules, or by a folder of others. Changes nothing."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from app import bootstrap
from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid
from app.core.policy import compile_policy
from app.entry.cli.policy.rules import STYLES, Json, files_of, refuse, rule_book, tier_named
from app.entry.cli.times import parse_time_ns, plain
from app.ports import LogReader
from app.services.event_lines import show_time
from app.services.replay_asking import Replayed, Wish, record_at, replay
from app.services.replaying import Change
from config import settings as weir_settings

SHOWN_CHARACTERS = 160


def replay_decisions(
    *,
    since: Annotated[str, typer.Option(help="From this time on, or an age: 15m, 2h, 3d.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time, or an age.")] = "",
    agent: Annotated[str, typer.Option(help="Only this agent's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 10_000,
    policy: Annotated[Path | None, typer.Option(help="A folder of rules in the place of the user's.")] = None,
    tier: Annotated[str, typer.Option(help="In whose place the folder stands instead.")] = "",
    show: Annotated[int, typer.Option(min=0, help="List so many of those that would differ.")] = 50,
    as_json: Json = False,
) -> None:
    """Judge recorded decisions by the rules as they are, or as a folder would make them, and say what would differ."""
    settings = weir_settings.load()
    book = rule_book()
    try:
        files = files_of(book, policy, tier_named(tier))
        compile_policy(files)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    wish = Wish(
        book.keep(files, tried=True), limit, parse_time_ns(since, "--since"), parse_time_ns(until, "--until"), agent
    )
    with bootstrap.asker(settings) as asker, Console(stderr=True).status("asking") as status:
        whole = replay(asker, settings.project, wish, lambda so_far: _progress(status, so_far))
    with closing(bootstrap.file_event_reader(settings)) as reader:
        listed = [_listed(reader, change) for change in whole.changes[:show]]
    if as_json:
        print(json.dumps(_whole(wish, whole) | {"changes": listed}))
    else:
        _show(wish, whole, listed)


def _progress(status: Status, so_far: Replayed) -> None:
    status.update(f"{so_far.judged} judged, {so_far.differ} differ")


def _whole(wish: Wish, whole: Replayed) -> dict[str, Any]:
    counts = [{"from": old, "to": new, "count": count} for (old, new), count in sorted(whole.counts.items())]
    known = {"judged": whole.judged, "skipped": whole.skipped, "unsure": whole.unsure, "differ": whole.differ}
    return {"version": wish.version} | known | {"counts": counts}


def _listed(reader: LogReader, change: Change) -> dict[str, Any]:
    record = record_at(reader, change.position, change.leaf)
    place = {"position": change.position, "leaf": change.leaf, "from": change.before, "to": change.after}
    if record is None:
        return place
    told = {"at": show_time(record.at_ns), "agent": record.agent, "tool": record.tool, "cwd": record.cwd}
    asked = {"input": json.loads(record.input), "layer": record.layer, "rules_before": list(record.rules)}
    return place | told | asked | {"rules": list(change.rules)}


def _style(verdict: str) -> str:
    return STYLES[Verdict(verdict)] if verdict in set(Verdict) else ""


def _show(wish: Wish, whole: Replayed, listed: list[dict[str, Any]]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in listed:
        given = one.get("input", {})
        text = plain(str(given["command"]) if list(given) == ["command"] else json.dumps(given))
        head = Text(f"{one['position']:>8}.{one['leaf']:<3} ", "dim").append(one["from"], _style(one["from"]))
        head.append(" -> ", "dim").append(one["to"], _style(one["to"]))
        console.print(head.append(f"  {', '.join(one.get('rules', ())) or 'no rule'}", "bold"))
        who = f"{plain(one.get('agent', '?'))}, {one.get('tool', '?')}: "
        console.print(Text(f"             {who}{text[:SHOWN_CHARACTERS]}", "dim"))
    table = Table(box=None, pad_edge=False)
    for column in ("recorded", "would be", "decisions"):
        table.add_column(column, justify="right" if column == "decisions" else "left")
    for (old, new), count in sorted(whole.counts.items()):
        style = "" if old == new else "bold"
        table.add_row(Text(old, _style(old)), Text(new, _style(new)), Text(str(count), style))
    console.print(table)
    rest = f", {whole.skipped} were not the rules' answer" if whole.skipped else ""
    unsure = f", {whole.unsure} depend on branch or time, which are not recorded" if whole.unsure else ""
    more = f" ({len(listed)} listed)" if len(listed) < whole.differ else ""
    console.print(Text(f"{whole.differ} of {whole.judged} differ{more}", "bold").append(f"{rest}{unsure}", "dim"))
    console.print(Text(f"by rules {wish.version}", "dim"))
