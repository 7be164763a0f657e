"""What a first `weir up` shows: one approved call, one blocked call, one write and its event's position."""

import contextlib
import errno
import os
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from app import bootstrap
from app.core.errors import SetupError, WeirError
from app.core.ids import LOCAL
from app.ports import EventFilter, FileEventReader, LoggedEvent
from config.settings import Settings

AGENT: Final = "weir-up"
FILE: Final = "hello-from-weir.txt"
OPENING: Final = b"Written by `weir up`"
NAMES_MAX: Final = 9
EVENT_WAIT_S: Final = 15.0


class Shown(NamedTuple):
    """The three things shown, as JSON objects; `event` may say why there is none: `skipped`."""

    approved: dict[str, Any]
    blocked: dict[str, Any]
    event: dict[str, Any]


def demonstrate(settings: Settings) -> Shown:
    """Show both flows; raises SetupError where one does not work."""
    approved = _validate(settings, "ls -la", "approve")
    blocked = _validate(settings, "rm -rf /", "block")
    return Shown(approved, blocked, _write(settings))


def _validate(settings: Settings, command: str, expected: str) -> dict[str, Any]:
    call = {"tool": "Bash", "input": {"command": command}, "agent": AGENT, "cwd": str(settings.mount_point / "current")}
    answer = bootstrap.ask_gateway(settings, "/v1/validate", call)
    if answer.get("verdict") != expected:
        raise SetupError(f"`{command}` was expected to be answered with {expected}, not {answer}")
    return {"command": command, **answer}


def _write(settings: Settings) -> dict[str, Any]:
    with closing(bootstrap.file_event_reader(settings)) as reader:
        return show_write(settings.mount_point / "current", reader)


def show_write(current: Path, reader: FileEventReader, wait_s: float = EVENT_WAIT_S) -> dict[str, Any]:
    """Write a file of our own and return its event; where rules or `.weirignore` leave none, that is said instead.

    Raises SetupError where there should be one and none comes.
    """
    before = reader.head().position
    try:
        name = written(current)
        if is_ephemeral(current / name):
            return {"skipped": f"{name} makes no event: .weirignore names it, or did when it was made"}
    except OSError as error:
        return {"skipped": f"no file could be written in {current} ({error.strerror})"}
    give_up = time.monotonic() + wait_s
    while (event := _newest(reader, before, name)) is None:
        if time.monotonic() > give_up:
            raise SetupError(f"the write of {name} was no event after {wait_s:g} s: `weir logs courier`")
        time.sleep(0.03)
    if event.outcome == "rejected":
        return {"skipped": f"a rule took the write of {name} back: see {current.parent / 'debug' / 'last-denial'}"}
    return {"position": event.position, "kind": event.kind, "path": name, "task_id": event.task_id}


def is_ephemeral(path: Path) -> bool:
    """Tell whether a file on a mount has no history. That was decided when it was made; its number says so."""
    return path.lstat().st_ino >= LOCAL


def written(current: Path) -> str:
    """Write a file that nobody else made, and return its name: never through a link, never over somebody's own."""
    for number in range(1, NAMES_MAX + 1):
        name = FILE if number == 1 else f"{number}-{FILE}"
        mode = "w" if _is_ours(current / name) else "x"
        with contextlib.suppress(FileExistsError), open(current / name, mode, opener=_opened, encoding="utf-8") as file:
            file.write(f"Written by `weir up` (process {os.getpid()}); `weir log {name}` knows more.\n")
            return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(current / FILE))


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _is_ours(path: Path) -> bool:
    try:
        with open(path, "rb", opener=_opened) as file:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(len(OPENING)) == OPENING
    except OSError:
        return False


def _newest(reader: FileEventReader, after: int, name: str) -> LoggedEvent | None:
    wanted = EventFilter(path=name.encode(), after=after, limit=10)
    try:
        return next((event for event in reader.log(wanted) if event.kind == "write"), None)
    except WeirError:
        return None
