"""The model mount: a LayeredTree, bytes in memory, a journal of real frames on a disk that may lose its cache."""

from random import Random
from typing import NamedTuple

from sim_faults import Broken
from sim_store import PROJECT, Store

from app.core.chunks import Extent, ResizeTo
from app.core.frames import (
    FRAME_FORMAT,
    JournalHeader,
    Record,
    RecordType,
    base_body,
    encode_header,
    frame,
    read_header,
    records,
    write_body,
)
from app.core.ids import EMPTY_VERSION, ROOT_INODE, VersionId, first_inode
from app.core.layers import Changes, LayeredTree
from app.core.messages import FeedMessage
from app.core.nodes import is_directory
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Operation,
    RemoveXattr,
    Rename,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
    encode_request,
    kind_of,
)
from app.core.seal_plan import SealPlan, seal_again

FILE, DIRECTORY = 0o100644, 0o040755
NAMES = (b"a", b"b", b"c")


class Journal:
    """One incarnation's file; `synced` bytes of it survive a power loss."""

    def __init__(self, incarnation: int, origin_name: str, recovers: tuple[int, ...]) -> None:
        head, self.seed = encode_header(
            JournalHeader(FRAME_FORMAT, "files", PROJECT, origin_name, origin_name, incarnation, 0, 1, 0, recovers)
        )
        self.incarnation = incarnation
        self.recovers = recovers
        self.data = bytearray(head)
        self.start = len(head)
        self.synced = len(head)

    def append(self, kind: int, body: bytes) -> None:
        self.data += frame(kind, body, self.seed) + body

    def lose_power(self, rng: Random) -> None:
        """Any prefix from what was synced, or a torn last block."""
        if len(self.data) > self.synced:
            del self.data[rng.randint(self.synced, len(self.data)) :]
            if len(self.data) > self.synced and rng.random() < 0.5:
                self.data[-1] ^= 0xFF


class Disk:
    """What a machine keeps: journals by incarnation."""

    def __init__(self) -> None:
        self.journals: dict[int, Journal] = {}

    def recovered(self) -> set[int]:
        return {one for journal in self.journals.values() for one in journal.recovers}


class OverTree(LayeredTree):
    """The planted fault: what is foreign is folded over the pending requests."""

    def _commutes(self, requests: object) -> bool:
        return True


class Habits(NamedTuple):
    """What programs like to do in one history: the names they use, and the share of calls on content."""

    names: tuple[bytes, ...]
    content: float


class Dirty:
    """Unsealed content of an inode."""

    def __init__(self, base: VersionId, data: bytes) -> None:
        self.base = base
        self.data = bytearray(data)
        self.append_from = len(data)
        self.appended_only = True


class Expected(NamedTuple):
    """Unsealed bytes at a kill -9, which the next start must seal again."""

    incarnation: int
    inode: int
    data: bytes


def flat(base: bytes, changes: tuple) -> bytes:
    data = bytearray(base)
    for change in changes:
        match change:
            case ResizeTo(size):
                data = data[:size].ljust(size, b"\0")
            case Extent(offset, piece):
                data = data.ljust(offset, b"\0")
                data[offset : offset + len(piece)] = piece
    return bytes(data)


class Mount:
    """One origin. Down while `tree` is None; everything but `disk` dies with the process."""

    def __init__(
        self,
        name: str,
        store: Store,
        rng: Random,
        faults: frozenset[str],
        truth: "object",
        *,
        commuting: bool,
        habits: Habits,
    ) -> None:
        self.habits = habits
        self.name, self.store, self.rng, self.faults, self.truth = name, store, rng, faults, truth
        self.commuting = commuting
        self.disk = Disk()
        self.tree: LayeredTree | None = None
        self.queue: list[FeedMessage] = []
        self.expected: list[Expected] = []
        self.deferred: list[tuple[int, bytes]] = []

    # -- start and end

    def start(self, *, dies_before_rename: bool = False) -> None:
        self.queue, self.dirty, self.own_bytes, self.own_last, self.deferred = [], {}, {}, {}, []
        self.newest: dict[int, int] = {}
        old = sorted(self.disk.journals)
        goes_on = "fresh-incarnation" in self.faults and old and self.rng.random() < 0.9
        self.incarnation = old[-1] if goes_on else self.store.register(self.name)
        self.tree = tree = self._empty_tree()
        rows = [(p, n, i) for p, held in self.store.tree.children.items() for n, i in held.items()]
        tree.load(self.store.tree.nodes.items(), rows, self.store.tree.aliases.items(), dict(self.store.last))
        self.position, self.hash = len(self.store.log), self.store.head
        plans = [self._redo(self.disk.journals[one]) for one in old]
        if goes_on:
            self.journal, self.sequence, self.inode = (
                self.disk.journals[self.incarnation],
                plans[-1].last_sequence,
                self.store.last[self.incarnation] + 500,
            )
            self.inode += self.incarnation << 32
            return
        self.journal = Journal(self.incarnation, self.name, tuple(old))
        self.sequence, self.inode = 0, first_inode(self.incarnation)
        recovered = self.disk.recovered()
        for one, plan in zip(old, plans, strict=True):
            if one not in recovered and self.store.last[one] <= plan.last_sequence and "recovery" not in self.faults:
                self._seal_again(plan)
        if dies_before_rename:
            self.tree = None
            self.truth.forget(self.incarnation)
            return
        if "sync-older" not in self.faults:
            for journal in self.disk.journals.values():
                journal.synced = len(journal.data)
        self.journal.synced = len(self.journal.data)
        self.disk.journals[self.incarnation] = self.journal
        self._check_recovered()

    def _empty_tree(self) -> LayeredTree:
        kind = OverTree if "undo" in self.faults else LayeredTree
        return kind(self.incarnation, self.name, commuting=self.commuting)

    def _redo(self, journal: Journal) -> SealPlan:
        plan = SealPlan(journal.incarnation)
        header, seed, start = read_header(journal.data)
        assert self.tree is not None
        for record in records(journal.data, start, seed):
            planned = plan.feed(record) if isinstance(record, Record) else None
            if planned is None:
                continue
            content = planned.request.operation
            if isinstance(content, Content):
                data = flat(self.bytes_of(content.inode, content.base), planned.changes)
                self.own_bytes[content.inode, (journal.incarnation, planned.request.origin_seq)] = data
            if planned.request.origin_seq > self.store.last[journal.incarnation]:
                self.tree.perform(planned.request, journal.incarnation)
        return plan

    def _seal_again(self, plan: SealPlan) -> None:
        for unsealed in plan.remainder():
            node = self.tree.node(unsealed.inode)
            if unsealed.base is None and node is None:
                continue
            base, size = (unsealed.base, unsealed.base_size) if unsealed.base is not None else (node.version, node.size)
            for extent in unsealed.writes:
                self.journal.append(RecordType.WRITE, write_body(unsealed.inode, extent.offset, bytes(extent.data)))
            request = seal_again(unsealed, base, size, self.sequence + 1, self.truth.tick())
            data = flat(self.bytes_of(unsealed.inode, request.operation.base), unsealed.writes)
            self._journal(request)
            self.tree.perform(request)
            version = (self.incarnation, self.sequence)
            self.own_bytes[unsealed.inode, version] = data
            self.own_last[unsealed.inode] = version
            self.truth.contents[unsealed.inode, version] = data

    def _check_recovered(self) -> None:
        """Every byte that a killed mount's returned write had written is in a sealed version now."""
        for incarnation, inode, data in self.expected:
            version = self.own_last.get(inode)
            if version is None or self.own_bytes[inode, version] != data:
                raise Broken(f"unsealed bytes of inode {inode:x} of incarnation {incarnation} are lost")
        self.expected = []

    def kill(self, *, torn: bool = False) -> None:
        """kill -9: the page cache keeps the journal; `torn`: in the middle of an append whose call did not return."""
        if self.tree is None:
            return
        self.expected += [Expected(self.incarnation, inode, bytes(d.data)) for inode, d in self.dirty.items()]
        if torn:
            body = encode_request(self._request(SetAttr(ROOT_INODE, mode=0o700)))
            record = frame(RecordType.OPERATION, body, self.journal.seed) + body
            cut = self.rng.randint(1, len(record))
            self.journal.data += record[:cut]
            if cut == len(record):
                self.truth.attempt(self.incarnation, self.sequence + 1, SetAttr(ROOT_INODE, mode=0o700))
        self.tree = None

    def lose_power(self) -> None:
        self.expected = []
        for journal in self.disk.journals.values():
            journal.lose_power(self.rng)
        self.tree = None
        self.truth.power_lost(self)

    # -- calls

    def call(self) -> None:
        """One random system call that a program makes, checked as the kernel and the mount check it."""
        tree, rng = self.tree, self.rng
        self._flush_deferred()
        directories = sorted(inode for inode, node in tree.nodes.items() if is_directory(node))
        files = sorted(inode for inode, node in tree.nodes.items() if not is_directory(node))
        parent, name = rng.choice(directories), rng.choice(self.habits.names)
        there = tree.child(parent, name)
        action = rng.random()
        if files and rng.random() < self.habits.content:
            self._content(rng.choice(files), rng)
        elif there is None:
            self._make(parent, name, rng, files)
        elif action < 0.25:
            self._remove(parent, name, there)
        elif action < 0.7:
            self._rename(parent, name, there, rng.choice(directories), rng.choice(self.habits.names))
        else:
            self._attributes(there)

    def _make(self, parent: int, name: bytes, rng: Random, files: list[int]) -> None:
        if files and rng.random() < 0.15:
            self._log(Link(rng.choice(files), parent, name))
            return
        kind = rng.random()
        mode, target = (FILE, b"") if kind < 0.6 else (DIRECTORY, b"") if kind < 0.95 else (0o120777, b"t")
        inode, self.inode = self.inode, self.inode + 1
        self._log(Make(parent, name, inode, mode, 1, 1, target=target))
        self.own_last[inode] = EMPTY_VERSION

    def _remove(self, parent: int, name: bytes, inode: int) -> None:
        if not is_directory(self.tree.node(inode)):
            self._log(Unlink(parent, name, inode))
        elif not self.tree.has_children(inode):
            self._log(Rmdir(parent, name, inode))

    def _rename(self, parent: int, name: bytes, inode: int, new_parent: int, new_name: bytes) -> None:
        tree = self.tree
        above = new_parent
        while above not in {ROOT_INODE, inode}:
            above = tree.node(above).parent
        there = tree.child(new_parent, new_name)
        directory = is_directory(tree.node(inode))
        if above == inode or there == inode:
            return
        if there is not None and (is_directory(tree.node(there)) != directory or tree.has_children(there)):
            return
        self._log(Rename(parent, name, inode, new_parent, new_name, there or 0))

    def _attributes(self, inode: int) -> None:
        choice = self.rng.random()
        if choice < 0.5:
            self._log(SetAttr(inode, mode=self.rng.choice([0o600, 0o700])))
        elif choice < 0.8 or not self.tree.node(inode).xattrs:
            self._log(SetXattr(inode, b"user.x", bytes([self.rng.randrange(256)])))
        else:
            self._log(RemoveXattr(inode, b"user.x"))

    def _content(self, inode: int, rng: Random) -> None:
        node = self.tree.node(inode)
        if node.mode & 0o170000 != 0o100000:
            return
        choice = rng.random()
        if choice < 0.35:
            size = len(self.dirty[inode].data) if inode in self.dirty else node.size
            self._write(inode, size, rng.randbytes(rng.randint(1, 12)))
        elif choice < 0.6:
            self._write(inode, rng.randint(0, 30), rng.randbytes(rng.randint(1, 12)))
        elif choice < 0.7:
            self.seal(inode)
            self._truncate(inode, rng.choice([0, 3, 8, 20]))
        elif choice < 0.9:
            self.seal(inode)
        else:
            self.fsync()

    def _write(self, inode: int, offset: int, data: bytes) -> None:
        dirty = self.dirty.get(inode)
        if dirty is None:
            version = self.tree.node(inode).version
            base = self.bytes_of(inode, version)
            if len(base) != self.tree.node(inode).size:
                raise Broken(
                    f"inode {inode:x} has {self.tree.node(inode).size} bytes in the tree and {len(base)} in the store"
                )
            dirty = self.dirty[inode] = Dirty(version, base)
            if self.own_last.get(inode) != version and "base-record" not in self.faults:
                self._record(RecordType.BASE, base_body(inode, version, len(base)))
        self._record(RecordType.WRITE, write_body(inode, offset, data))
        dirty.appended_only = dirty.appended_only and offset == len(dirty.data)
        if offset > len(dirty.data):
            dirty.data += bytes(offset - len(dirty.data))
        dirty.data[offset : offset + len(data)] = data

    def _truncate(self, inode: int, size: int) -> None:
        node = self.tree.node(inode)
        base = self.bytes_of(inode, node.version)
        self._log_content(
            Content(inode, node.version, size, self.truth.tick(), truncated=True), flat(base, (ResizeTo(size),))
        )

    def seal(self, inode: int) -> None:
        dirty = self.dirty.pop(inode, None)
        if dirty is None:
            return
        start = dirty.append_from if dirty.appended_only else -1
        self._log_content(
            Content(inode, dirty.base, len(dirty.data), self.truth.tick(), append_from=start), bytes(dirty.data)
        )

    def _log_content(self, content: Content, data: bytes) -> None:
        self._log(content)
        version = (self.incarnation, self.sequence)
        self.own_bytes[content.inode, version] = data
        self.own_last[content.inode] = version
        self.truth.contents[content.inode, version] = data

    def fsync(self) -> None:
        for inode in list(self.dirty):
            self.seal(inode)
        if "fsync" not in self.faults:
            self.journal.synced = len(self.journal.data)
        self.truth.synced(self.incarnation, self.sequence)

    # -- journal

    def _request(self, operation: Operation) -> FileOperationRequest:
        path = b"/".join(
            name for name in (getattr(operation, "name", b""), getattr(operation, "new_name", b"")) if name
        )
        return FileOperationRequest(
            self.sequence + 1, self.truth.tick(), kind_of(operation), path, "a", "s", "t", operation
        )

    def _log(self, operation: Operation) -> None:
        """Journal, then apply, then return to the program."""
        request = self._request(operation)
        self._journal(request)
        gone = self.tree.node(self.tree.alias(operation.inode)) is None and not isinstance(operation, Make)
        outcome = self.tree.perform(request)
        if outcome.kind != "applied" and not gone:
            raise Broken(f"{operation} was checked and came out as {outcome}")
        self.truth.returned(self.incarnation, self.sequence)

    def _journal(self, request: FileOperationRequest) -> None:
        self.truth.attempt(self.incarnation, request.origin_seq, request.operation)
        self.sequence = request.origin_seq
        self._record(RecordType.OPERATION, encode_request(request))

    def _record(self, kind: int, body: bytes) -> None:
        if "journal-first" in self.faults:
            self.deferred.append((kind, body))
        else:
            self.journal.append(kind, body)

    def _flush_deferred(self) -> None:
        for kind, body in self.deferred:
            self.journal.append(kind, body)
        self.deferred = []

    # -- reading

    def bytes_of(self, inode: int, version: VersionId) -> bytes:
        own = self.own_bytes.get((inode, version))
        return self.store.bytes_of(inode, version) if own is None else own

    def receive(self) -> None:
        """Take one message of the feed; see docs/protocol.md section 6."""
        if not self.queue:
            return
        message = self.queue.pop(0 if self.rng.random() < 0.9 else self.rng.randrange(len(self.queue)))
        if message.first > self.position + 1 and "gap-fill" not in self.faults:
            self.catch_up()
        elif message.first == self.position + 1 and message.prev_hash != self.hash:
            raise Broken("the feed's previous hash is not this mount's")
        elif message.last > self.position:
            self._fold([event for event in message.events if event.position > self.position])

    def resync(self) -> None:
        """Load the tree anew and fold pending over it."""
        rows = [(p, n, i) for p, held in self.store.tree.children.items() for n, i in held.items()]
        aliases = self.store.tree.aliases.items()
        self.tree.load(self.store.tree.nodes.items(), rows, aliases, dict(self.store.last))
        self.position, self.hash = len(self.store.log), self.store.head

    def catch_up(self) -> None:
        if self.position < len(self.store.log):
            self._fold(self.store.log[self.position :])

    def _fold(self, events: list) -> None:
        tree = self.tree
        own = {event.incarnation for event in events} == {self.incarnation}
        if own and self.rng.random() < 0.5 and all(event.outcome.kind == "applied" for event in events):
            tree.confirm(events[0].sequence, events[-1].sequence, self.incarnation)
        checked = self.rng.random() < 0.1
        before = _visible(tree) if checked else None
        changes = tree.fold(events)
        if changes.mismatches:
            raise Broken(f"positions {changes.mismatches} came out otherwise in {self.name}")
        if before is not None:
            _check_changes(before, _visible(tree), changes)
        self.position, self.hash = events[-1].position, events[-1].hash
        self._check_age(changes)

    def _check_age(self, changes: Changes) -> None:
        """A reader never goes back to an older version."""
        for inode in changes.contents:
            node = self.tree.node(inode)
            at = None if node is None else self.store.positions.get((inode, node.version))
            if at is None:
                continue
            if at < self.newest.get(inode, 0):
                raise Broken(f"{self.name} went back to an older version of inode {inode:x}")
            self.newest[inode] = at


def _visible(tree: LayeredTree) -> tuple[dict, dict, dict]:
    return (
        dict(tree.nodes),
        {(p, n): i for p, held in tree.children.items() for n, i in held.items()},
        dict(tree.aliases),
    )


def _check_changes(before: tuple, after: tuple, changes: Changes) -> None:
    """What is not in `changes` is the same; what is there differs, unless several runs came one after the other."""
    nodes = {key for key in before[0].keys() | after[0].keys() if before[0].get(key) != after[0].get(key)}
    entries = {key for key in before[1].keys() | after[1].keys() if before[1].get(key) != after[1].get(key)}
    if not nodes <= changes.inodes or not entries <= changes.entries:
        raise Broken("a visible change was not reported for invalidation")
