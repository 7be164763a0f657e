"""`weir status`: what runs, where, how far, and what is wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app import bootstrap
from app.services.asked import leave
from app.services.status import gather
from config import settings as weir_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show what runs, where and how far; exit 1 unless all is ready. With Flower's address and password."""
    settings = weir_settings.load()
    found = gather(
        settings,
        metadata.version("weir"),
        bootstrap.supervisor(settings),
        lambda: bootstrap.file_event_reader(settings),
        bootstrap.probes(settings, None),
        bootstrap.watched(settings),
    )
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    leave(0 if found["ready"] else 1)


def _print(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if found["processes"]:
        console.print(_table(found["processes"]))
    for line in _places(found):
        console.print(line, markup=False, soft_wrap=True)
    for problem in found["problems"]:
        console.print(f"problem  {problem}", style="red", markup=False, soft_wrap=True)
    for alert in found["alerts"]:
        words = f"alert    {alert['name']}: {alert['detail']}; remedy: {alert['remedy']}"
        console.print(words, style="yellow", markup=False, soft_wrap=True)
    console.print("ready" if found["ready"] else "not ready", style="bold")


def _table(processes: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("process", "state", "pid", "restarts", "up"):
        table.add_column(title, justify="right" if title in {"pid", "restarts", "up"} else "left")
    for process in processes:
        colour = "green" if process["state"] == "running" else "red"
        state = f"[{colour}]{process['state']}[/]"
        table.add_row(process["name"], state, str(process["pid"]), str(process["restarts"]), f"{process['uptime_s']} s")
    return table


def _places(found: dict[str, Any]) -> Iterator[str]:
    """Yield where things are; an address that nothing listens at yet is left out."""
    for mount in found["mounts"]:
        yield f"mount    {mount['path']}: position {mount['applied_position']}, journal {mount['journal_bytes']} bytes"
    for log, at in found["logs"].items():
        yield f"log      {log}: position {at['position']}"
    gateway, flower = found["gateway"], found["flower"]
    if gateway["url"]:
        yield f"gateway  {gateway['url']} and {gateway['socket']}"
    if flower["url"]:
        yield f"Flower   {flower['url']} user {flower['user']} password {flower['password']}"
