"""What still works but needs a person: each with its remedy, gone when it is mended. Looked at anew each time."""

import glob
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import WeirError

DISK_MIN_BYTES: Final = 64 * 1024**2
SPOOL_MAX_BYTES: Final = 128 * 1024**2
DENIALS_MAX_BYTES: Final = 24 * 1024**2


class Alert(NamedTuple):
    """`name` is rules, project-rules, disk, spool, queue, mount or aside."""

    name: str
    detail: str
    remedy: str


class Watched(NamedTuple):
    """What is looked at: `rules` returns why the rule files do not load ('' when they do), `dropped` how many messages
    that nobody of ours sent were dropped from each queue, `project_rules` why the project's own file is not in force.
    """

    rules: Callable[[], str]
    dropped: Callable[[], Mapping[str, int]]
    project_rules: Callable[[], str]


def alerts(home: Path, watched: Watched) -> list[Alert]:
    """Return what is wrong now."""
    return [
        *_rules(watched),
        *_project_rules(watched),
        *_disk(home),
        *_spool(home / "spool"),
        *_denials(home / "mounts"),
        *_dropped(watched),
    ]


def put_aside(mount_point: Path) -> list[Alert]:
    """Return what was written into a mount's folder while nothing was mounted on it: it is kept, and in no history."""
    remedy = "copy into current what belongs there, then remove the folder"
    return [
        Alert("aside", f"{folder} was written while {mount_point} was not mounted: no event tells of it", remedy)
        for folder in sorted(mount_point.parent.glob(f"{glob.escape(mount_point.name)}.aside-*"))
    ]


def _rules(watched: Watched) -> list[Alert]:
    why = watched.rules()
    if not why:
        return []
    detail, _, remedy = why.rpartition("; ")
    detail = f"the last rules that loaded stay in force: {detail or why}"
    return [Alert("rules", detail, remedy or "mend the rule file")]


def _project_rules(watched: Watched) -> list[Alert]:
    why = watched.project_rules()
    if not why:
        return []
    detail, _, remedy = why.rpartition("; ")
    return [Alert("project-rules", f"the project's own rules are refused, whole: {detail or why}", remedy)]


def _disk(home: Path) -> list[Alert]:
    free = shutil.disk_usage(home).free
    if free >= DISK_MIN_BYTES:
        return []
    remedy = "free some space; what waits is shipped by itself then"
    return [Alert("disk", f"{free // 1024} KiB are free at {home}: writes and answers fail where it is full", remedy)]


def _spool(folder: Path) -> list[Alert]:
    waits = sum(path.stat().st_size for path in folder.glob("*.ws") if path.exists()) if folder.is_dir() else 0
    if waits < SPOOL_MAX_BYTES:
        return []
    remedy = "see whether the record worker and Postgres run (weir status); at 512 MiB every answer is a block"
    return [Alert("spool", f"{waits // 1024**2} MiB of decisions wait on disk to be recorded", remedy)]


def _denials(mounts: Path) -> list[Alert]:
    """What mounts refused by path rules, where it is not shipped: at its bound the newest are only counted."""
    found = []
    for folder in sorted(mounts.glob("*/denials")):
        waits = sum(path.stat().st_size for path in folder.glob("*.ws") if path.exists())
        if waits >= DENIALS_MAX_BYTES:
            detail = f"{waits // 1024**2} MiB of refusals of mount {folder.parent.name} wait on disk to be recorded"
            found.append(Alert("spool", detail, "see whether its courier and the record worker run (weir status)"))
    return found


def _dropped(watched: Watched) -> list[Alert]:
    try:
        dropped = watched.dropped()
    except WeirError:
        return []  # a problem already: Redis does not answer
    remedy = "see who else writes to this Redis (weir logs); told until an hour has passed without another"
    return [
        # who reaches Redis can write any name there
        Alert("queue", f"{count} messages in the queue {queue[:64]!a} were not ours and were dropped", remedy)
        for queue, count in sorted(dropped.items())
    ]
