"""A store in memory that ships a journal to itself: reader, subscriber and courier of one mount, and a foreign writer."""

# ruff: noqa: E501 - stories read better unbroken

import hashlib
import queue
import threading
import time
from pathlib import Path

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.reader import JournalReader
from app.core.chunks import Extent, ResizeTo, any_set, compose
from app.core.errors import StoreUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, GENESIS_HASH
from app.core.memory_tree import MemoryTree
from app.core.messages import FILES, FORMAT, FeedEvent, FeedMessage, OriginRange
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Rename,
    Rmdir,
    SetAttr,
    Unlink,
    encode_request,
    kind_of,
)
from app.core.seal_plan import SealPlan
from app.core.tree import apply
from app.ports import LogHead, TreeSnapshot

FOREIGN = 999


class MemoryStore:
    """See FileEventReader and FeedSubscriber; `lose` drops that many messages, `down` makes every answer fail,
    `frozen_s` delays every answer, `slow_content_s` those with bytes.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self.tree = MemoryTree()
        self.events: list[FeedEvent] = []
        self.versions: dict[tuple[int, tuple[int, int]], tuple[int, dict[int, bytes]]] = {}
        self.by_hash: dict[bytes, bytes] = {}
        self.last: dict[int, int] = {}
        self.lose = 0
        self.down = False
        self.frozen_s = 0.0
        self.slow_content_s = 0.0
        self._messages: queue.SimpleQueue[FeedMessage] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._shipping: dict[int, tuple[JournalReader, list[SealPlan]]] = {}
        self._pass = threading.Lock()
        self._ships = True

    @property
    def shipping(self) -> bool:
        """Whether what is journalled is committed; once it is set to False, nothing is any more."""
        return self._ships

    @shipping.setter
    def shipping(self, ships: bool) -> None:
        with self._pass:
            self._ships = ships

    # -- committing

    def commit(
        self,
        incarnation: int,
        name: str,
        batch: list[tuple[FileOperationRequest, bytes, tuple[Extent | ResizeTo, ...]]],
    ) -> None:
        with self._lock:
            first, previous = len(self.events) + 1, self.head().hash
            for request, body, changes in batch:
                before = self.tree.nodes.get(request.operation.inode)
                outcome = apply(self.tree, request, incarnation, name)
                if isinstance(request.operation, Content):
                    self._keep(request.operation, (incarnation, request.origin_seq), changes)
                    if outcome.kind == "composed":
                        self._compose(request.operation, (incarnation, request.origin_seq), before.version, outcome.size)
                digest = hashlib.sha256(self.head().hash + body).digest()
                self.events.append(
                    FeedEvent(len(self.events) + 1, incarnation, request.origin_seq, name, body, outcome, digest)
                )
                self.last[incarnation] = request.origin_seq
            sequences = [request.origin_seq for request, _, _ in batch]
            ranges = (OriginRange(incarnation, sequences[0], sequences[-1], first),)
            head = self.head()
            message = FeedMessage(
                FORMAT,
                self.project,
                FILES,
                first,
                head.position,
                previous,
                head.hash,
                ranges,
                (),
                tuple(self.events[first - 1 :]),
            )
        if self.lose:
            self.lose -= 1
        else:
            self._messages.put(message)

    def _keep(self, content: Content, version: tuple[int, int], changes: tuple[Extent | ResizeTo, ...]) -> None:
        size, base = self.versions.get((content.inode, content.base), (0, {}))
        fresh = compose(base, size, changes, content.size)
        last = (content.size + CHUNK_BYTES - 1) // CHUNK_BYTES
        known = {i: self._one(data) if any_set(data) else b"" for i, data in fresh.items()}
        whole = {i: data for i, data in {**base, **known}.items() if i < last and data}
        self.versions[content.inode, version] = (content.size, whole)

    def _one(self, data: bytes) -> bytes:
        """Keep equal chunks once, by their hashes: a fuzzer writes the same bytes millions of times."""
        return self.by_hash.setdefault(hashlib.sha256(data).digest(), data)

    def _compose(self, content: Content, own: tuple[int, int], before: tuple[int, int], size: int) -> None:
        """Let what was appended follow what was there, as version (incarnation, -sequence)."""
        written = self.versions[content.inode, own][1]
        whole = b"".join(written.get(i, b"").ljust(CHUNK_BYTES, b"\0") for i in range(content.size // CHUNK_BYTES + 1))
        held_size, held = self.versions.get((content.inode, before), (0, {}))
        added = (Extent(held_size, whole[content.append_from : content.size]),)
        made = {**held, **{i: self._one(data) for i, data in compose(held, held_size, added, size).items()}}
        self.versions[content.inode, (own[0], -own[1])] = (size, made)

    def ship(self, folder: MountFolder, stopping: threading.Event) -> None:
        """The courier and the worker, in a loop."""
        while not stopping.wait(0.002):
            with self._pass:
                for incarnation in folder.incarnations() if self._ships else []:
                    self._ship_one(folder, incarnation)

    def _ship_one(self, folder: MountFolder, incarnation: int) -> None:
        reader, plans = self._shipping.setdefault(
            incarnation, (JournalReader(folder.files(incarnation)), [SealPlan(incarnation)])
        )
        while found := reader.poll():
            batch = []
            for placed in found:
                planned = plans[0].feed(placed.record, placed.segment)
                if planned is not None:
                    batch.append((planned.request, planned.body, planned.changes))
            if batch:
                self.commit(incarnation, folder.name, batch)

    # -- another mount

    def foreign(self, verb: str, path: str, argument: str = "") -> None:
        with self._lock:
            parent, name = self.find(str(Path(path).parent)), Path(path).name.encode()
            there = self.tree.child(parent, name) or 0
            match verb:
                case "create" | "mkdir":
                    inode = (FOREIGN << 32) + self.last.get(FOREIGN, 0) + 1
                    self._foreign(Make(parent, name, inode, 0o100644 if verb == "create" else 0o40755, 0, 0))
                case "write":
                    node = self.tree.nodes[there]
                    data = argument.encode()
                    content = Content(there, node.version, len(data), time.time_ns())
                    self._foreign(content, (ResizeTo(0), Extent(0, data)))
                case "unlink":
                    self._foreign(Unlink(parent, name, there))
                case "rmdir":
                    self._foreign(Rmdir(parent, name, there))
                case "chmod":
                    self._foreign(SetAttr(there, mode=int(argument, 8)))
                case "link":
                    to = Path(argument)
                    self._foreign(Link(there, self.find(str(to.parent)), to.name.encode()))
                case "rename":
                    to = Path(argument)
                    new_parent = self.find(str(to.parent))
                    replaced = self.tree.child(new_parent, to.name.encode()) or 0
                    self._foreign(Rename(parent, name, there, new_parent, to.name.encode(), replaced))

    def _foreign(self, operation, changes: tuple[Extent | ResizeTo, ...] = ()) -> None:
        sequence = self.last.get(FOREIGN, 0) + 1
        request = FileOperationRequest(sequence, time.time_ns(), kind_of(operation), b"", "other", "", "", operation)
        self.commit(FOREIGN, "other", [(request, encode_request(request), changes)])

    def find(self, path: str) -> int:
        inode = 1
        for part in Path(path).parts:
            inode = self.tree.child(inode, part.encode()) or 0
        return inode

    # -- FileEventReader

    def _answer(self) -> None:
        if self.frozen_s:
            time.sleep(self.frozen_s)
        if self.down:
            raise StoreUnavailable("the store is down, as asked")

    def head(self, log: str = "files") -> LogHead:
        self._answer()
        return LogHead(self.events[-1].position, self.events[-1].hash) if self.events else LogHead(0, GENESIS_HASH)

    def events_after(self, position: int, limit: int = 1000):
        self._answer()
        return self.events[position : position + limit]

    def load_tree(self, incarnations=()):
        with self._lock:
            dentries = [
                (parent, name, inode) for parent, held in self.tree.children.items() for name, inode in held.items()
            ]
            last = {i: self.last.get(i, 0) for i in incarnations}
            return TreeSnapshot(
                self.head(), dict(self.tree.nodes).items(), dentries, dict(self.tree.aliases).items(), last
            )

    def last_sequence(self, incarnation: int) -> int:
        return self.last.get(incarnation, 0)

    def chunk_map(self, inode: int, version: tuple[int, int]):
        self._answer()
        if version == EMPTY_VERSION:
            return {}
        return {i: (hashlib.sha256(data).digest(), len(data)) for i, data in self.versions[inode, version][1].items()}

    def chunks(self, hashes):
        self._answer()
        time.sleep(self.slow_content_s)
        return {name: self.by_hash[name] for name in hashes if name in self.by_hash}

    def log(self, wanted):
        return iter(())

    # -- FeedSubscriber

    def unbroken(self) -> bool:
        return True

    def poll(self, timeout_s: float) -> FeedMessage | None:
        try:
            return self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
