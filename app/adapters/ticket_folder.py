"""A mount's tickets as files: ID while it waits, ID.approve or ID.block once it has an end, whose time is the file's.

Written by the mount, renamed by its courier: a kill of either leaves a ticket that waits or one that has ended.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.ports import EndedTicket

_ID: Final = re.compile(r"[0-9a-f]{32}")
APPROVED, DENIED = ".approve", ".block"
BYTES_MAX: Final = 64 * 1024


class TicketFolder:
    """See ports.TicketBox. The folder is made with its first ticket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, ticket: str, request: bytes) -> None:
        """See ports.TicketBox."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        fresh = self._folder / f"{ticket}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            whole = os.write(descriptor, request) == len(request)
        finally:
            os.close(descriptor)
        if not whole:
            fresh.unlink()
            raise OSError(f"{fresh}: written in part")
        fresh.rename(self._folder / ticket)

    def waiting(self) -> list[tuple[str, bytes]]:
        """See ports.TicketBox."""
        return [(path.name, found) for path in self._files("") if (found := _read(path)) is not None]

    def end(self, ticket: str, *, approved: bool) -> None:
        """See ports.TicketBox."""
        path = self._folder / ticket
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            path.rename(path.with_name(ticket + (APPROVED if approved else DENIED)))

    def ended(self) -> list[tuple[str, EndedTicket]]:
        """See ports.TicketBox."""
        found = []
        for path in (*self._files(APPROVED), *self._files(DENIED)):
            with contextlib.suppress(FileNotFoundError):
                at_s, request = path.stat().st_mtime, _read(path)
                if request is not None:
                    found.append((path.stem, EndedTicket(path.suffix == APPROVED, at_s, request)))
        return found

    def forget(self, ticket: str) -> None:
        """See ports.TicketBox."""
        for suffix in (APPROVED, DENIED):
            (self._folder / f"{ticket}{suffix}").unlink(missing_ok=True)

    def _files(self, suffix: str) -> Iterator[Path]:
        try:
            paths = sorted(self._folder.iterdir())
        except OSError:  # not there, or not a folder: then none can be opened either, and each refusal says so
            return
        for path in paths:
            if path.suffix == suffix and _ID.fullmatch(path.stem):
                yield path


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.read(descriptor, BYTES_MAX)
    finally:
        os.close(descriptor)
