"""A mount's folder as its courier sees it: ports.Journals over MountFolder, Doorbell and JournalReader."""

import os
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from app.adapters.journal.doorbell import Doorbell
from app.adapters.journal.folder import MountFolder
from app.adapters.journal.reader import JournalReader, zeros_at_end
from app.adapters.journal.zeros_ahead import AHEAD_BYTES
from app.core.errors import JournalCorrupt
from app.core.frames import FRAME_BYTES, read_header

_HEADER_BYTES = 64 * 1024
_NOTHING = bytes(FRAME_BYTES)


class FolderJournals:
    """See ports.Journals."""

    def __init__(self, folder: MountFolder) -> None:
        self.name = folder.name
        self.project = folder.project
        self.origin = folder.origin
        self._folder = folder
        self._bell = Doorbell(folder.path)
        self._courier_lock: int | None = None
        self._mute = False

    def hold_courier_lock(self) -> bool:
        """Become the one courier of the folder; False where there is one."""
        self._courier_lock = self._folder.lock("courier")
        return self._courier_lock is not None

    def incarnations(self) -> Sequence[int]:
        """See ports.Journals."""
        return self._folder.incarnations()

    def records(self, incarnation: int) -> JournalReader:
        """See ports.Journals."""
        return JournalReader(self._folder.files(incarnation))

    def recovered(self) -> AbstractSet[int]:
        """See ports.Journals."""
        return recovered_incarnations(self._folder)

    def is_written(self) -> bool:
        """See ports.Journals."""
        return self._folder.is_locked("journal")

    def remove_below(self, incarnation: int, segment: int) -> None:
        """See ports.Journals."""
        files = self._folder.files(incarnation)
        old = [number for number in files.numbers() if number < segment]
        if old:
            with self._folder.removal():
                for number in old:
                    files.remove(number)

    def remove_finished(self, incarnation: int) -> bool:
        """See ports.Journals. The newest incarnation goes only while nobody writes or recovers."""
        newest = max(self._folder.incarnations(), default=0) == incarnation
        held = self._folder.lock("journal") if newest else None
        if newest and held is None:
            return False
        try:
            self.remove_below(incarnation, sys.maxsize)
        finally:
            if held is not None:
                os.close(held)
        return True

    def pending_bytes(self, incarnation: int, segment: int, end: int) -> int:
        """See ports.Journals."""
        total = 0
        for later in self._folder.incarnations():
            files = self._folder.files(later)
            for number in files.numbers():
                if (later, number) >= (incarnation, segment):
                    done = end if (later, number) == (incarnation, segment) else 0
                    total += _bytes_behind(files.path(number), done)
        return total

    def spare(self) -> dict[str, Any]:
        """See ports.Journals."""
        return self._folder.spare()

    def keep_spare(self, request_id: str, incarnation: int) -> None:
        """See ports.Journals."""
        self._folder.keep_spare(request_id, incarnation)

    def keep_status(self, status: dict[str, Any]) -> None:
        """See ports.Journals."""
        try:
            self._folder.keep_status(status)
        except OSError as error:
            if not self._mute:
                print(f"alert: the courier's status cannot be written: {error.strerror}", file=sys.stderr, flush=True)
            self._mute = True
        else:
            self._mute = False

    def announce_sleep(self) -> None:
        """See ports.Journals."""
        self._bell.announce_sleep()

    def sleep(self, timeout_s: float) -> None:
        """See ports.Journals."""
        self._bell.sleep(timeout_s)

    def close(self) -> None:
        """Release the doorbell and the courier's place."""
        self._bell.close()
        if self._courier_lock is not None:
            os.close(self._courier_lock)


def recovered_incarnations(folder: MountFolder) -> set[int]:
    """Return the incarnations that a later journal on disk has recovered."""
    found: set[int] = set()
    for incarnation in folder.incarnations():
        files = folder.files(incarnation)
        for segment in files.numbers()[:1]:
            try:
                with files.path(segment).open("rb") as file:
                    header, _seed, _end = read_header(file.read(_HEADER_BYTES))
            except (JournalCorrupt, FileNotFoundError):
                continue
            found.update(header.recovers)
    return found


def _bytes_behind(path: Path, done: int) -> int:
    """Return how much of a segment is behind `done`, zeros at its end left out."""
    try:
        with path.open("rb") as file:
            descriptor, end = file.fileno(), os.fstat(file.fileno()).st_size
            if end <= done or os.pread(descriptor, FRAME_BYTES, done) == _NOTHING:  # 2 us instead of 1 ms for the zeros
                return 0
            return end - done - zeros_at_end(descriptor, max(done, end - AHEAD_BYTES * 2), end)
    except FileNotFoundError:
        return 0
