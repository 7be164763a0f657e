"""The courier: ships a folder's journals to the store, in order, until the store says that it has them.

One thread, nothing shared. What arrives while a batch is out makes the next one; there is no timer. At most one
batch is out. Incarnations go in ascending order, each drained before the next. Where a server is away it tries
again for ever; the journal is the only memory: a courier that is killed begins again from it.

    state   idle | draining | waiting (a server is away; `error` says which) | stopped (`problem` says why)
"""

import time
import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from app.core.errors import JournalError, PayloadRefused, Unavailable
from app.core.messages import ChunkReply, IncarnationReply, PersistReply, decode
from app.ports import ChunkCache, FileEventReader, Journals, ReplyBox, Tasks
from app.services.courier_status import Status
from app.services.draining import IncarnationDrain
from app.services.predecessors import Predecessors
from app.services.sealing import PlainChunks, Sealer
from app.services.shipment import Draft, Sender, Shipment
from app.services.spares import SpareKeeper

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0
STALL_S: Final = 5.0
SILENT_S: Final = 10.0
"""Three sendings without a reply: a person is told."""
REPLY_POLL_S: Final = 0.02
IDLE_S: Final = 0.5
GONE_S: Final = 3.0
"""Where all stop at once (Ctrl-C under honcho, which kills after 5 s) the servers do not come back."""


class Ports(NamedTuple):
    """What a courier works with; `release` closes all of it."""

    journals: Journals
    tasks: Tasks
    replies: ReplyBox
    reader: FileEventReader
    cache: ChunkCache
    compresses: bool = True
    release: Callable[[], None] = lambda: None


class Courier:
    """See the module. `run` until told to stop; `step` is one turn of it."""

    def __init__(self, ports: Ports, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ports = ports
        self._journals = ports.journals
        self._monotonic = monotonic
        self._plain = PlainChunks(ports.cache, ports.reader)
        self._before = Predecessors()
        self._sender = Sender(
            ports.journals.project, ports.journals.origin, ports.journals.name, ports.replies.address, ports.tasks,
            ports.compresses,
        )  # fmt: skip
        self._drain: IncarnationDrain | None = None
        self._draft = Draft()
        self._out: Shipment | None = None
        self._heard_s = 0.0
        self._done: set[int] = set()
        self._spare = SpareKeeper(self._sender, ports.journals)
        self._backoff_s = BACKOFF_FIRST_S
        self._hold_until_s = 0.0
        self._abandoned = False
        self.status = Status(ports.journals.name, ports.journals.origin)

    def run(
        self,
        should_stop: Callable[[], bool],
        *,
        exit_when_drained: Callable[[], bool] = lambda: False,
        drain_s: float = 20.0,
    ) -> bool:
        """Ship until told to stop, then for at most `drain_s` more, or until a server was away for GONE_S on end;
        return whether all was shipped.

        While `exit_when_drained` says so it also ends as soon as nobody writes the journal and all of it is shipped.
        """
        deadline_s: float | None = None
        gone_s = float("inf")
        while not self._abandoned:
            if deadline_s is None and should_stop():
                deadline_s = self._monotonic() + drain_s
            # asked before the step: only what was appended before it counts as looked at
            leave = deadline_s is not None or (exit_when_drained() and not self._journals.is_written())
            self.step()
            if leave and (self.status.state == "stopped" or self.is_drained):
                break
            now_s = self._monotonic()
            gone_s = now_s if self.status.state != "waiting" or deadline_s is None else min(gone_s, now_s)
            if deadline_s is not None and (now_s >= deadline_s or now_s - gone_s >= GONE_S):
                break
        drained = self.is_drained
        if drained and self._drain is not None:
            self._leave_if_finished(self._drain)
        self._keep_status(force=True)
        return drained

    @property
    def is_drained(self) -> bool:
        """Tell whether everything numbered that all journals held when the last step began is acknowledged."""
        if self._out is not None or self._draft.items:
            return False
        waiting, drain = self._undone(), self._drain
        return not waiting or (drain is not None and waiting == [drain.incarnation] and drain.is_drained)

    @property
    def acked(self) -> int:
        """Highest acknowledged sequence of the incarnation that is being drained, or was last."""
        return self.status.acked

    def abandon(self) -> None:
        """Make `run` end at its next turn; the rest is shipped by the next courier."""
        self._abandoned = True

    def close(self) -> None:
        """Release servers and locks; the journal is left as it is."""
        if self._drain is not None:
            self._drain.close()
        self._ports.release()

    def step(self) -> None:
        """Do what can be done now, then wait briefly for a reply or an append."""
        try:
            self._turn()
            self._backoff_s = BACKOFF_FIRST_S
        except Unavailable as error:
            self.status.waits(str(error))
            self._keep_status()
            self._journals.sleep(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)
        except OSError as error:  # such as a full disk: what the journal holds can wait until there is room
            self.status.waits(f"disk: {error.strerror or error}")
            self._keep_status()
            self._journals.sleep(BACKOFF_MAX_S)
        except JournalError as error:
            self.status.stops(f"journal: {error}")
            self._keep_status(force=True)
        else:
            self._keep_status()

    def _turn(self) -> None:
        now_s = self._monotonic()
        if self._drain is not None:
            self._drain.look_again()
        self._spare.ask_if_due(now_s)
        if self.status.state == "stopped":
            self._receive(IDLE_S)
            return
        if self._drain is None:
            for incarnation in self._undone()[:1]:
                self._begin(incarnation)
        if self._drain is not None:
            self._drain.fill(self._draft)
            self._leave_if_finished(self._drain)
        self._launch()
        if self._out is not None and now_s >= self._hold_until_s:
            self._out.send_due(self._monotonic())
            if now_s - self._heard_s > SILENT_S:
                self.status.unanswered(SILENT_S)
        self._wait()

    def _wait(self) -> None:
        if self._out is not None or self._spare.is_out:
            self._receive(IDLE_S if self._draft.is_full else REPLY_POLL_S)
            return
        self.status.idles()
        self._journals.announce_sleep()
        if not self._has_more():
            self._journals.sleep(IDLE_S)

    def _has_more(self) -> bool:
        if self._drain is None:
            return bool(self._undone())
        self._drain.fill(self._draft)
        return bool(self._draft.items)

    def _undone(self) -> list[int]:
        return [i for i in self._journals.incarnations() if i not in self._done]

    def _leave_if_finished(self, drain: IncarnationDrain) -> None:
        """Go on to the next incarnation when this one is drained and nothing is appended to it any more."""
        if drain.is_drained and self._out is None and not self._draft.items:
            is_last = self._undone()[-1:] == [drain.incarnation]
            if not is_last or not self._journals.is_written():
                self._leave(drain, is_last=is_last)

    def _begin(self, incarnation: int) -> None:
        acked = self._ports.reader.last_sequence(incarnation)
        sealer = Sealer(self._journals.project, incarnation, self._plain, self._ports.reader, self._before)
        self._drain = IncarnationDrain(self._journals, incarnation, acked, sealer)
        self.status.begins(incarnation, acked)

    def _leave(self, drain: IncarnationDrain, *, is_last: bool) -> None:
        drain.fill(self._draft)  # appended between the last look and the writer's end
        if self._draft.items or not drain.is_drained:
            return
        drain.finish()
        self.status.damage = [tuple(damage) for damage in drain.records.damage]
        removed = drain.remove_finished(recovered=drain.incarnation in self._journals.recovered())
        if removed or not is_last:
            if not removed:
                self._done.add(drain.incarnation)
            drain.close()
            self._drain = None

    def _launch(self) -> None:
        drain = self._drain
        if self._out is None and self._draft.items and drain is not None:
            batch_id = f"p:{uuid.uuid4().hex}"
            self._out = Shipment(self._sender, drain.incarnation, batch_id, self._draft.items, self._before)
            self._draft, self._heard_s = Draft(), self._monotonic()
            self.status.drains()

    def _receive(self, timeout_s: float) -> None:
        raw = self._ports.replies.wait(timeout_s)
        while raw is not None:
            self._heard_s = self._monotonic()
            try:
                self._take(raw)
            except PayloadRefused as error:
                self.status.error = f"a reply was refused: {error}"
            raw = self._ports.replies.wait(0) if self._out is None else None

    def _take(self, raw: bytes) -> None:
        match _id_of(raw)[:2]:
            case "p:":
                self._take_persist(decode(PersistReply, raw))
            case "c:":
                if self._out is not None:
                    self._out.stored(decode(ChunkReply, raw))
            case "i:":
                self._spare.take(decode(IncarnationReply, raw))
            case _:
                raise PayloadRefused("not an answer to anything sent from here")

    def _take_persist(self, reply: PersistReply) -> None:
        drain, out = self._drain, self._out
        if drain is None or reply.incarnation != drain.incarnation:
            return
        if reply.error:
            if out is not None and reply.batch_id == out.batch_id:
                self._take_error(drain, out, reply)
            return
        drain.acknowledge(reply.acked)
        self.status.acknowledges(drain.acked, reply)
        if out is None:
            return
        if drain.acked >= out.last:
            self._out = None
            drain.remove_acknowledged()
        elif reply.missing and reply.batch_id == out.batch_id:
            out.want(reply.missing, self._plain.get(out.unknown(reply.missing)))

    def _take_error(self, drain: IncarnationDrain, out: Shipment, reply: PersistReply) -> None:
        match reply.error:
            case "gap" if reply.acked < out.first - 1:
                self._rewind(drain, reply.acked)
            case "digest-mismatch":
                self.status.stops(
                    f"incarnation {drain.incarnation}: the store holds other bytes under sequences "
                    f"{out.first}..{out.last}; nothing more is shipped, the journal is kept"
                )
            case error:
                self.status.waits(f"the store refuses incarnation {drain.incarnation}: {error}")
                self._hold_until_s = self._monotonic() + STALL_S
                out.again()

    def _rewind(self, drain: IncarnationDrain, acked: int) -> None:
        """The store has less than it said (a restored backup): read the journal again from there if it can."""
        drain.close()
        self._out, self._draft, self._drain = None, Draft(), None
        sealer = Sealer(self._journals.project, drain.incarnation, self._plain, self._ports.reader, self._before)
        fresh = IncarnationDrain(self._journals, drain.incarnation, acked, sealer)
        if fresh.begins_above(acked):
            fresh.close()
            self.status.stops(
                f"incarnation {drain.incarnation}: the store ends at sequence {acked}, before this "
                "journal begins: the store was restored from an older backup; the journal is kept"
            )
            return
        self.status.problem = f"incarnation {drain.incarnation}: the store fell back to {acked}; shipping again"
        self._drain = fresh

    def _keep_status(self, *, force: bool = False) -> None:
        now_s = self._monotonic()
        if not self.status.is_due(now_s, force=force):
            return
        drain = self._drain
        pending = self._journals.pending_bytes(drain.incarnation, *drain.acked_place) if drain else 0
        self._journals.keep_status(self.status.written(now_s, pending, time.time_ns()))


def _id_of(raw: bytes) -> str:
    try:
        head = msgspec.msgpack.decode(raw)
        return str(head[1])
    except (msgspec.DecodeError, IndexError, TypeError) as error:
        raise PayloadRefused(f"a reply does not decode: {error}") from error
