"""One append-only file of frames, as journal and spool write it.

An append is one pwritev. One that the disk takes only in part is cut back to the last whole record, so that
a failed call leaves nothing behind; where even the cut fails the segment refuses everything after.
Behind the records there may be zeros (zeros_ahead.py), which no record begins with: they are a clean end.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.core.errors import JournalError, JournalFull
from app.core.frames import JournalHeader, encode_header

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
Buffer = bytes | bytearray | memoryview


class Segment:
    """An open segment. `size` counts whole records only; `seed` goes into their checksums; `filled` counts the zeros
    behind them too.
    """

    __slots__ = ("_broken", "_lost", "_synced", "descriptor", "filled", "path", "seed", "size")

    def __init__(self, path: Path, descriptor: int, seed: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.seed = seed
        self.size = 0
        self.filled = 0
        self._synced = 0
        self._broken = False
        self._lost = False

    @classmethod
    def create(cls, path: Path, header: JournalHeader) -> "Segment":
        """Create the file with its header; raises JournalFull, and FileExistsError for a name in use."""
        data, seed = encode_header(header)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise translated(error) from error
        segment = cls(path, descriptor, seed)
        try:
            segment.append((data,), len(data))
        except JournalError:
            path.unlink()
            segment.close()
            raise
        return segment

    def append(self, parts: Sequence[Buffer], total: int) -> None:
        """Write `parts` (`total` bytes) behind the last record, all or nothing."""
        if self._broken:
            raise JournalFull(f"{self.path.name} could not be cut back after a failed append")
        try:
            written = os.pwritev(self.descriptor, parts, self.size)
        except OSError as error:
            self._cut_back()
            raise translated(error) from error
        if written != total:
            self._cut_back()
            raise JournalFull(f"the disk took {written} of {total} bytes")
        self.size += total

    def fill(self, zeros: bytes) -> None:
        """Write `zeros` behind the records and the zeros that are there; raises OSError. Not while an append runs."""
        start = max(self.filled, self.size)
        self.filled = start + os.pwrite(self.descriptor, zeros, start)

    def trim(self) -> None:
        """Cut the zeros off: nothing more is appended."""
        if self.filled > self.size:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            self.filled = 0

    def sync(self) -> None:
        """Flush to disk; raises JournalError where the disk refuses, and ever after."""
        if self._lost:
            raise JournalError(f"{self.path.name}: an earlier flush failed")
        covers = self.size
        if covers == self._synced:
            return
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self._broken = self._lost = True
            raise translated(error) from error
        self._synced = covers

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.size)
            self.filled = 0
        except OSError:
            self._broken = True


def translated(error: OSError) -> JournalError:
    """Return the error of the one tree for an OSError of the disk."""
    text = f"{os.strerror(error.errno or 0)}: {error.filename or 'journal'}"
    return JournalFull(text) if error.errno in _FULL else JournalError(text)
