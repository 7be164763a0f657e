"""Ships the decision spools until the store says that it has them: weir.record, one batch of a spool out at a time.

A thread of the gateway. Re-sent with the same bytes after 3 s; the broker is never trusted to keep anything. Spools
of gateways that are dead are drained and removed; those of another living gateway are its own.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from app.core.errors import JournalError, PayloadRefused, Unavailable
from app.core.frames import Run
from app.core.messages import FORMAT, RecordBatch, RecordReply, decode, encode
from app.ports import ReplyBox, SpoolRecords, Spools, Tasks
from app.services.packing import pack

RECORD_QUEUE: Final = "record"
RECORDS_MAX: Final = 4000
BATCH_BYTES: Final = 2 * 1024 * 1024
RESEND_S: Final = 3.0
REPLY_POLL_S: Final = 0.05
IDLE_S: Final = 0.05
PACE_S: Final = 0.5
"""Fewer than RECORDS_MAX records are sent this seldom: a batch costs sender, worker and store milliseconds, however
small, on the cores that answer callers.
"""
YIELD_S: Final = 0.5
"""While callers crowd: 8,000 records a second; the rest waits on disk, up to a bound beyond which nothing yields."""
NONE_S: Final = 0.25
LOOK_S: Final = 2.0
BACKOFF_MAX_S: Final = 2.0


class SpoolShipper:
    """`start` the thread with the spool ids of this process; `stop` drains for at most `drain_s`."""

    def __init__(
        self,
        project: str,
        spools: Spools,
        tasks: Tasks,
        replies: ReplyBox,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        all_living: bool = False,
    ) -> None:
        """`all_living`: whoever writes them, all spools found are shipped from here, and nobody else does."""
        self.acked: dict[str, int] = {}
        self.error = ""
        self.problems: list[str] = []
        self._project = project
        self._spools = spools
        self._tasks = tasks
        self._replies = replies
        self._monotonic = monotonic
        self._all_living = all_living
        self._own: frozenset[str] = frozenset()
        self._lines: dict[str, SpoolLine] = {}
        self._looked_s: float | None = None
        self._yields: Callable[[], bool] = lambda: False
        self._died: Callable[[str], object] = lambda _: None
        self._stop = threading.Event()
        self._deadline_s = 0.0
        self._thread: threading.Thread | None = None

    def start(
        self,
        own: Sequence[str],
        yields: Callable[[], bool] = lambda: False,
        died: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Run in a thread; `own` are the spools that this process writes. While `yields` says so a batch goes out only
        every YIELD_S: reading, sending and storing share cores and interpreter with the answers. `died` hears of a
        thread that ended without a stop: from then on nothing would be recorded.
        """
        self._died = died
        self._own = frozenset(own)
        self._yields = yields
        self._thread = threading.Thread(target=self._watched, name="spool-shipper", daemon=True)
        self._thread.start()

    def stop(self, drain_s: float = 5.0) -> bool:
        """Ship what is left for at most `drain_s`, end the thread, return whether all was shipped."""
        self._deadline_s = self._monotonic() + drain_s
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return self.is_drained

    @property
    def is_drained(self) -> bool:
        """Tell whether everything that was on disk at the last look is acknowledged."""
        return all(line.is_drained for line in self._lines.values())

    def _watched(self) -> None:
        try:
            self.run()
        finally:
            if not self._stop.is_set():
                self._died("spool-shipper")

    def run(self) -> None:
        """Ship until `stop`."""
        backoff_s = IDLE_S
        while not self._stop.is_set() or (self._monotonic() < self._deadline_s and not self.is_drained):
            try:
                self.step()
                backoff_s = IDLE_S
            except Unavailable as error:
                self.error = str(error)
                self._stop.wait(backoff_s) if not self._stop.is_set() else time.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    def step(self) -> None:
        """Read, send what is due, and take replies; waits briefly."""
        now_s = self._monotonic()
        self._look(now_s)
        full_s, pace_s = (0.0, 0.0) if self._stop.is_set() else (YIELD_S if self._yields() else 0.0, PACE_S)
        for line in self._lines.values():
            line.send_due(self._tasks, now_s, full_s=full_s, pace_s=pace_s)
        if any(line.is_out for line in self._lines.values()):
            self._take(self._replies.wait(REPLY_POLL_S))
        else:
            self._leave_drained()
            self._stop.wait(IDLE_S if self._lines else NONE_S)

    def _look(self, now_s: float) -> None:
        """Find spools; those of living gateways other than this one are not touched."""
        if self._looked_s is None or now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            for spool in self._spools.spools():
                if spool not in self._lines and (self._all_living or self._is_ours(spool)):
                    records = self._spools.open(spool)
                    self._lines[spool] = SpoolLine(self._project, spool, self._replies.address, records)
        for spool, line in list(self._lines.items()):
            # asked before the last read
            line.is_whole = spool not in self._own and line.is_drained and not self._spools.is_alive(spool)
            try:
                line.fill()
            except JournalError as error:
                self.problems.append(f"spool {spool}: {error}")
                line.close()
                self._lines[spool] = StuckLine(self._project, spool, self._replies.address, line.records)

    def _is_ours(self, spool: str) -> bool:
        return spool in self._own or not self._spools.is_alive(spool)

    def _take(self, raw: bytes | None) -> None:
        if raw is None:
            return
        try:
            reply = decode(RecordReply, raw)
        except PayloadRefused as error:
            self.error = str(error)
            return
        line = self._lines.get(reply.spool)
        if line is not None:
            self.error = line.take(reply)
            self.acked[reply.spool] = line.acked

    def _leave_drained(self) -> None:
        for spool, line in list(self._lines.items()):
            if spool not in self._own and line.is_drained and line.is_whole and not isinstance(line, StuckLine):
                line.close()
                self._spools.forget(spool)
                del self._lines[spool]


class SpoolLine:
    """One spool on its way out; keeps what is read until it is acknowledged."""

    def __init__(self, project: str, spool: str, reply_to: str, records: SpoolRecords) -> None:
        self.acked = 0
        self.is_whole = False
        self.records = records
        self._project = project
        self._spool = spool
        self._reply_to = reply_to
        self._waiting: deque[Run] = deque()
        self._held = 0
        self._payload = b""
        self._batch_id = ""
        self._last = 0
        self._sent_s: float | None = None
        self._drafted_s = -PACE_S

    @property
    def is_out(self) -> bool:
        """Tell whether a batch awaits its answer."""
        return bool(self._batch_id)

    @property
    def is_drained(self) -> bool:
        """Tell whether all that was read is acknowledged."""
        return not self._waiting

    def fill(self) -> None:
        """Read what came, if less than two batches wait."""
        if self._held < 2 * RECORDS_MAX:
            for run in self.records.poll():
                self._waiting.append(run)
                self._held += len(run.bodies)

    def send_due(self, tasks: Tasks, now_s: float, *, full_s: float = 0.0, pace_s: float = 0.0) -> None:
        """Send the next batch, `pace_s` after the last (`full_s` if it is a full one), or the one that is out again
        after RESEND_S. Raises BrokerUnavailable.
        """
        if not self._batch_id and self._waiting:
            wait_s = full_s if self._held >= RECORDS_MAX else pace_s
            if now_s >= self._drafted_s + wait_s:
                self._draft()
                self._drafted_s = now_s
        if self._batch_id and (self._sent_s is None or now_s - self._sent_s >= RESEND_S):
            tasks.send("weir.record", self._payload, RECORD_QUEUE)
            self._sent_s = now_s

    def take(self, reply: RecordReply) -> str:
        """Fold an answer; return what is wrong, '' for nothing."""
        if reply.error and reply.batch_id != self._batch_id:
            return ""
        self.acked = max(self.acked, reply.acked)
        while self._waiting and self._waiting[0].first <= self.acked:
            self._settle(self._waiting.popleft())
        self.records.acknowledge(self.acked)
        if self._batch_id and self.acked >= self._last:
            self._batch_id, self._sent_s = "", None
        return f"spool {self._spool}: the store says {reply.error}" if reply.error else ""

    def close(self) -> None:
        """Close the files."""
        self.records.close()

    def _settle(self, run: Run) -> None:
        """Leave what the store has of a run; what it has not goes back to the front."""
        known = min(self.acked - run.first + 1, len(run.bodies))
        self._held -= known
        rest = run.bodies[known:]
        if rest:
            self._waiting.appendleft(Run(run.first + known, rest, sum(map(len, rest))))

    def _draft(self) -> None:
        chosen: list[bytes] = []
        size = 0
        for run in self._waiting:
            if chosen and (len(chosen) + len(run.bodies) > RECORDS_MAX or size + run.size_bytes > BATCH_BYTES):
                break
            chosen += run.bodies
            size += run.size_bytes
        first = self._waiting[0].first
        self._last = first + len(chosen) - 1
        self._batch_id = uuid.uuid4().hex
        batch = RecordBatch(FORMAT, self._project, self._spool, self._batch_id, self._reply_to, first, tuple(chosen))
        self._payload = pack(encode(batch))


class StuckLine(SpoolLine):
    """A spool that cannot be read further: its files are kept for a person."""

    def fill(self) -> None:
        """Nothing more comes."""
