"""`weir up` and `weir down`: the stack under its supervisor, shown while it comes and goes."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app import bootstrap
from app.core.errors import RequestInvalid, SetupError
from app.entry.cli.control import refuse_agents
from app.entry.cli.demonstration import Shown, demonstrate
from app.entry.cli.logs import tail
from app.entry.cli.progress import ProgressBoard
from app.services import stack
from app.services.doctor import missing_for_mounts
from app.services.status import runs_elsewhere
from config import settings as weir_settings
from config.settings import Settings

_TAIL_LINES: Final = 15
ENDING_S: Final = 15.0
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("down")(down)


def up(
    *,
    as_json: Json = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait until all is ready.")] = 90.0,
) -> None:
    """Start everything, mount the project, show both flows. Changes nothing where it runs already."""
    refuse_agents("up")
    settings = weir_settings.load()
    _refuse_second(settings)
    _refuse_without_fuse()
    log_starts = {path.stem: path.stat().st_size for path in settings.logs.glob("*.log")}
    with ProgressBoard(quiet=as_json) as board:
        fresh = _started(settings, log_starts, board, timeout_s)
        shown = demonstrate(settings) if fresh else None
        elapsed_s = board.elapsed_s
    if as_json:
        print(json.dumps(_as_json(settings, shown, elapsed_s, fresh=fresh)))
    else:
        _print(settings, shown, elapsed_s)


def _refuse_second(settings: Settings) -> None:
    """Raise RequestInvalid where this home's programs run without the supervisor; wait for those that are ending."""
    give_up = time.monotonic() + ENDING_S
    while runs_elsewhere(settings) and not bootstrap.supervisor(settings).alive():
        if time.monotonic() > give_up:
            raise RequestInvalid(f"programs of {settings.home} run outside `weir up` (honcho start?): end those first")
        time.sleep(0.1)


def _refuse_without_fuse() -> None:
    """Raise SetupError with the one line that is needed, before anything is started."""
    for finding in missing_for_mounts():
        raise SetupError(f"{finding.name}: {finding.detail}; nothing was started. Needed once: {finding.remedy}")


def _started(settings: Settings, log_starts: dict[str, int], board: ProgressBoard, timeout_s: float) -> bool:
    try:
        return stack.bring_up(
            bootstrap.supervisor(settings),
            bootstrap.programs(),
            lambda fresh: bootstrap.probes(settings, log_starts if fresh else None),
            board.show,
            timeout_s,
        )
    except stack.StartFailed as failure:
        print(f"--- {failure.log}", *tail(Path(failure.log), _TAIL_LINES), sep="\n", file=sys.stderr)
        raise SetupError(f"{failure}; its log: {failure.log}; `weir doctor` looks for the cause") from failure


def _as_json(settings: Settings, shown: Shown | None, elapsed_s: float, *, fresh: bool) -> dict[str, Any]:
    return {
        "ready": True,
        "started": fresh,
        "elapsed_s": round(elapsed_s, 2),
        "mount": str(settings.mount_point / "current"),
        "demonstration": shown._asdict() if shown else None,
    }


def _print(settings: Settings, shown: Shown | None, elapsed_s: float) -> None:
    print(f"Weir is up ({elapsed_s:.1f} s)." if shown else f"Weir is up already, nothing changed ({elapsed_s:.1f} s).")
    if shown:
        print(f"  approved  {_decision(shown.approved)}")
        print(f"  blocked   {_decision(shown.blocked)}")
        print(f"  event     {_event(shown.event)}")
    print(f"  project   {settings.mount_point / 'current'}")
    flower = settings.run / "flower.json"
    if flower.exists():
        print(f"  Flower    {json.loads(flower.read_text())['url']} (user and password: weir status)")
    print("  next      weir status, weir log --follow, weir validate -- ls; make down stops everything")


def _event(event: dict[str, Any]) -> str:
    if "skipped" in event:
        return f"none shown: {event['skipped']}"
    return f"position {event['position']}: {event['kind']} {event['path']} (task {event['task_id']})"


def _decision(answer: dict[str, Any]) -> str:
    rules = ", ".join(f"{rule['id']} ({Path(rule['file']).name}:{rule['line']})" for rule in answer["rules"])
    remedy = f" Instead: {answer['remedy']}" if answer.get("remedy") and answer["verdict"] != "approve" else ""
    return f"{answer['command']:<10} by {rules or answer['layer']}: {answer['reason']}{remedy}"


def down(*, as_json: Json = False) -> None:
    """Drain, unmount and stop everything. The last started is stopped first."""
    refuse_agents("down")
    settings = weir_settings.load()
    supervisor = bootstrap.supervisor(settings)
    running, mounts = supervisor.alive(), set(bootstrap.mounted(settings))
    killed: list[str] = []
    with ProgressBoard(quiet=as_json) as board:
        if running:
            killed = stack.take_down(supervisor, board.say)
        left = _end_left(settings, board)
        killed += [name for name, was_killed in left.items() if was_killed and name not in killed]
        bootstrap.unmount_leftovers(settings)
        unmounted = sorted(mounts - set(bootstrap.mounted(settings)))
        elapsed_s = board.elapsed_s
    if as_json:
        words = {"stopped": running, "killed": killed, "unmounted": unmounted, "elapsed_s": round(elapsed_s, 2)}
        print(json.dumps(words))
    elif running or unmounted or left:
        print(f"Weir is down ({elapsed_s:.1f} s).")
    else:
        print("Nothing was running.")


def _end_left(settings: Settings, board: ProgressBoard) -> dict[str, bool]:
    """End servers that run on without the program that started them: it was killed, and they were frozen."""
    left = bootstrap.end_left_servers(settings)
    for name, was_killed in left.items():
        board.say(name, f"its server ran on by itself, and {'was killed' if was_killed else 'has ended now'}")
    return left
