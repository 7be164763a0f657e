"""A batch on its way into the files log: what is left of it, what became of it, and the arguments of its append."""

from collections.abc import Sequence
from typing import NamedTuple

from app.adapters.postgres import calls
from app.adapters.postgres.fold import Folded, Task
from app.adapters.postgres.packing import Scalars, pack_events, pack_tree, pack_waiting
from app.adapters.postgres.prepared import Prepared
from app.adapters.postgres.standing import Standing
from app.adapters.postgres.tree_changes import keys_of
from app.adapters.postgres.tree_rows import Wanted
from app.core.messages import ChunkData, FeedMessage, PersistBatch, Rejection


class Work(NamedTuple):
    """A batch, or what is left of it."""

    batch: PersistBatch
    project: int
    task: Task
    first: int
    requests: Sequence[Prepared]
    chunks: Sequence[ChunkData]
    named_chunks: Sequence[bytes]
    poison: frozenset[int] = frozenset()

    def part(self, start: int, end: int) -> "Work":
        """Return requests [start, end) as work of their own; chunks go with the first part."""
        poison = frozenset(i - start for i in self.poison if start <= i < end)
        return self._replace(first=self.first + start, requests=self.requests[start:end], poison=poison)


class Done(NamedTuple):
    """What became of work: reply fields and the feed."""

    acked: int
    position: int
    rejected: tuple[Rejection, ...] = ()
    missing: tuple[bytes, ...] = ()
    error: str = ""
    feed: tuple[FeedMessage, ...] = ()


def wanted_by(requests: Sequence[Prepared]) -> Wanted:
    """Return the keys that folding requests looks up first."""
    inodes: set[int] = set()
    names: set[tuple[int, bytes]] = set()
    for prepared in requests:
        if prepared.request is not None and not prepared.refusal:
            some_inodes, some_names = keys_of(prepared.request.operation)
            inodes.update(some_inodes)
            names.update(some_names)
    return Wanted(list(inodes), list(names))


def refusal_of(work: Work, opened: calls.Opened) -> Done | None:
    """Return why a batch cannot be appended as the log stands."""
    position = opened.head.position
    if opened.missing:
        return Done(opened.last_sequence, position, missing=tuple(opened.missing))
    if opened.origin != work.batch.origin:
        return Done(0, position, error="unknown-incarnation")
    if work.first > opened.last_sequence + 1:
        return Done(opened.last_sequence, position, error="gap")
    return None


def event_arguments(
    work: Work, standing: Standing, folded: Folded, made: calls.Appended, *, waits: bool
) -> list[bytes]:
    """Return the first arguments; with hashes nothing of what was read: nothing is appended if the head has moved."""
    scalars = Scalars(
        work.project, standing.head.position, standing.head.hash, work.task.incarnation, work.first, work.task.task_id,
        made.at_us, made.hashes,
    )  # fmt: skip
    reads = () if made.hashes else folded.reads()
    return pack_events(scalars, work.named_chunks, work.chunks, folded, reads, None if waits else folded.content)


def tree_arguments(folded: Folded, *, waits: bool) -> list[bytes]:
    """Return those of the tree, and of the content maps if they wait as well."""
    return pack_waiting(folded.tree, folded.content) if waits else pack_tree(folded.tree, folded.content.dropped)
