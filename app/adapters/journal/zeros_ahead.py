"""Zeros written ahead of a journal that is flushed: an fdatasync over blocks that are there already writes no metadata
and waits for no commit of the file system's own journal, which also carries everybody else's (median 266 us became
142, p99 13 ms became 1.4).

Who never flushes pays nothing. Zeros are only ever written at or behind the end of the records, with the journal's
append lock held, in slices of 64 KiB (about 20 us). They go to disk before the records that will take their place do.
Where the disk has no room for them the journal simply grows as before.

Filling makes blocks and fills the disk's queue, so a flush beside it waits after all. **A thread fills while nobody has
flushed for QUIET_S, and goes on looking for KEEP_S after the last flush**: what others write uses zeros up too, and the
next flush has to find some. A burst that outlasts them fills by itself, STEP_BYTES with one of its flushes, so that one
in many pays for all.
"""

import contextlib
import os
import threading
import time
from typing import Final

from app.adapters.journal.segment import Segment

AHEAD_BYTES: Final = 8 * 1024 * 1024
ENOUGH_BYTES: Final = AHEAD_BYTES * 3 // 4
STEP_BYTES: Final = 512 * 1024
SLICE: Final = bytes(64 * 1024)
STILL_BYTES: Final = 128 * 1024
QUIET_S: Final = 0.02
KEEP_S: Final = 10.0


class ZerosAhead:
    """Keeps AHEAD_BYTES of zeros behind `segment` (which changes at a rotation) while it is flushed now and then."""

    def __init__(self, segment: Segment, append_lock: threading.Lock, segment_bytes: int) -> None:
        self.segment = segment
        self._append_lock = append_lock
        self._segment_bytes = segment_bytes
        self._flushed_s = float("-inf")
        self._seen_bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def flushing(self) -> None:
        """Tell of a flush that is about to begin; where one follows the other and no zeros are left, write some."""
        now_s = time.monotonic()
        follows, self._flushed_s = now_s - self._flushed_s < QUIET_S, now_s
        if follows and self.segment.filled <= self.segment.size:
            with contextlib.suppress(OSError):
                self._fill_step(self.segment)

    def flushed(self) -> None:
        """Tell that it is over."""
        self._flushed_s = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal-ahead", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    def stop(self) -> None:
        """End the thread; nothing is filled after it."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._wake.wait() and not self._stopping.wait(QUIET_S):
            if self._quiet_s() > KEEP_S:
                self._wake.clear()
            elif self._is_due():
                with contextlib.suppress(OSError):
                    self._fill()

    def _quiet_s(self) -> float:
        return time.monotonic() - self._flushed_s

    def _is_due(self) -> bool:
        segment, seen_bytes = self.segment, self._seen_bytes
        self._seen_bytes = segment.size
        # who writes much would write everything twice
        is_still = abs(segment.size - seen_bytes) <= STILL_BYTES
        return is_still and segment.filled - segment.size < ENOUGH_BYTES and self._quiet_s() >= QUIET_S

    def _fill(self) -> None:
        with self._append_lock:
            segment = self.segment
            # one of its own: a failure of the disk is told once to each, and the one that flushes must hear of it
            descriptor, end = os.open(segment.path, os.O_WRONLY | os.O_CLOEXEC), segment.size + AHEAD_BYTES
        try:
            while segment.filled < end and self._quiet_s() >= QUIET_S:
                if not self._fill_step(segment):
                    return
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _fill_step(self, segment: Segment) -> bool:
        """Write STEP_BYTES of zeros; False where there is no place for them in this segment."""
        for _ in range(STEP_BYTES // len(SLICE)):
            with self._append_lock:
                end = max(segment.filled, segment.size) + len(SLICE)
                if self._stopping.is_set() or segment is not self.segment or end > self._segment_bytes:
                    return False
                segment.fill(SLICE)
        return True
