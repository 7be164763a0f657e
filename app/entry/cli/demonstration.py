"""What a first `weir up` shows: one approved call, one blocked call, one write and its event's position."""

import os
import time
from contextlib import closing
from typing import Any, Final, NamedTuple

from app import bootstrap
from app.core.errors import SetupError, WeirError
from app.ports import EventFilter, FileEventReader
from config.settings import Settings

AGENT: Final = "weir-up"
FILE: Final = "hello-from-weir.txt"
EVENT_WAIT_S: Final = 15.0


class Shown(NamedTuple):
    """The three things shown, as JSON objects."""

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
        return _write_and_read(settings, reader)


def _write_and_read(settings: Settings, reader: FileEventReader) -> dict[str, Any]:
    before = reader.head().position
    place = settings.mount_point / "current" / FILE
    place.write_text(f"Written by `weir up` (process {os.getpid()}); `weir log {FILE}` knows more.\n")
    give_up = time.monotonic() + EVENT_WAIT_S
    while (event := _newest(reader, before)) is None:
        if time.monotonic() > give_up:
            raise SetupError(f"the write of {place} did not become an event in {EVENT_WAIT_S:g} s: `weir logs courier`")
        time.sleep(0.03)
    return event


def _newest(reader: FileEventReader, after: int) -> dict[str, Any] | None:
    wanted = EventFilter(path=FILE.encode(), after=after, limit=10)
    try:
        found = [event for event in reader.log(wanted) if event.kind == "write"]
    except WeirError:
        return None
    if not found:
        return None
    event = found[0]
    return {"position": event.position, "kind": event.kind, "path": os.fsdecode(event.path), "task_id": event.task_id}
