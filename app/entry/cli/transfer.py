"""`weir import DIR` and `weir export DIR`: bring an existing project in, write the confirmed tree out."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from app import bootstrap
from app.core.errors import RequestInvalid
from app.services import catching_up, exporting, importing
from app.services.silence import Silence
from app.services.source_folder import check_outside
from app.services.status import mount_places
from config.settings import Settings, load

SHOWN: Final = 10
REDRAW_S: Final = 0.1
WAIT_S: Final = 60.0


def register(app: typer.Typer) -> None:
    """Add `import` and `export`."""
    app.command("import")(import_command)
    app.command("export")(export_command)


def import_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder whose content is brought in.")],
    *,
    into: Annotated[str, typer.Option(metavar="PATH", help="Folder of the project; made if absent.")] = "",
    agent: Annotated[str, typer.Option(metavar="NAME", help="Who stands in the events.")] = "import",
    special: Annotated[bool, typer.Option("--special", help="Bring fifos and devices in too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring an existing folder into the project. Contents, modes, owners, symlinks, hard links, times.

    What is there already and identical is skipped: an import that was stopped is finished by starting it again.
    """
    settings = load()
    source, options = folder.resolve(), importing.Options(os.fsencode(into), agent, special)
    importing.check(source, options)
    try:
        check_outside(source, [settings.home, *(Path(place.path) for place in mount_places(settings))])
    except RequestInvalid as error:
        raise typer.BadParameter(str(error), param_hint="DIR") from error
    began = time.monotonic()
    with _bar(quiet=as_json) as show, _silence(settings) as silence:

        def tell(progress: importing.Progress) -> None:
            silence.moved((progress.entries, progress.journalled, progress.acked), waits=progress.waits)
            done = 0 if not progress.journalled else progress.acked / progress.journalled
            show(progress.note or "import", int(progress.entries * done), progress.entries_total)

        parts = bootstrap.import_parts(settings)
        try:
            parts.reader.head("files")  # where nothing runs, that is said at once; the courier would wait
            counts = importing.import_folder(parts, source, options, tell)
        finally:
            parts.close()
    found = _plain(vars(counts), time.monotonic() - began)
    if as_json:
        print(json.dumps(found))
    else:
        _say_import(counts, found["seconds"])
    if counts.refused or counts.rejected:
        sys.exit(1)


def export_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; must be empty or absent.")],
    *,
    path: Annotated[str, typer.Option("--path", metavar="P", help="Only this folder of the project.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over what is in DIR.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, metavar="S", help="Seconds for what this machine's mounts still ship.")
    ] = WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the confirmed tree into a folder, byte for byte."""
    settings = load()
    began = time.monotonic()
    mounts = [Path(place.path) for place in mount_places(settings)]
    with _bar(quiet=as_json) as show:
        if wait_s:
            catching_up.wait_for_mounts(mounts, wait_s, lambda stored, of: show("stored", stored, of))
        counts = exporting.export_tree(
            bootstrap.file_event_reader(settings),
            folder.absolute(),
            os.fsencode(path),
            force=force,
            tell=lambda one: show("export", one.entries, one.entries_total),
            own=[settings.home, *mounts],
        )
    found = _plain(vars(counts), time.monotonic() - began)
    if as_json:
        print(json.dumps(found))
    else:
        print(
            f"Exported {counts.files} files ({counts.content_bytes:,} bytes), {counts.directories} folders, "
            f"{counts.symlinks} symlinks, {counts.hard_links} hard links as of position {counts.position}, "
            f"in {found['seconds']:.1f} s."
        )
        _say_paths("not written", counts.skipped)
    if counts.skipped:
        sys.exit(1)


def _silence(settings: Settings) -> Silence:
    def say(words: str) -> None:
        remedy = "it goes on once that is mended: see `weir status`, `weir doctor`; `weir up` starts what is missing"
        print(f"waiting: {words}; {remedy}", file=sys.stderr, flush=True)

    servers = bootstrap.probes(settings, None, servers=True)
    return Silence(servers, say, "nothing moves, though Redis and Postgres answer")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        last_s = 0.0

        def show(what: str, done: int, total: int) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s >= REDRAW_S or done == total:
                last_s = now_s
                bar.update(task, description=what, completed=done, total=total or None)

        yield show


def _say_import(counts: importing.Counts, seconds: float) -> None:
    print(
        f"Imported {counts.files} files ({counts.content_bytes:,} bytes), {counts.directories} folders, "
        f"{counts.symlinks} symlinks, {counts.hard_links} hard links: {counts.requests} events, in {seconds:.1f} s. "
        f"{counts.unchanged} were there already, {counts.replaced} were replaced."
    )
    _say_paths("refused", counts.refused)
    if counts.rejected:
        print(f"{counts.rejected} events were rejected by the store: see `weir log`.", file=sys.stderr)


def _say_paths(what: str, paths: Iterable[tuple[bytes, str]]) -> None:
    listed = list(paths)
    for path, reason in listed[:SHOWN]:
        print(f"{what}: {os.fsdecode(path)!r}: {reason}", file=sys.stderr)
    if len(listed) > SHOWN:
        print(f"... and {len(listed) - SHOWN} more", file=sys.stderr)


def _plain(counts: dict[str, Any], seconds: float) -> dict[str, Any]:
    lists = {
        name: [{"path": path.decode(errors="backslashreplace"), "reason": reason} for path, reason in value]
        for name, value in counts.items()
        if isinstance(value, list)
    }
    return {**counts, **lists, "seconds": round(seconds, 3)}
