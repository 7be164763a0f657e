"""`weir logs [NAME ...]`: what the processes printed."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.core.errors import RequestInvalid
from config import settings as weir_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(logs)


def logs(
    names: Annotated[list[str] | None, typer.Argument(help="Programs; all without.")] = None,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines of each.")] = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the last lines of the processes' logs."""
    folder = weir_settings.load().logs
    known = {path.stem: path for path in sorted(folder.glob("*.log"))}
    for name in names or []:
        if name not in known:
            raise RequestInvalid(f"there is no log of {name!r}; there are: {', '.join(known) or 'none yet'}")
    if not known and not as_json:
        print("there are no logs yet: `weir up` starts what writes them", file=sys.stderr)
    chosen = {name: known[name] for name in names or known}
    places = {name: path.stat().st_size for name, path in chosen.items()}
    for name, path in chosen.items():
        _print(name, tail(path, lines), as_json=as_json)
    while follow:
        time.sleep(0.3)
        for name, path in chosen.items():
            places[name], fresh = _since(path, places[name])
            _print(name, fresh, as_json=as_json)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 512 * lines - 4096, 0))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _since(path: Path, place: int) -> tuple[int, list[str]]:
    """Return the place after the last whole line, and the whole lines since `place`."""
    with path.open("rb") as file:
        start = place if place <= file.seek(0, os.SEEK_END) else 0  # else it was rotated
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
    return start + len(whole) + len(newline), whole.decode(errors="replace").splitlines()


def _print(name: str, lines: list[str], *, as_json: bool) -> None:
    for line in lines:
        print(json.dumps({"name": name, "line": line}) if as_json else f"{name:<12} {line}", flush=True)
