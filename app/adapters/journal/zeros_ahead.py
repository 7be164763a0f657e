"""Zeros written ahead of a journal that is flushed: an fdatasync over blocks that are there already waits for no
commit of the file system's own journal, which also carries everybody else's (163-235 us became 100-125).

A thread, woken by a flush: who never flushes pays nothing. Zeros are only ever written at or behind the end of the
records, with the journal's append lock held, in slices of 64 KiB (about 20 us). They go to disk before the records
that will take their place do. Where the disk has no room for them the journal simply grows as before.

Filling makes blocks, so a flush beside it waits for that commit after all (1 MiB at a time: 11 times 3 ms in 2,400
fsyncs of 4 KiB). **It waits until nobody has flushed for 20 ms, unless little is left.**
"""

import contextlib
import os
import threading
import time
from typing import Final

from app.adapters.journal.segment import Segment

AHEAD_BYTES: Final = 4 * 1024 * 1024
LITTLE: Final = AHEAD_BYTES // 8
QUIET_S: Final = 0.02
LOOK_S: Final = 0.01
SLICE: Final = bytes(64 * 1024)


class ZerosAhead:
    """Keeps AHEAD_BYTES / 2 or more of zeros behind `segment` (which changes at a rotation) while it is flushed."""

    def __init__(self, segment: Segment, append_lock: threading.Lock, segment_bytes: int) -> None:
        self.segment = segment
        self._append_lock = append_lock
        self._segment_bytes = segment_bytes
        self._flushed_s = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def flushed(self) -> None:
        """Tell that somebody waits for flushes: fill up if little is left."""
        self._flushed_s = time.monotonic()
        segment = self.segment
        if segment.filled - segment.size < AHEAD_BYTES // 2 and segment.filled + AHEAD_BYTES <= self._segment_bytes:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal-ahead", daemon=True)
                self._thread.start()
            self._wake.set()

    def stop(self) -> None:
        """End the thread; nothing is filled after it."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            self._await_quiet()
            with contextlib.suppress(OSError):
                self._fill()

    def _await_quiet(self) -> None:
        segment = self.segment
        while not self._stopping and segment.filled - segment.size > LITTLE:
            left_s = self._flushed_s + QUIET_S - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, LOOK_S))

    def _fill(self) -> None:
        with self._append_lock:
            segment = self.segment
            # one of its own: a failure of the disk is told once to each, and the one that flushes must hear of it
            descriptor = os.open(segment.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for _ in range(AHEAD_BYTES // len(SLICE)):
                with self._append_lock:
                    if self._stopping or segment is not self.segment:
                        return
                    segment.fill(SLICE)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
