"""Fold a prepared batch into the tree: outcomes, paths, the pieces of the hash chain, rows to write.

Runs with or without the log's lock; whether what it read still stands is decided by the append itself. After any
exception the tree that was folded into is no longer that of any head and must be thrown away.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from app.adapters.postgres.content_reads import ChunkMap, overlay
from app.adapters.postgres.content_rows import ContentChanges, ContentRows
from app.adapters.postgres.links import Context, Links
from app.adapters.postgres.prepared import Prepared
from app.adapters.postgres.standing import Origin, Standing
from app.adapters.postgres.tree_changes import TreeChanges
from app.adapters.postgres.tree_rows import Unknown
from app.core.chunks import Extent, chunk_hash, compose
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from app.core.messages import APPLIED, ChunkData, Outcome, encode
from app.core.operations import ChunkRef, Content, FileOperationRequest, Link, Make, Operation, Rename, Rmdir, Unlink
from app.core.tree import Node, apply, is_directory

CheckPath = Callable[[bytes, FileOperationRequest], str | None]
CheckMove = Callable[[bytes, bytes, Callable[[int], list[bytes] | None]], str | None]
INTERNAL: Final = Outcome("rejected", reason="internal")
_I64_MAX: Final = 2**63 - 1
# tuples: a union would be made anew at each look
_NAMED: Final = (Make, Unlink, Link, Rmdir)
_REMOVES: Final = (Unlink, Rmdir)
_MAY_DROP: Final = (Unlink, Rename)
# what folding one request may raise if a rule of core is wrong; anything else is a fault of this process
_POISON: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Poisoned(Exception):
    """Folding the request at `index` failed unexpectedly."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class CutHere(Exception):
    """The request at `index` needs the content maps of those before it in the database: append those first."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Contents(Protocol):
    """Content as the database has it, inside the transaction."""

    def map_of(self, version: VersionId) -> ChunkMap:
        """Return the chunk map of a version."""

    def bytes_of(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return plain bytes of chunks."""

    def put(self, chunks: Sequence[ChunkData]) -> None:
        """Store chunks."""


class Task(NamedTuple):
    """What all events of a batch share."""

    project: str
    chunk_key: bytes
    incarnation: int
    task_id: str


class EventRows(NamedTuple):
    """What differs between the events of a batch, a column each, as they are stored.

    `contexts` are places of texts (links.py); an outcome of b'' is `applied`; `backs` are the headers' last pieces.
    """

    at_ns: Sequence[int]
    inodes: Sequence[int]
    contexts: Sequence[int]
    paths: Sequence[bytes]
    outcomes: Sequence[bytes]
    payloads: Sequence[bytes]
    digests: Sequence[bytes]
    backs: Sequence[bytes]


_EventRow = tuple[int, int, int, bytes, bytes, bytes, bytes, bytes]
NO_EVENTS: Final = EventRows((), (), (), (), (), (), (), ())


class Folded(NamedTuple):
    """A batch, folded. `reads` and `touched` are keys (touched.py); `reads` can be asked until the next fold."""

    events: EventRows
    outcomes: list[Outcome]
    front: bytes
    contexts: list[Context]
    middles: list[bytes]
    reads: Callable[[], list[int]]
    touched: list[int]
    tree: TreeChanges
    content: ContentChanges


class Fold:
    """One batch on its way into the tree. `contents` is there inside a transaction only."""

    def __init__(
        self,
        standing: Standing,
        task: Task,
        *,
        contents: Contents | None,
        check_path: CheckPath | None,
        check_move: CheckMove | None = None,
        poison: frozenset[int],
    ) -> None:
        self._base, self._tree = standing.head.position, standing.tree
        self._tree.own = task.incarnation
        self._origin: Origin = standing.origins[task.incarnation]
        self._task, self._contents, self._check_path, self._poison = task, contents, check_path, poison
        self._check_move = check_move
        self._rows = ContentRows()

    def run(self, first: int, requests: Sequence[Prepared]) -> Folded:
        """Fold requests from sequence `first` on; raises Poisoned, CutHere or Unknown."""
        task, outcomes, rows = self._task, list[Outcome](), list[_EventRow]()
        links = Links(task.project, self._origin.origin, task.incarnation, task.task_id)
        for index, prepared in enumerate(requests):
            sequence = first + index
            outcome, path = self._fold_guarded(index, prepared, self._base + index + 1, sequence)
            outcomes.append(outcome)
            shown = b"" if outcome is APPLIED else encode(outcome)
            request, digest = prepared.request, prepared.digest
            context, strings = links.context(prepared.kind, request)
            at_ns, inode = (0, 0) if request is None else (request.at_ns, request.operation.inode)
            if prepared.refusal:
                at_ns, inode = _bounded(at_ns), _bounded(inode)
            back = links.back(sequence, strings, inode, shown, digest)
            rows.append((at_ns, inode, context, path, shown, prepared.payload, digest, back))
        events = EventRows(*zip(*rows, strict=True)) if rows else NO_EVENTS
        return Folded(
            events, outcomes, links.front, links.contexts, links.middles,
            self._tree.reads(), self._tree.touched(), self._tree.take_changes(), self._rows.changes(),
        )  # fmt: skip

    def _fold_guarded(self, index: int, prepared: Prepared, position: int, sequence: int) -> tuple[Outcome, bytes]:
        if prepared.request is None or prepared.refusal:
            return Outcome(
                "rejected", reason=prepared.refusal
            ), b"" if prepared.request is None else prepared.request.path
        if index in self._poison:
            return INTERNAL, prepared.request.path
        self._tree.position = position
        try:
            return self._fold_one(index, prepared.request, (self._task.incarnation, sequence))
        except _POISON as error:
            raise Poisoned(index) from error

    def _fold_one(self, index: int, request: FileOperationRequest, version: VersionId) -> tuple[Outcome, bytes]:
        operation, tree = request.operation, self._tree
        path = b""
        if self._check_path is not None or isinstance(operation, _REMOVES):
            path = self._path(operation)
            reason = self._policy_reason(request, path)
            if reason is not None:
                return Outcome("rejected", reason=reason), path
        if isinstance(operation, Content):
            outcome = self._fold_content(index, request, operation, version)
        else:
            outcome = apply(tree, request, version[0], self._origin.origin_name)
            if isinstance(operation, _MAY_DROP):
                self._drop_content(operation)
        if outcome.name or not path:  # the log is searched by the name that there is now
            path = self._path(operation, outcome)
        return outcome, path or request.path

    def _policy_reason(self, request: FileOperationRequest, path: bytes) -> str | None:
        """Ask the rules of every path that the operation reaches: of a move both ends and what is inside, of anything
        else all names of the inode.
        """
        if self._check_path is None:
            return None
        operation = request.operation
        asked = [path or request.path]
        match operation:
            case Rename(parent=parent, name=name):
                asked.append(self._join(parent, name))
            case Make() | Unlink() | Rmdir():
                pass
            case _:
                asked += [other for other in self._tree.paths_of(self._tree.alias(operation.inode)) if other != path]
        reason = next((said for one in asked if (said := self._check_path(one, request)) is not None), None)
        if reason is None and isinstance(operation, Rename):
            return self._move_reason(operation, asked[1], asked[0])
        return reason

    def _move_reason(self, operation: Rename, old: bytes, new: bytes) -> str | None:
        inode = self._tree.alias(operation.inode)
        if self._check_move is None or not is_directory(self._tree.node(inode)):
            return None
        return self._check_move(old, new, lambda most: self._tree.inside(inode, most))

    # content

    def _fold_content(self, index: int, request: FileOperationRequest, content: Content, version: VersionId) -> Outcome:
        tree = self._tree
        inode = tree.alias(content.inode)
        before = tree.node(inode)
        stale = before is not None and (before.version != content.base or content.append_from not in {-1, before.size})
        if stale and inode in self._rows:
            raise CutHere(index)
        outcome = apply(tree, request, version[0], self._origin.origin_name)
        if before is None or outcome.kind not in {"applied", "composed"}:
            return outcome
        if before.version == EMPTY_VERSION:
            self._rows.start_empty(inode)
        if outcome.kind == "composed":
            return self._compose(inode, before, content, outcome)
        if stale:
            contents = self._stored()
            new = overlay(contents.map_of(content.base), content)
            self._rows.rebase(inode, contents.map_of(before.version), new, tree.position)
        else:
            self._rows.replace(inode, content.chunks, content.size, before.size, tree.position)
        return outcome

    def _compose(self, inode: int, before: Node, content: Content, outcome: Outcome) -> Outcome:
        """Let the appended bytes follow the current content; the chunks that this makes are stored and named."""
        contents = self._stored()
        written = overlay(contents.map_of(content.base), content)
        added = self._bytes_between(written, content.append_from, content.size)
        tail = before.size // CHUNK_BYTES
        last = contents.map_of(before.version).get(tail)
        base = {} if last is None else {tail: contents.bytes_of([last[0]])[last[0]]}
        plain = compose(base, before.size, [Extent(before.size, added)], outcome.size)
        named = [(i, chunk_hash(self._task.chunk_key, data), data) for i, data in sorted(plain.items())]
        contents.put([ChunkData(name, len(data), "raw", data) for _, name, data in named if name])
        refs = [ChunkRef(i, name, len(data)) for i, name, data in named]
        self._rows.replace(inode, refs, outcome.size, before.size, self._tree.position)
        return msgspec.structs.replace(outcome, chunks=tuple((r.index, r.hash, r.size_bytes) for r in refs))

    def _bytes_between(self, chunks: ChunkMap, start: int, end: int) -> bytes:
        indexes = range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES))
        plain = self._stored().bytes_of([chunks[i][0] for i in indexes if i in chunks])
        whole = b"".join((plain[chunks[i][0]] if i in chunks else b"").ljust(CHUNK_BYTES, b"\0") for i in indexes)
        low = indexes.start * CHUNK_BYTES
        return whole[start - low : end - low]

    def _drop_content(self, operation: Unlink | Rename) -> None:
        removed = operation.inode if isinstance(operation, Unlink) else operation.replaced
        if not removed:
            return
        inode = self._tree.alias(removed)
        if self._tree.was_dropped(inode):
            self._rows.drop(inode, self._tree.position)

    def _stored(self) -> Contents:
        if self._contents is None:
            raise Unknown
        return self._contents

    # rows

    def _path(self, operation: Operation, outcome: Outcome = APPLIED) -> bytes:
        if isinstance(operation, _NAMED):
            return self._join(operation.parent, outcome.name or operation.name)
        if isinstance(operation, Rename):
            return self._join(operation.new_parent, outcome.name or operation.new_name)
        return self._tree.path_of(self._tree.alias(operation.inode))

    def _join(self, parent: int, name: bytes) -> bytes:
        above = self._tree.path_of(self._tree.alias(parent))
        return above + b"/" + name if above else name


def _bounded(number: int) -> int:
    return max(-_I64_MAX, min(number, _I64_MAX))


def outcome_of(stored: bytes | None) -> Outcome:
    """Return the outcome of a stored event; null is `applied`."""
    return APPLIED if not stored else _outcome(stored)


_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode
