"""What other mounts did, and what became of our own: messages of the feed, in order of position, into the tree and
the kernel.

Positions have no gaps and follow each other by hash. Whatever the feed loses is read from the store: after a gap
(with 5 ms of patience), a message without events, a head that stays ahead. **A connection keeps the order of what is
published**: a head that is ahead of us on one that never broke is of a message that its worker has yet to publish, so
it is waited for; one that a later head finds missing still will not come. **A hash that is not ours means a resync**:
load the tree anew. One thread; it takes llfuse.lock for one slice of events at a time and never asks a server with it
held.
"""

import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Final

import llfuse
import msgspec

from app.core.errors import Unavailable
from app.core.messages import FILES, FeedEvent, FeedMessage, OriginRange
from app.core.policy.guards import is_policy
from app.core.tree import Node
from app.core.undo_tree import Changes, Loss
from app.ports import FeedSubscriber, FileEventReader, LogHead, TreeSnapshot
from app.services.carrying import carried
from fuse_mount.kernel_cache import NotifiedCache
from fuse_mount.sections import kernel_inode
from fuse_mount.state import MountState
from fuse_mount.who import Who

SLICE: Final = 64
PATIENCE_S: Final = 0.005
SILENCE_S: Final = 0.5
# heads come every 0.5 s, and by beat in between: two of them are one look
LATER_S: Final = 0.4
RETRY_S: Final = 0.25
PAGE: Final = 1000
LOSSES_KEPT: Final = 20


@dataclass
class FeedFigures:
    """What debug/health says of the feed."""

    by_pubsub: int = 0
    by_catch_up: int = 0
    gaps: int = 0
    resyncs: int = 0
    last_resync: dict[str, object] = field(default_factory=dict)
    losses: list[dict[str, object]] = field(default_factory=list)


class Feed:
    """Follows the files log from `head` on. `subscriber` None: only the store is asked (a slower safe path)."""

    def __init__(
        self,
        state: MountState,
        cache: NotifiedCache,
        reader: FileEventReader,
        subscriber: FeedSubscriber | None,
        project: str,
    ) -> None:
        self.position = 0
        self.hash = b""
        self.own: set[int] = set()
        self.figures = FeedFigures()
        self._state = state
        self._cache = cache
        self._reader = reader
        self._subscriber = subscriber
        self._project = project
        self._early: list[FeedMessage] = []
        self._ahead, self._ahead_since_s = 0, 0.0
        self._heard_s = time.monotonic()

    def started(self, head: LogHead, own: Iterable[int]) -> None:
        """The tree is that of `head`; these incarnations are ours."""
        self.position, self.hash = head
        self.own = set(own)
        self._cache.reached(self.position)

    def run(self, stopping: Event) -> None:
        """Body of the feeding thread."""
        while not stopping.is_set():
            try:
                self.step(stopping)
            except Unavailable as error:
                self._state.counters[f"feed: {type(error).__name__}"] += 1
                stopping.wait(RETRY_S)

    def step(self, stopping: Event, timeout_s: float = 0.25) -> None:
        """Take one message, or notice that none comes."""
        message = None
        if self._subscriber is None:
            stopping.wait(min(timeout_s, 0.1))
            self._heard_s = 0.0
        else:
            message = self._subscriber.poll(PATIENCE_S if self._early else timeout_s)
        if message is not None and message.project == self._project and message.log == FILES:
            self._heard_s = time.monotonic()
            self.receive(message)
        elif self._early:
            self._fill_gap()
        elif time.monotonic() - self._heard_s > SILENCE_S:
            self._heard_s = time.monotonic()
            self._compare(self._reader.head())

    def receive(self, message: FeedMessage) -> None:
        """Apply a message, or keep it where something before it is missing."""
        if message.last < message.first:
            self._heartbeat(message)
        elif message.last <= self.position:
            return
        elif message.first > self.position + 1:
            self._early.append(message)
        elif message.first == self.position + 1 and message.prev_hash != self.hash:
            self.resync(f"the event before position {message.first} is another one than ours")
        elif not message.events:
            self.catch_up()
        else:
            self._apply(message)
            self._apply_early()

    def _heartbeat(self, message: FeedMessage) -> None:
        if message.last > self.position:
            self._await(message.last)
        elif message.last == self.position and message.hash != self.hash:
            self._compare(self._reader.head())

    def _apply_early(self) -> None:
        waiting, self._early = sorted(self._early, key=lambda one: one.first), []
        for message in waiting:
            if message.last > self.position:
                self.receive(message)

    def _fill_gap(self) -> None:
        self.figures.gaps += 1
        self.catch_up()
        self._early = []

    def _compare(self, head: LogHead) -> None:
        """Make up for what the store has and we have not."""
        if head.position > self.position:
            self._await(head.position)
        elif head.position < self.position:
            self.resync(f"the store ends at position {head.position}, we are at {self.position}")
        elif head.hash != self.hash:
            self.resync(f"the store's event at position {head.position} is another one than ours")

    def _await(self, position: int) -> None:
        """The store has this position, which has not come: read it, unless its message can still be on the way."""
        now_s = time.monotonic()
        if self._subscriber is None or not self._subscriber.unbroken():
            self.catch_up()
        elif self.position >= self._ahead:
            self._ahead, self._ahead_since_s = position, now_s
        elif now_s - self._ahead_since_s >= LATER_S:
            self._fill_gap()

    def catch_up(self) -> None:
        """Read what is missing from the store, the last known event first: it must be ours."""
        while True:
            after = max(self.position - 1, 0)
            events = self._reader.events_after(after, PAGE)
            if self.position and (not events or events[0].position != self.position or events[0].hash != self.hash):
                self.resync(f"the store's event at position {self.position} is another one than ours")
                return
            fresh = [event for event in events if event.position > self.position]
            self.figures.by_catch_up += len(fresh)
            if not self._fold(fresh) or len(events) < PAGE:
                return

    def _apply(self, message: FeedMessage) -> None:
        """Apply a message that continues the tree's position; own ranges without looking at their events."""
        self._foresee(message)
        if message.first <= self.position:
            fresh = [event for event in message.events if event.position > self.position]
            self.figures.by_pubsub += len(fresh)
            self._fold(fresh)
            return
        self.figures.by_pubsub += len(message.events)
        for part in message.ranges:
            start = part.first_position - message.first
            events = message.events[start : start + part.last_sequence - part.first_sequence + 1]
            plain = part.incarnation in self.own and not any(e.outcome.kind != "applied" for e in events)
            if plain:
                events = events[self._confirm(part, events) :]
            if events and not self._fold(events):
                return

    def _foresee(self, message: FeedMessage) -> None:
        """Hold content that came along until somebody asks. What does not decode is for the fold to find."""
        with suppress(msgspec.DecodeError):
            came = list(carried(message, self.own))
            if came:
                with llfuse.lock:
                    for one in came:
                        self._state.contents.foreseen.keep(one)

    def _confirm(self, part: OriginRange, events: Sequence[FeedEvent]) -> int:
        """Confirm an own range; return how many of its events are done."""
        with llfuse.lock:
            before = len(self._state.tree.pending)
            self._state.tree.confirm(part.first_sequence, part.last_sequence, part.incarnation)
            done = before - len(self._state.tree.pending)
            if done:
                self._passed(events[done - 1])
        return done

    def _fold(self, events: Sequence[FeedEvent]) -> bool:
        """Fold events in slices; False after a resync."""
        for start in range(0, len(events), SLICE):
            part = events[start : start + SLICE]
            try:
                with llfuse.lock:
                    held = self._held()
                    changes = self._state.tree.fold(part)
                    self._publish(changes)
                    self._supersede(changes, held, part[-1].position)
                    for event in part:
                        self._passed(event)
            except msgspec.DecodeError as error:
                self.resync(f"an event after position {self.position} does not decode: {error}")
                return False
            if changes.mismatches:
                self.resync(f"the outcome at position {changes.mismatches[0]} is another one here than in the store")
                return False
        return True

    def _passed(self, event: FeedEvent) -> None:
        state = self._state
        self.position, self.hash = event.position, event.hash
        if event.incarnation in self.own:
            with state.progress:
                state.confirmed[event.incarnation] = event.sequence
                state.progress.notify_all()
            state.contents.confirmed(event.incarnation, event.sequence)
        self._cache.reached(self.position)

    def _held(self) -> dict[int, Node]:
        nodes = self._state.tree.nodes
        return {inode: nodes[inode] for inode in self._state.files.counts if inode in nodes}

    def _publish(self, changes: Changes) -> None:
        """Tell the kernel what differs, and keep what was taken away while it is open here, or about to be: the kernel
        may have looked its name up before.
        """
        state = self._state
        state.border.follow_merges()
        for directory, name in changes.entries:
            if directory in state.lookups:
                self._cache.forget_entry(kernel_inode(directory), name)
        for inode in changes.inodes:
            node = state.tree.nodes.get(inode)
            before = changes.gone.get(inode)
            if before is not None and inode not in state.tree.aliases:
                state.keep_orphan(inode, before, before.ctime_ns)
            elif node is None and inode not in state.changes.orphans:
                state.contents.let_go(inode)
            if inode in state.lookups:
                self._go_on_showing(inode, changes)
                self._cache.forget_inode(
                    kernel_inode(inode), attributes_only=inode not in changes.contents and node is not None
                )
        for loss in changes.losses:
            self._lost(loss)

    def _go_on_showing(self, inode: int, changes: Changes) -> None:
        state, before = self._state, changes.replaced.get(inode)
        if before is not None and stat.S_ISREG(before.mode) and inode not in state.contents.dirty:
            state.shown.keep(inode, before, contents=inode in changes.contents)

    def _supersede(self, changes: Changes, held: dict[int, Node], position: int) -> None:
        files = self._state.files
        for inode in changes.contents:
            if (
                inode in held
                and inode in self._state.tree.nodes
                and any(handle.inode == inode and handle.writable for handle in files.handles.values())
            ):
                self._state.superseded.add(inode, held[inode], position, files.next_number)
                self._state.appends.changed(inode, held[inode].size)

    def _lost(self, loss: Loss) -> None:
        self._state.counters[f"own operation lost: {loss.outcome.kind} {loss.outcome.reason}"] += 1
        request = loss.request
        if is_policy(loss.outcome.reason):
            who = Who(request.agent_id, request.session, request.tool_call)
            self._state.gate.refused_by_store(request.operation_type, request.path, who, loss.outcome.reason)
        said = {
            "operation": request.operation_type,
            "path": request.path.decode(errors="backslashreplace"),
            "sequence": loss.sequence,
            "reason": loss.outcome.reason or loss.outcome.kind,
        }
        self.figures.losses = [*self.figures.losses[-LOSSES_KEPT + 1 :], said]

    def resync(self, reason: str) -> None:
        """Load the tree anew, fold pending over it, make the kernel forget everything, and say so."""
        self.figures.resyncs += 1
        self.figures.last_resync = {"at_ns": time.time_ns(), "position": self.position, "reason": reason}
        self._early = []
        snapshot = self._reader.load_tree(sorted(self.own))
        with llfuse.lock:
            self._replace(snapshot)

    def _replace(self, snapshot: TreeSnapshot) -> None:
        state = self._state
        held = self._held()
        state.shown.clear()  # the store may have lost what was shown
        for directory in list(state.lookups):
            for name, _ in state.tree.entries(directory):
                self._cache.forget_entry(kernel_inode(directory), name)
        for loss in state.tree.load(snapshot.nodes, snapshot.dentries, snapshot.aliases, snapshot.last_sequences):
            self._lost(loss)
        for inode, node in held.items():
            if inode not in state.tree.nodes:
                state.keep_orphan(inode, node, node.ctime_ns)
            elif state.tree.nodes[inode].size != node.size:
                state.appends.changed(inode, node.size)
        state.border.follow_merges()
        self.position, self.hash = snapshot.head
        with state.progress:
            state.confirmed.update(snapshot.last_sequences)
            state.progress.notify_all()
        for incarnation, sequence in sorted(snapshot.last_sequences.items()):
            state.contents.confirmed(incarnation, sequence)
        self._cache.forget_everything()
        self._cache.reached(self.position)
