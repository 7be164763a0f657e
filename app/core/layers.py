"""The tree that programs see: confirmed events with this mount's unconfirmed requests folded over them.

One set of dictionaries holds the visible tree. Each pending request keeps the values that it replaced; undoing all of
them, newest first, is the confirmed tree. Invariants:
- **events are folded in the order of their positions**, so an own event confirms the front of `pending` by taking it
  off: what it replaced is forgotten, nothing is folded again;
- a foreign event is folded beneath the pending ones: undo, fold, redo; or in place where both name no inode in common;
- a pending append that met foreign content stays visible as its writer sees it until the store's version is confirmed.

Not thread-safe: the caller holds its lock (llfuse.lock) around every method that changes something.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from app.core.memory_tree import MemoryTree
from app.core.messages import APPLIED, FeedEvent, Outcome
from app.core.nodes import Node, is_directory
from app.core.operations import Content, FileOperationRequest, Link, Make, Rename, Rmdir, Unlink, decode_request
from app.core.tree import apply
from app.core.undo_tree import NO_CHANGES, NODE, Changes, Difference, Loss, Undo, UndoTree

FAILED: Final = frozenset({"rejected", "shadowed"})
Decoded = Sequence[tuple[FeedEvent, FileOperationRequest]]


class Pending(msgspec.Struct, eq=False, gc=False):
    """An own request that no event has confirmed yet, what became of it for now, and the values that it replaced."""

    incarnation: int
    sequence: int
    request: FileOperationRequest
    outcome: Outcome
    undo: Undo
    reach: frozenset[int] = frozenset()
    moves: bool = False


class LayeredTree(UndoTree):
    """The visible tree of one mount; reads are MemoryTree's. `incarnation` is the one that `perform` writes for."""

    def __init__(self, incarnation: int, origin_name: str, *, commuting: bool = True) -> None:
        """`commuting` False takes the slower safe path (undo and redo) for every foreign event."""
        super().__init__()
        self.incarnation = incarnation
        self.origin_name = origin_name
        self.commuting = commuting
        self.pending: deque[Pending] = deque()
        self._own = {incarnation}
        self._confirmed: dict[int, int] = {}
        self._indexed = self._moves = 0
        self._named: dict[int, int] = {}

    # -- own requests

    def perform(self, request: FileOperationRequest, incarnation: int | None = None) -> Outcome:
        """Fold an own request that is in the journal and keep it pending; at start also those of older `incarnation`s.

        A rejected or shadowed one stays pending too: it has its number and will come back as an event. An append that
        the store will compose is `applied` for now: it is shown as its writer sees it.
        """
        maker = self.incarnation if incarnation is None else incarnation
        undo: Undo = []
        self.undo = undo
        self._own.add(maker)
        outcome = self._fold_own(request, maker)
        self.pending.append(Pending(maker, request.origin_seq, request, outcome, undo))
        return APPLIED if outcome.kind == "composed" else outcome

    def confirm(self, first_sequence: int, last_sequence: int, incarnation: int) -> int:
        """Own requests first..last came as events with outcome `applied`: drop them from the front of pending.

        Returns how many were dropped: all that `pending` holds of the range, unless one of them is not `applied`
        here; then the caller folds the events themselves (`fold` skips what is confirmed). Nothing visible changes,
        nothing is decoded.
        """
        dropped = 0
        while self.pending:
            front = self.pending[0]
            if front.incarnation != incarnation or front.sequence > last_sequence or front.outcome.kind != "applied":
                break
            if front.sequence < first_sequence:
                break
            self._pop_front()
            self._confirmed[incarnation] = front.sequence
            dropped += 1
        return dropped

    def reject(self, sequence: int, incarnation: int | None = None, reason: str = "") -> Changes:
        """Take an own request out of pending as if it had never been made; later ones are folded again."""
        maker = self.incarnation if incarnation is None else incarnation
        found = [one for one in self.pending if (one.incarnation, one.sequence) == (maker, sequence)]
        if not found:
            return NO_CHANGES
        difference = Difference(self)
        difference.take_back([one.undo for one in self.pending])
        self.pending.remove(found[0])
        losses = [*_losses(found[0], Outcome("rejected", reason=reason)), *self._redo(difference)]
        return difference.changes(losses=tuple(losses))

    # -- events

    def fold(self, events: Sequence[FeedEvent]) -> Changes:
        """Fold events that follow the last folded position, own and foreign, in order.

        Own ones at the front of pending with the same outcome are confirmed without decoding; own ones that were
        confirmed before are skipped; all others are folded beneath pending. Raises msgspec.DecodeError for a request
        that does not decode: the caller loads the tree anew.
        """
        log: list[Changes] = []
        at = 0
        while True:
            at = self._confirm_front(events, at)
            stop = at
            while stop < len(events) and events[stop].incarnation not in self._own:
                stop += 1
            if at == len(events):
                return _join(log)
            run = _decode(events[at:stop])
            if not run or not self._commutes([request for _, request in run]):
                log.append(self._fold_beneath(_decode(events[at:])))
                return _join(log)
            log.append(self._fold_in_place(run))
            at = stop

    apply_foreign = fold

    def load(
        self,
        nodes: Iterable[tuple[int, Node]],
        dentries: Iterable[tuple[int, bytes, int]],
        aliases: Iterable[tuple[int, int]],
        last_sequences: dict[int, int] | None = None,
    ) -> tuple[Loss, ...]:
        """Replace the confirmed tree by a snapshot and fold pending over it.

        Those at or below an incarnation's last sequence are in the snapshot and leave pending. The kernel must forget
        everything that it knew.
        """
        stored = last_sequences or {}
        self._confirmed = {one: stored.get(one, 0) for one in self._own}
        self.pending = deque(one for one in self.pending if one.sequence > stored.get(one.incarnation, 0))
        self.fill(nodes, dentries, aliases)
        return tuple(self._redo(Difference(self)))

    def confirmed(self) -> MemoryTree:
        """Return a copy of the confirmed tree; costs the whole tree (tests, comparison with the store)."""
        copy = MemoryTree()
        for one in reversed(self.pending):
            self.restore(one.undo)
        dentries = [(parent, name, inode) for parent, held in self.children.items() for name, inode in held.items()]
        copy.fill(self.nodes.items(), dentries, self.aliases.items())
        self._redo(Difference(self))
        return copy

    # -- how

    def _confirm_front(self, events: Sequence[FeedEvent], start: int) -> int:
        for at in range(start, len(events)):
            event = events[at]
            if event.sequence <= self._confirmed.get(event.incarnation, 0):
                continue
            if not self.pending or not _confirms(event, self.pending[0]):
                return at
            self._pop_front()
            self._confirmed[event.incarnation] = event.sequence
        return len(events)

    def _commutes(self, requests: Sequence[FileOperationRequest]) -> bool:
        """Tell whether folding `requests` neither reads nor changes what pending ones read or changed."""
        if not self.pending:
            return True
        if not self.commuting:
            return False
        self._index_reach()
        return not any(
            (self._moves and self._moves_directory(request))
            or any(inode in self._named for inode in self._reach(request))
            for request in requests
        )

    # what pending ones reach, counted once each, when a foreign event first asks

    def _index_reach(self) -> None:
        for one in islice(self.pending, self._indexed, None):
            touched = {key for kind, key, _ in one.undo if kind == NODE}
            one.reach = frozenset(self._reach(one.request) | touched)
            one.moves = self._moves_directory(one.request)
            self._moves += one.moves
            for inode in one.reach:
                self._named[inode] = self._named.get(inode, 0) + 1
        self._indexed = len(self.pending)

    def _pop_front(self) -> None:
        one = self.pending.popleft()
        if not self._indexed:
            return
        self._indexed -= 1
        self._moves -= one.moves
        for inode in one.reach:
            if self._named[inode] == 1:
                del self._named[inode]
            else:
                self._named[inode] -= 1

    def _forget_reach(self) -> None:
        self._indexed = self._moves = 0
        self._named.clear()

    def _reach(self, request: FileOperationRequest) -> set[int]:
        """Return the inodes whose node or children folding `request` may read or change (but a rename's ancestry)."""
        operation = request.operation
        named = {self.alias(operation.inode)}
        match operation:
            case Rename():
                new_parent = self.alias(operation.new_parent)
                named.update(
                    (self.alias(operation.parent), new_parent, self.child(new_parent, operation.new_name) or 0)
                )
            case Make() | Link() | Unlink() | Rmdir():
                parent = self.alias(operation.parent)
                named.update((parent, self.child(parent, operation.name) or 0))
            case _:
                pass
        return named - {0}

    def _moves_directory(self, request: FileOperationRequest) -> bool:
        operation = request.operation
        return isinstance(operation, Rename) and is_directory(self.node(self.alias(operation.inode)))

    def _fold_in_place(self, decoded: Decoded) -> Changes:
        difference = Difference(self)
        mismatches = tuple(
            event.position for event, request in decoded if not self._fold_event(event, request, difference)
        )
        return difference.changes(mismatches=mismatches)

    def _fold_beneath(self, decoded: Decoded) -> Changes:
        difference = Difference(self)
        difference.take_back([one.undo for one in self.pending])
        mismatches: list[int] = []
        losses: list[Loss] = []
        for event, request in decoded:
            if event.sequence <= self._confirmed.get(event.incarnation, 0):
                continue
            losses.extend(self._drop_confirmed(event))
            if not self._fold_event(event, request, difference):
                mismatches.append(event.position)
        losses.extend(self._redo(difference))
        return difference.changes(losses=tuple(losses), mismatches=tuple(mismatches))

    def _drop_confirmed(self, event: FeedEvent) -> list[Loss]:
        """Take the own request that `event` is off pending; report it where the store refused what succeeded here."""
        if event.incarnation not in self._own:
            return []
        self._confirmed[event.incarnation] = event.sequence
        found = [one for one in self.pending if (one.incarnation, one.sequence) == (event.incarnation, event.sequence)]
        if not found:
            return []
        self.pending.remove(found[0])
        return _losses(found[0], event.outcome)

    def _fold_event(self, event: FeedEvent, request: FileOperationRequest, difference: Difference) -> bool:
        """Fold a confirmed event as the store did; return whether it came out the same."""
        if event.outcome.kind in FAILED:
            return True
        self.undo = []
        outcome = apply(self, request, event.incarnation, event.origin_name)
        difference.remember(self.undo)
        return _same(outcome, event.outcome)

    def _fold_own(self, request: FileOperationRequest, incarnation: int) -> Outcome:
        outcome = apply(self, request, incarnation, self.origin_name)
        if outcome.kind == "composed":
            content = request.operation
            assert isinstance(content, Content)
            inode = self.alias(content.inode)
            whole = replace(self.nodes[inode], size=content.size, version=(incarnation, request.origin_seq))
            self.put_node(inode, whole)
        return outcome

    def _redo(self, difference: Difference) -> list[Loss]:
        """Fold pending again, oldest first; return those that now fail and did not before."""
        losses: list[Loss] = []
        self._forget_reach()
        for one in self.pending:
            undo: Undo = []
            self.undo = undo
            outcome = self._fold_own(one.request, one.incarnation)
            losses.extend(_losses(one, outcome))
            one.outcome, one.undo = outcome, undo
            difference.remember(undo)
        return losses


def _confirms(event: FeedEvent, front: Pending) -> bool:
    mine = (front.incarnation, front.sequence) == (event.incarnation, event.sequence)
    return mine and event.outcome.kind != "composed" and _same(front.outcome, event.outcome)


def _same(here: Outcome, stored: Outcome) -> bool:
    if (here.kind, here.name, here.inode) != (stored.kind, stored.name, stored.inode):
        return False
    return here.kind != "composed" or here.size == stored.size


def _losses(one: Pending, outcome: Outcome) -> list[Loss]:
    if outcome.kind not in FAILED or one.outcome.kind in FAILED:
        return []
    return [Loss(one.incarnation, one.sequence, one.request, outcome)]


def _decode(events: Iterable[FeedEvent]) -> Decoded:
    return [(event, decode_request(event.request)) for event in events]


def _join(log: Sequence[Changes]) -> Changes:
    if len(log) == 1:
        return log[0]
    return Changes(
        frozenset().union(*(one.inodes for one in log)),
        frozenset().union(*(one.contents for one in log)),
        frozenset().union(*(one.entries for one in log)),
        tuple(loss for one in log for loss in one.losses),
        tuple(position for one in log for position in one.mismatches),
        {inode: node for one in reversed(log) for inode, node in one.replaced.items()},
        {inode: node for one in log for inode, node in one.gone.items()},
    )
