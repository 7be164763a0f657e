"""A mount without a kernel: real handlers, tree, content and feed over a store of a few lines, which answers for what was
committed and for nothing else.
"""

# ruff: noqa: SLF001 - the feed's own step is what is told of events

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import llfuse

from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from app.core.layers import LayeredTree
from app.core.memory_tree import MemoryTree
from app.core.messages import FeedEvent, Outcome
from app.core.operations import Content, FileOperationRequest, Operation, encode_request, kind_of
from app.core.tree import apply, composed_version
from app.ports import Parking
from fuse_mount.changes import Changes
from fuse_mount.cold import Fetched
from fuse_mount.content import Contents
from fuse_mount.feed import Feed
from fuse_mount.gate import Gate
from fuse_mount.operations import Operations
from fuse_mount.parked import Parts, read
from fuse_mount.sections import CURRENT, Sections
from fuse_mount.state import MountOptions, MountState
from fuse_mount.who import Who

sys.path.insert(0, str(Path(__file__).parent))
from memory_parking import MemoryParking  # noqa: E402

MINE, THEIRS = 1, 2


class Callers:
    """Everybody is nobody."""

    def who(self, pid: int) -> Who:  # noqa: ARG002
        return Who("nobody")


class Context:
    """What llfuse says of a caller."""

    uid, gid, pid, umask = 0, 0, 1, 0


class Size:
    """A setattr that names the size alone."""

    update_size = True
    update_atime = update_mtime = update_mode = update_uid = update_gid = False


class Journal:
    """An OperationLog in memory. `written` are the bytes of each sealed version, composed as the courier does it."""

    incarnation, segment, bytes_on_disk = MINE, 0, 0

    def __init__(self, stored: dict[VersionId, bytes], seed: int = 0) -> None:
        self.parking = MemoryParking(seed)
        self.requests: list[FileOperationRequest] = []
        self.written: dict[VersionId, bytes] = {}
        self._stored = stored
        self._writes: dict[int, list[tuple[int, bytes]]] = {}

    @property
    def next_sequence(self) -> int:
        return len(self.requests) + 1

    def append_operation(self, request: FileOperationRequest) -> None:
        self.requests.append(request)
        content = request.operation
        if not isinstance(content, Content):
            return
        data = bytearray(self.written[content.base] if content.base in self.written else self._stored[content.base])
        for offset, part in self._writes.pop(content.inode, []):
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(part)] = part
        if content.truncated:
            data = data[: content.size].ljust(content.size, b"\0")
        assert len(data) == content.size
        self.written[MINE, request.origin_seq] = bytes(data)

    def append_write(self, inode: int, offset: int, data: bytes, *_base: object) -> int:
        self._writes.setdefault(inode, []).append((offset, data))
        return self.parking.appended(data)

    def sync(self) -> None: ...
    def close(self) -> None: ...


class Kernel:
    """A KernelCache that forgets nothing."""

    def forget_inode(self, inode: int, *, attributes_only: bool = False) -> None: ...
    def forget_entry(self, parent: int, name: bytes) -> None: ...
    def forget_everything(self) -> None: ...
    def reached(self, position: int) -> None: ...


class Store:
    """Committed events, their tree, and the bytes of committed versions; also what the mount asks for cold content."""

    def __init__(self) -> None:
        self.tree = MemoryTree()
        self.bytes: dict[VersionId, bytes] = {EMPTY_VERSION: b""}
        self.failures: list[str] = []
        self.while_waiting = lambda: None
        self.position = 0
        self._sequence = 0

    def commit(
        self, request: FileOperationRequest, incarnation: int, data: bytes, refused: Outcome | None = None
    ) -> FeedEvent:
        operation = request.operation
        before = self.tree.node(operation.inode)
        outcome = refused or apply(self.tree, request, incarnation, f"m{incarnation}")
        version = (incarnation, request.origin_seq)
        if isinstance(operation, Content):
            self.bytes[version] = data
        if outcome.kind == "composed" and isinstance(operation, Content) and before is not None:
            self.bytes[composed_version(version)] = self.bytes[before.version] + data[operation.append_from :]
        self.position += 1
        return FeedEvent(
            self.position, incarnation, request.origin_seq, f"m{incarnation}", encode_request(request), outcome, b""
        )

    def foreign(self, operation: Operation, data: bytes = b"") -> FeedEvent:
        self._sequence += 1
        at_ns = 1_000 + self._sequence
        request = FileOperationRequest(self._sequence, at_ns, kind_of(operation), b"", "", "", "", operation, "", 0)
        return self.commit(request, THEIRS, data)

    def recall(
        self,
        inode: int,  # noqa: ARG002
        parking: Parking,
        places: dict[int, Parts],
        deadline_s: float,  # noqa: ARG002
    ) -> dict[int, bytes]:
        self.while_waiting()
        return {index: read(parking, parts, wait=True) or b"" for index, parts in places.items()}

    def fetch(
        self,
        inode: int,  # noqa: ARG002
        version: VersionId,
        known: Any,  # noqa: ARG002
        wanted: list[int],
        deadline_s: float,  # noqa: ARG002
    ) -> Fetched:
        assert version in self.bytes, f"content of {version} was asked for, which is not committed"
        data = self.bytes[version]
        chunks = {at // CHUNK_BYTES: data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)}
        return Fetched({at: (b"h", len(part)) for at, part in chunks.items()}, {at: chunks[at] for at in wanted if at in chunks})


class Mount:
    """One mount: programs call it, the store commits what it journalled, foreign events reach it."""

    def __init__(self, clean_max_bytes: int = 1 << 20, pinned_bytes: int = 1 << 20, seed: int = 0) -> None:
        self.store = Store()
        self.journal = Journal(self.store.bytes, seed)
        counters: Counter[str] = Counter()
        tree = LayeredTree(MINE, f"m{MINE}")
        contents = Contents(clean_max_bytes, self.journal.parking, pinned_bytes)
        self.state = MountState(
            options=MountOptions("m1"), tree=tree, changes=Changes(tree, self.journal, contents, counters),
            contents=contents, cold=self.store, callers=Callers(), sections=Sections(Path("/nonexistent")),
            counters=counters, gate=Gate(tree, counters),
        )  # type: ignore[arg-type]  # fmt: skip
        self.calls = Operations(self.state, Path("/"))
        self.feed = Feed(self.state, Kernel(), None, None, "p")  # type: ignore[arg-type]
        self.feed.own = {MINE}
        self.committed = 0

    def has(self, name: bytes) -> int | None:
        return self.state.tree.child(1, name)

    def open(self, name: bytes, flags: int) -> int:
        with llfuse.lock:
            inode = self.has(name)
            if inode is None:
                return int(self.calls.create(CURRENT, name, 0o644, flags & ~os.O_TRUNC, Context())[0])
            return int(self.calls.open(inode, flags, Context()))

    def write(self, handle: int, data: bytes, offset: int | None = None) -> None:
        """As the kernel does it: at most 128 KiB a request, cut where the file's pages are; O_APPEND at the end."""
        if offset is None:
            held = self.state.files.handles[handle]
            offset = self.state.content(held.inode).size if held.append else 0
        while data:
            length = min(len(data), CHUNK_BYTES - offset % CHUNK_BYTES)
            with llfuse.lock:
                self.calls.write(handle, offset, data[:length])
            offset, data = offset + length, data[length:]

    def close(self, handle: int) -> None:
        with llfuse.lock:
            self.calls.flush(handle)
            self.calls.release(handle)

    def put(self, name: bytes, data: bytes, flags: int = os.O_WRONLY | os.O_TRUNC) -> None:
        handle = self.open(name, flags)
        self.write(handle, data)
        self.close(handle)

    def truncate(self, name: bytes, size: int) -> None:
        inode = self.has(name)
        entry = llfuse.EntryAttributes()
        entry.st_size = size
        with llfuse.lock:
            self.calls.setattr(inode, entry, Size(), None, Context())

    def unlink(self, name: bytes) -> None:
        with llfuse.lock:
            self.calls.unlink(CURRENT, name, Context())

    def rename(self, name: bytes, new: bytes) -> None:
        with llfuse.lock:
            self.calls.rename(CURRENT, name, CURRENT, new, Context())

    def read(self, name: bytes) -> bytes:
        handle = self.open(name, os.O_RDONLY)
        with llfuse.lock:
            data = self.calls.read(handle, 0, 1 << 22)
            self.calls.release(handle)
        return bytes(data)

    def ship(self, refused: Outcome | None = None) -> None:
        """Commit the next journalled request and hear of it."""
        request = self.journal.requests[self.committed]
        self.committed += 1
        data = self.journal.written[MINE, request.origin_seq] if isinstance(request.operation, Content) else b""
        refused = refused if isinstance(request.operation, Content) else None
        self.hear(self.store.commit(request, MINE, data, refused))

    def ship_all(self) -> None:
        while self.committed < len(self.journal.requests):
            self.ship()

    def hear(self, *events: FeedEvent) -> None:
        assert self.feed._fold(events)
        self.state.shown.before.clear()  # as the kernel is told at once
