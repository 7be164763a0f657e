"""One fdatasync for all who wait (group commit) over the segments of one journal.

Who calls `wait` needs a flush that *starts* after the call: a running one does not count. The first waiter
that finds none running leads; the others sleep. A failed flush fails its leader and, since a page that the
kernel dropped never reports again, every later one.
"""

import os
import threading
from collections.abc import Sequence

from app.adapters.journal.folder import sync_folder
from app.adapters.journal.segment import Segment


class GroupCommit:
    """Flushes the followed segments; rotated ones are closed after their last flush, or without one where the courier
    has removed them: the store has what they hold, and while they are open the disk does not get their room back.
    """

    def __init__(self, segment: Segment) -> None:
        self._segments = [segment]
        self._new_names = False
        self._turn = threading.Condition()
        self._started = 0
        self._finished = 0
        self._running = False

    def follow(self, segment: Segment) -> None:
        """Add the segment that appends go to from now on."""
        with self._turn:
            if not self._running:
                self._close_removed()
            self._segments.append(segment)
            self._new_names = True

    def wait(self) -> None:
        """Return when everything appended before the call is on disk; raises JournalError."""
        with self._turn:
            mine = self._started + 1
            while self._finished < mine:
                if not self._running:
                    self._running = True
                    self._started += 1
                    break
                self._turn.wait()
            else:
                return
            segments, new_names = list(self._segments), self._new_names
            self._new_names = False
        self._lead(segments, new_names=new_names)

    def _lead(self, segments: Sequence[Segment], *, new_names: bool) -> None:
        done = False
        try:
            for segment in segments:
                segment.sync()
            if new_names:
                sync_folder(segments[0].path.parent)
            done = True
        finally:
            with self._turn:
                self._running = False
                if done:
                    self._finished = self._started
                    self._close_rotated(segments)
                self._new_names |= new_names and not done
                self._turn.notify_all()

    def _close_rotated(self, flushed: Sequence[Segment]) -> None:
        for segment in flushed[:-1]:
            segment.close()
            self._segments.remove(segment)

    def _close_removed(self) -> None:
        for segment in [one for one in self._segments[:-1] if not os.fstat(one.descriptor).st_nlink]:
            segment.close()
            self._segments.remove(segment)

    def close(self) -> None:
        """Close all segments without a flush."""
        with self._turn:
            while self._segments:
                self._segments.pop().close()
