"""One origin's folder: `mounts/<name>/` with journal, locks, spare incarnation and the courier's status.

    origin            32 hex digits, made once
    journal/          <incarnation:010d>-<segment:06d>.wj
    journal.lock      flock: the one process that appends
    courier.lock      flock: the one courier
    removal.lock      flock: whoever removes segments, or recovers from them
    spare.json        an incarnation that the store has given out and nobody has used
    courier.json      what the courier last said of itself
    asleep, doorbell  how an append wakes the courier (doorbell.py)

A spare is taken by removing the file first: a number that a crash loses is never used, none is used twice.
"""

import contextlib
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.core.errors import JournalForeign

_SEGMENT: Final = re.compile(r"(\d{10})-(\d{6})\.wj")


class SegmentFiles(NamedTuple):
    """One series of segments: `<prefix><segment:06d><suffix>` in `folder`, of one project and origin."""

    folder: Path
    prefix: str
    suffix: str
    project: str
    origin: str

    def path(self, segment: int) -> Path:
        """Return where a segment is."""
        return self.folder / f"{self.prefix}{segment:06d}{self.suffix}"

    def numbers(self) -> list[int]:
        """Return the segments on disk, ascending."""
        first, last = len(self.prefix), -len(self.suffix)
        return sorted(int(path.name[first:last]) for path in self.folder.glob(f"{self.prefix}*{self.suffix}"))

    def remove(self, segment: int) -> None:
        """Remove a segment; one that is gone already is no error."""
        self.path(segment).unlink(missing_ok=True)


class MountFolder:
    """Paths and small files of one origin. `name` is the folder's name and the origin's name in events."""

    def __init__(self, path: Path, project: str) -> None:
        self.path = path
        self.project = project
        self.name = path.name
        self.journal = path / "journal"
        self.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.origin = _made_once(path / "origin", uuid.uuid4().hex)
        if len(self.origin) != 32:
            raise JournalForeign(f"{path}/origin does not hold an origin")

    def files(self, incarnation: int) -> SegmentFiles:
        """Return the segments of an incarnation."""
        return SegmentFiles(self.journal, f"{incarnation:010d}-", ".wj", self.project, self.origin)

    def incarnations(self) -> list[int]:
        """Return the incarnations that have a segment on disk, ascending."""
        return sorted({int(m[1]) for path in self.journal.iterdir() if (m := _SEGMENT.fullmatch(path.name))})

    def bytes_on_disk(self) -> int:
        """Return the size of all segments."""
        total = 0
        with os.scandir(self.journal) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total

    def lock(self, name: str, *, wait: bool = False) -> int | None:
        """Take `<name>.lock` and return its descriptor (close it to release); None if another holds it."""
        return try_lock(self.path / f"{name}.lock", wait=wait)

    @contextlib.contextmanager
    def removal(self) -> Iterator[None]:
        """Hold removal.lock: no segment disappears under a recovery."""
        descriptor = self.lock("removal", wait=True)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def is_locked(self, name: str) -> bool:
        """Tell whether another descriptor holds `<name>.lock`."""
        descriptor = self.lock(name)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def take_spare(self) -> int | None:
        """Return an unused incarnation and forget it; None when there is none (the courier makes them)."""
        spare = self.spare()
        if not spare.get("incarnation"):
            return None
        (self.path / "spare.json").unlink()
        sync_folder(self.path)
        return int(spare["incarnation"])

    def spare(self) -> dict[str, Any]:
        """Return {"request_id", "incarnation"}: 0 while it is being asked for, {} when nobody asked."""
        return read_json(self.path / "spare.json")

    def keep_spare(self, request_id: str, incarnation: int) -> None:
        """Write down a question for an incarnation (0) or its answer."""
        write_json(self.path / "spare.json", {"request_id": request_id, "incarnation": incarnation})

    def status(self) -> dict[str, Any]:
        """Return what the courier last wrote, {} before the first time."""
        return read_json(self.path / "courier.json")

    def keep_status(self, status: dict[str, Any]) -> None:
        """Replace the courier's status at once."""
        write_json(self.path / "courier.json", status)


def try_lock(path: Path, *, wait: bool = False) -> int | None:
    """Take an flock and return its descriptor (closing it releases); None if another descriptor holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def read_json(path: Path) -> dict[str, Any]:
    """Return a small JSON object, {} where the file is absent or torn."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a small file at once (rename)."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(value))
    fresh.replace(path)


def sync_folder(path: Path) -> None:
    """Flush a folder's names to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made_once(path: Path, fresh_value: str) -> str:
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(fresh_value)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text().strip()
