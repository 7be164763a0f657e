"""`weir log`: who changed what, newest first; `--decisions`: what was asked and answered."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from app import bootstrap
from app.core.decisions import DecisionRecord
from app.core.errors import RequestInvalid, Unavailable
from app.entry.cli.times import parse_time_ns, plain
from app.ports import EventFilter, LoggedDecision, LoggedEvent, LogReader
from app.services.event_lines import Entry, as_object, show_time
from config import settings as weir_settings
from config.mounted import mount_above
from config.settings import Settings

_FOLLOW_S: Final = 0.2
_PAGE: Final = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("log")(log)


def log(
    path: Annotated[str, typer.Argument(help="A file or folder of the project; all without.")] = "",
    *,
    agent: Annotated[str, typer.Option(help="Only this agent.")] = "",
    since: Annotated[str, typer.Option(help="From this time on, or an age: 15m, 2h, 3d.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time, or an age.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come, oldest first.")] = False,
    decisions: Annotated[bool, typer.Option("--decisions", help="The decisions log instead of the files log.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events, newest first."""
    settings = weir_settings.load()
    try:
        wanted_path = project_path(settings, path)
    except RequestInvalid as error:
        raise typer.BadParameter(str(error), param_hint="PATH") from error
    wanted = EventFilter(
        log="decisions" if decisions else "files",
        path=wanted_path,
        agent=agent,
        since_ns=parse_time_ns(since, "--since"),
        until_ns=parse_time_ns(until, "--until"),
        limit=limit,
    )
    if decisions and wanted.path:
        raise RequestInvalid("decisions have no path: give PATH or --decisions, not both")
    show = _print_json if as_json else _print_text
    with closing(bootstrap.file_event_reader(settings)) as reader:
        newest = _entries(reader, wanted)
        if follow:
            _follow(reader, wanted, newest, show)
            return
        shown = 0
        for entry in newest:
            show(entry)
            shown += 1
    if not shown:
        print(f"weir: {_nothing(wanted)}", file=sys.stderr)


def _nothing(wanted: EventFilter) -> str:
    what = "decision" if wanted.log == "decisions" else "event"
    where = f" at {_shown(wanted.path)} or below" if wanted.path else ""
    narrowed = ", by this agent or at this time" if wanted.agent or wanted.since_ns or wanted.until_ns else ""
    return f"no {what} is recorded{where}{narrowed}"


def project_path(settings: Settings, given: str) -> bytes:
    """Return the project's name of a path: below a mount's current/ the rest of it, else as it was given."""
    if not given:
        return b""
    whole = Path(os.path.abspath(given))  # noqa: PTH100  resolve() would look into the mount
    mounts = {settings.mount_point, mount_above(whole) or settings.mount_point}
    for folder in (*(mount / "current" for mount in mounts), *Path(given).parents):
        if folder.name == "current" and whole.is_relative_to(folder):
            return os.fsencode(whole.relative_to(folder))
    name = os.path.normpath(given)
    if Path(given).is_absolute() or Path(name).parts[:1] == ("..",):
        raise RequestInvalid(f"{given} is outside of the project: name a path below {settings.mount_point / 'current'}")
    return os.fsencode(name)


def _entries(reader: LogReader, wanted: EventFilter) -> Iterator[Entry]:
    return reader.decisions(wanted) if wanted.log == "decisions" else reader.log(wanted)


def _follow(reader: LogReader, wanted: EventFilter, newest: Iterator[Entry], show: Callable[[Entry], None]) -> None:
    """Show the newest ones in order, then each as it comes; a store that is away is waited for."""
    last = reader.head(wanted.log).position
    first = list(newest)
    for entry in reversed(first):
        show(entry)
        last = max(last, entry.position)
    # at once: what was shown is flushed, nothing is to be given back, and an exception could be lost in a callback
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    while True:
        time.sleep(_FOLLOW_S)
        fresh = wanted._replace(after=last, limit=_PAGE, ascending=True)
        try:
            for entry in _whole_rows(list(_entries(reader, fresh)), fresh.limit):
                show(entry)
                last = max(last, entry.position)
        except Unavailable as error:
            print(f"weir: {error}; waiting", file=sys.stderr, flush=True)
            time.sleep(1)


def _whole_rows(page: list[Entry], limit: int) -> list[Entry]:
    """Leave a last row that the page's end may have cut (256 decisions share a position) to the next page."""
    if len(page) < limit or page[0].position == page[-1].position:
        return page
    return [entry for entry in page if entry.position != page[-1].position]


def _print_json(entry: Entry) -> None:
    print(json.dumps(as_object(entry)), flush=True)


def _print_text(entry: Entry) -> None:
    match entry:
        case LoggedEvent():
            fate = "" if entry.outcome in {"", "applied"} else f"  [{entry.outcome}]"
            _print_line(entry.position, entry.at_ns, entry, f"{entry.kind:<11} {_shown(entry.path)}{fate}")
        case LoggedDecision(position=position, record=record):
            _print_line(position, record.at_ns, record, f"{record.verdict:<9} {record.tool}: {record.reason}")


def _print_line(position: int, at_ns: int, by: LoggedEvent | DecisionRecord, what: str) -> None:
    who = by.agent + (f" ({by.session})" if by.session else "")
    print(f"{position:>8}  {show_time(at_ns)}  {plain(who):<16} {plain(what)}", flush=True)


def _shown(path: bytes) -> str:
    return path.decode(errors="replace")
