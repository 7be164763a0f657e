"""What `weir status` tells: processes, mounts, positions, addresses, and what is wrong, each with its remedy.

Reads only; a part that does not answer becomes a problem, never an error. All parts are asked at once and share
one bound, so that any number that hang cost a second together.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.core.errors import WeirError
from app.ports import LogReader, ProgramState, Supervisor
from app.services.alerts import Alert, Watched, alerts, put_aside
from app.services.asked import Asked
from config.settings import Settings

ANSWER_S: Final = 1.0
LASTS_NS: Final = 3_000_000_000
"""A courier that has been without its servers for so long is a problem; a restart is over sooner."""


class MountPlace(NamedTuple):
    """A mount of this project: its name is the origin's folder; `pid` where no supervisor runs it."""

    name: str
    path: str
    pid: int = 0


class Problem(NamedTuple):
    """What is wrong, and what to do; what is wrong may be another program's words, with any sign in them."""

    what: str
    remedy: str

    def __str__(self) -> str:
        """Return it as one sentence."""
        return f"{self.what}: {self.remedy}"


def gather(
    settings: Settings,
    version: str,
    supervisor: Supervisor,
    reader: Callable[[], LogReader],
    probes: Mapping[str, Callable[[], str]],
    watched: Watched,
) -> dict[str, Any]:
    """Return the status as its JSON shape (docs/reference/cli.md)."""
    states = supervisor.states()
    running = bool(states) or runs_elsewhere(settings)
    source = _opened(reader) if running else None
    give_up = time.monotonic() + ANSWER_S
    said = {place: Asked(_health_file(place)) for place in mount_places(settings)}
    heads = Asked(partial(_heads, source)) if source is not None else None
    found_alerts = Asked(lambda: alerts(settings.home, watched))
    bounded = together(probes, give_up)
    supervised = states or not running
    problems = [str(one) for one in process_problems(states, bounded)] if supervised else silent(bounded)
    logs = _positions(heads, give_up, problems) if heads is not None else {}
    told: list[Alert] = []
    silent_mounts: list[str] = []
    mounts = [_mount(settings, place, asked, give_up, silent_mounts, told) for place, asked in said.items()]
    problems += silent_mounts if running else []  # that nothing runs has been said
    for mount in mounts:
        problems += courier_problems(mount["name"], mount["courier"], time.time_ns())
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
        "alerts": [alert._asdict() for alert in (*(found_alerts.within(ANSWER_S) or ()), *told)],
        "problems": problems,
    }


def process_problems(states: Sequence[ProgramState], probes: Mapping[str, Callable[[], str]]) -> list[Problem]:
    """Return what is wrong with each program that does not serve."""
    if not states:
        return [Problem("nothing runs", "`weir up`")]
    problems = []
    for state in states:
        if state.state != "running":
            problems.append(Problem(f"{state.name} is {state.state}", f"`weir logs {state.name}`"))
        elif state.name in probes and (waits_for := probes[state.name]()):
            what = f"{state.name} does not serve yet, it {waits_for}"
            problems.append(Problem(what, f"`weir logs {state.name}`"))
    return problems


def together(probes: Mapping[str, Callable[[], str]], give_up: float) -> Mapping[str, Callable[[], str]]:
    """Ask all probes now; return probes that wait for those answers until `give_up` (monotonic)."""
    asked = {name: Asked(probe) for name, probe in probes.items()}

    def answer(name: str) -> str:
        words = asked[name].within(left_s(give_up))
        return "does not answer" if words is None else words

    return {name: partial(answer, name) for name in probes}


def left_s(give_up: float) -> float:
    """Return the seconds that are left, and a moment for what has answered already."""
    return max(give_up - time.monotonic(), 0.01)


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


def _health_file(place: MountPlace) -> Callable[[], bytes | None]:
    return partial(_bytes, Path(place.path) / "debug" / "health")


def _mount(
    settings: Settings,
    place: MountPlace,
    asked: Asked[bytes | None],
    give_up: float,
    silent_mounts: list[str],
    told: list[Alert],
) -> dict[str, Any]:
    folder = settings.mounts / place.name
    courier = read_object(folder / "courier.json")
    health = asked.within(left_s(give_up))
    if health is None:
        silent_mounts.append(f"mount {place.name} at {place.path} does not answer: `weir logs mount`, `weir doctor`")
    known = _object(health or b"")
    told += [*mount_alerts(place, known), *put_aside(Path(place.path))]
    return {
        "name": place.name,
        "path": place.path,
        "origin": _text(folder / "origin"),
        "applied_position": _first(known, "applied_position", "applied", "position"),
        "journal_bytes": sum(f.stat().st_size for f in (folder / "journal").glob("*.wj")) if folder.exists() else 0,
        "courier": courier,
    }


def courier_problems(name: str, courier: Mapping[str, Any], now_ns: int) -> list[str]:
    """Return why what a mount writes does not reach the store; nothing is lost, it waits in the journal."""
    found = []
    if courier.get("problem"):
        found.append(f"the courier of mount {name}: {courier['problem']}: `weir logs courier`")
    since_ns = courier.get("error_since_ns", 0)
    if courier.get("error") and since_ns and now_ns - since_ns > LASTS_NS:
        waits = f"{courier.get('pending_bytes', 0)} bytes wait in its journal"
        found.append(f"the courier of mount {name} cannot ship, {waits}: {courier['error']}: `weir doctor`")
    return found


def mount_alerts(place: MountPlace, health: Mapping[str, Any]) -> list[Alert]:
    """Return what a mount says of itself, but for courier and rule files, which have been asked themselves."""
    problems = health.get("problems", ())
    said = [one for one in problems if isinstance(one, str) and not one.startswith(("courier: ", "rules: "))]
    return [Alert("mount", f"{place.name}: {one}", f"see {place.path}/debug/health") for one in said]


def _opened(reader: Callable[[], LogReader]) -> LogReader | str:
    """Return what asks the store, or why it cannot: opened before the clock starts, since on a machine that is busy
    loading the driver alone takes longer than the answer may.
    """
    try:
        return reader()
    except WeirError as error:
        return str(error)


def _heads(source: LogReader | str) -> dict[str, Any] | str:
    """Return the logs' positions, or why there are none."""
    if isinstance(source, str):
        return source
    try:
        with closing(source):
            return {log: {"position": source.head(log).position} for log in ("files", "decisions")}
    except WeirError as error:
        return str(error)


def _positions(asked: Asked[dict[str, Any] | str], give_up: float, problems: list[str]) -> dict[str, Any]:
    heads = asked.within(left_s(give_up))
    if isinstance(heads, dict):
        return heads
    why = (heads or f"no answer in {ANSWER_S:g} s").rstrip("\n").replace("\n", " ")
    problems.append(f"the event store does not answer ({why}): `weir logs postgres`, `weir doctor`")
    return {}


def _flower(settings: Settings) -> dict[str, Any]:
    about = read_object(settings.run / "flower.json")
    url = about.get("url", "") if Path(f"/proc/{about.get('pid')}").exists() else ""
    return {"url": url, "user": about.get("user", ""), "password": _text(settings.secrets / "flower")}


def _gateway(settings: Settings) -> dict[str, Any]:
    about = read_object(settings.run / "gateway.json")
    return {"socket": str(settings.gateway_socket), "url": about.get("url", "")}


def read_within(path: Path, timeout_s: float) -> bytes | None:
    """Return a file's bytes; None if it is not there or does not answer in time (a hung mount)."""
    return Asked(partial(_bytes, path)).within(timeout_s)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


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
