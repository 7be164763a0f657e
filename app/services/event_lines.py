"""Events as the JSON objects that people and scripts read: `weir log --json`, streams/."""

import base64
import datetime as dt
from typing import Any

import msgspec

from app.ports import LoggedDecision, LoggedEvent

Entry = LoggedEvent | LoggedDecision


def as_object(entry: Entry) -> dict[str, Any]:
    """Return the JSON form of an event: names that are not UTF-8 come as `path_b64` besides a readable `path`."""
    known = entry._asdict() if isinstance(entry, LoggedEvent) else _decision_fields(entry)
    shown: dict[str, Any] = {}
    for name, value in known.items():
        if name == "at_ns":
            shown["at"] = show_time(value)
        elif isinstance(value, bytes):
            shown |= _readable(name, value)
        else:
            shown[name] = value
    return shown


def show_time(at_ns: int) -> str:
    """Return a wall-clock time with milliseconds and zone, as JSON and people read it."""
    at = dt.datetime.fromtimestamp(at_ns / 1e9, tz=dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _decision_fields(entry: LoggedDecision) -> dict[str, Any]:
    record = msgspec.structs.asdict(entry.record)
    place = {"log": "decisions", "position": entry.position, "leaf": entry.leaf, "kind": "decision"}
    return place | record | {"task_id": entry.task_id, "spool": entry.spool}


def _readable(name: str, value: bytes) -> dict[str, str]:
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {name: value.decode(errors="replace"), f"{name}_b64": base64.b64encode(value).decode()}
