"""What `weir status` tells: processes, mounts, positions, addresses, and what is wrong, each with its remedy.

Reads only; a part that does not answer becomes a problem, never an error. A mount that hangs costs a second.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.core.errors import WeirError
from app.ports import LogReader, ProgramState, Supervisor
from config.settings import Settings

ANSWER_S: Final = 1.0


class MountPlace(NamedTuple):
    """A mount of this project: its name is the origin's folder; `pid` where no supervisor runs it."""

    name: str
    path: str
    pid: int = 0


def gather(
    settings: Settings,
    version: str,
    supervisor: Supervisor,
    reader: Callable[[], LogReader],
    probes: Mapping[str, Callable[[], str]],
) -> dict[str, Any]:
    """Return the status as its JSON shape (docs/reference/cli.md)."""
    states = supervisor.states()
    problems = process_problems(states, probes) if states or not runs_elsewhere(settings) else silent(probes)
    running = bool(states) or runs_elsewhere(settings)
    logs = _positions(reader, problems) if running else {}
    mounts = [_mount(settings, place, problems) for place in mount_places(settings)]
    return {
        "ready": running and not problems,
        "version": version,
        "home": str(settings.home),
        "project": settings.project,
        "sockets": str(settings.sockets),
        "mounts": mounts,
        "processes": [
            {"name": s.name, "pid": s.pid, "state": s.state, "restarts": s.restarts, "uptime_s": s.uptime_s}
            for s in states
        ],
        "flower": _flower(settings),
        "gateway": _gateway(settings),
        "logs": logs,
        "alerts": [],
        "problems": problems,
    }


def process_problems(states: Sequence[ProgramState], probes: Mapping[str, Callable[[], str]]) -> list[str]:
    """Return one sentence for each program that does not serve."""
    if not states:
        return ["nothing runs: `weir up`"]
    problems = []
    for state in states:
        if state.state != "running":
            problems.append(f"{state.name} is {state.state}: `weir logs {state.name}`")
        elif state.name in probes and (waits_for := probes[state.name]()):
            problems.append(f"{state.name} does not serve yet, it {waits_for}: `weir logs {state.name}`")
    return problems


def runs_elsewhere(settings: Settings) -> bool:
    """Tell whether servers of this home run, under whatever (`honcho start`)."""
    return any(_lives(settings.run / f"{name}.ready") for name in ("redis", "postgres"))


def _lives(ready: Path) -> bool:
    pid = _text(ready)
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def silent(probes: Mapping[str, Callable[[], str]]) -> list[str]:
    """Return one sentence for each probe that is not content."""
    return [f"{name} does not serve yet, it {words}" for name, probe in probes.items() if (words := probe())]


def mount_places(settings: Settings) -> list[MountPlace]:
    """Return the main mount and the further ones, in order of their names."""
    places = [MountPlace("main", str(settings.mount_point))]
    for path in sorted((settings.run / "mounts").glob("*.json")):
        known = read_object(path)
        if known.get("path"):
            places.append(MountPlace(path.stem, str(known["path"]), int(known.get("pid", 0))))
    return places


def _mount(settings: Settings, place: MountPlace, problems: list[str]) -> dict[str, Any]:
    folder = settings.mounts / place.name
    courier = read_object(folder / "courier.json")
    position = read_within(Path(place.path) / "debug" / "position", ANSWER_S)
    if position is None:
        problems.append(f"mount {place.name} at {place.path} does not answer: `weir logs mount`, `weir doctor`")
    known = _object(position or b"")
    return {
        "name": place.name,
        "path": place.path,
        "origin": _text(folder / "origin"),
        "applied_position": _first(known, "applied_position", "applied", "position"),
        "journal_bytes": sum(f.stat().st_size for f in (folder / "journal").glob("*.wj")) if folder.exists() else 0,
        "courier": courier,
    }


def _positions(reader: Callable[[], LogReader], problems: list[str]) -> dict[str, Any]:
    try:
        with closing(reader()) as source:
            return {log: {"position": source.head(log).position} for log in ("files", "decisions")}
    except WeirError as error:
        problems.append(f"the event store does not answer ({error}): `weir logs postgres`")
        return {}


def _flower(settings: Settings) -> dict[str, Any]:
    about = read_object(settings.run / "flower.json")
    return {"url": about.get("url", ""), "user": about.get("user", ""), "password": _text(settings.secrets / "flower")}


def _gateway(settings: Settings) -> dict[str, Any]:
    about = read_object(settings.run / "gateway.json")
    return {"socket": str(settings.gateway_socket), "url": about.get("url", "")}


def read_within(path: Path, timeout_s: float) -> bytes | None:
    """Return a file's bytes; None if it is not there or does not answer in time (a hung mount)."""
    found: list[bytes] = []

    def read() -> None:
        try:
            found.append(path.read_bytes())
        except OSError:
            return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None


def read_object(path: Path) -> dict[str, Any]:
    """Return a small JSON object; {} where there is none."""
    try:
        return _object(path.read_bytes())
    except OSError:
        return {}


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _first(known: Mapping[str, Any], *names: str) -> int:
    return next((int(known[name]) for name in names if isinstance(known.get(name), int)), 0)
