"""Brings an existing folder into the project: an origin of its own, journalled and shipped like a mount's changes.

What is there already and identical is skipped, so that an import that was killed is finished by starting it again:
first what it had journalled is shipped, then the rest is compared. A file that differs is replaced (truncated and
written anew), a symlink that differs too; a name that is another kind of thing is refused and counted.
"""

import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from app.core.chunks import chunk_hash, project_key
from app.core.errors import RequestInvalid, WeirError
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, ROOT_INODE, Incarnation, VersionId, first_inode
from app.core.memory_tree import MemoryTree
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Operation,
    SetAttr,
    Unlink,
    kind_of,
)
from app.core.tree import Node, apply
from app.ports import FileEventReader, OperationLog
from app.services import extended_attributes
from app.services.inline_courier import POLL_S, ImportOrigin, RunningCourier
from app.services.source_folder import READ_BYTES, check_outside, data_from, walk

SEAL_BYTES: Final = 8 * 1024 * 1024
JOURNAL_AHEAD_BYTES: Final = 256 * 1024 * 1024
_SPECIAL: Final = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFBLK: "block device", stat.S_IFCHR: "device"}


class ImportParts(NamedTuple):
    """What an import works with. `leftovers` names folders of imports that were killed; `excluded` are paths
    that are not brought in (Weir's own home and mount points).
    """

    project: str
    reader: FileEventReader
    open_origin: Callable[[str], ImportOrigin]
    leftovers: Callable[[], list[str]]
    excluded: frozenset[bytes]
    close: Callable[[], None] = lambda: None


class Options(NamedTuple):
    """`special`: bring fifos and devices in as well (sockets never)."""

    into: bytes = b""
    agent: str = "import"
    special: bool = False


@dataclass
class Counts:
    """What an import did; paths are relative to the source."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    hard_links: int = 0
    special: int = 0
    content_bytes: int = 0
    unchanged: int = 0
    replaced: int = 0
    requests: int = 0
    acked: int = 0
    rejected: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)


class Progress(NamedTuple):
    """How far an import is: entries seen of `entries_total`; requests journalled and acknowledged. `waits`: for the
    store, else it reads.
    """

    entries: int
    entries_total: int
    journalled: int
    acked: int
    note: str
    waits: bool


def check(source: Path, options: Options) -> None:
    """Raise RequestInvalid where an import cannot be: needs no server."""
    if options.into.startswith(b"/") or b".." in options.into.split(b"/") or b"\0" in options.into:
        into = os.fsdecode(options.into)
        raise RequestInvalid(f"--into {into!r} is no folder of the project; name it from the project's root: src/lib")
    if not source.is_dir():
        raise RequestInvalid(f"{source} is not a folder; name the folder whose content is to be brought in")


def import_folder(
    parts: ImportParts, source: Path, options: Options, tell: Callable[[Progress], None] = lambda _p: None
) -> Counts:
    """Bring `source` in and return when the store has all of it. Raises RequestInvalid, WeirError."""
    check(source, options)
    check_outside(source, [Path(os.fsdecode(place)) for place in parts.excluded])
    for name in parts.leftovers():
        with RunningCourier(parts.open_origin(name)) as leftover:
            leftover.finish(lambda: tell(Progress(0, 0, 0, 0, leftover.note, waits=True)))
        leftover.origin.discard()
    total = sum(1 for _entry in walk(os.fsencode(source), parts.excluded))
    origin = parts.open_origin(f"import-{uuid.uuid4().hex[:12]}")
    with RunningCourier(origin) as running:
        number = running.incarnation(lambda: tell(Progress(0, 0, 0, 0, running.note, waits=True)))
        tell(Progress(0, total, 0, 0, "", waits=False))
        log = origin.journal.start(number, {}, lambda _inode: None)
        snapshot = parts.reader.load_tree()
        tree = MemoryTree()
        tree.fill(snapshot.nodes, snapshot.dentries, snapshot.aliases)
        writer = _Writer(log, tree, options.agent)

        def show(entries: int) -> None:
            journalled, acked = log.next_sequence - 1, origin.courier.acked
            tell(Progress(entries, total, journalled, acked, running.note, waits=journalled > acked))

        def report(entries: int) -> None:
            running.check()
            show(entries)
            while log.bytes_on_disk > JOURNAL_AHEAD_BYTES:
                running.check()
                time.sleep(POLL_S)
                show(entries)

        bringing = _Bringing(writer, parts, options, report)
        try:
            bringing.run(os.fsencode(source))
        finally:
            log.close()
        counts = bringing.counts
        counts.requests = log.next_sequence - 1
        running.finish(lambda: show(total))
        counts.acked = origin.courier.acked
        if counts.acked < counts.requests:
            raise WeirError(f"the store has {counts.acked} of {counts.requests} events; start the import again")
        counts.rejected = origin.courier.status.rejected_count
    origin.discard()
    return counts


class _Writer:
    """Appends to the journal what changes the tree, and changes it."""

    def __init__(self, log: OperationLog, tree: MemoryTree, agent: str) -> None:
        self.tree = tree
        self.log = log
        self._agent = agent
        self._inode = first_inode(Incarnation(log.incarnation)) - 1

    def fresh_inode(self) -> int:
        self._inode += 1
        return self._inode

    def do(self, operation: Operation, path: bytes) -> VersionId:
        """Journal and apply one operation; return the version that it makes, if it is content."""
        sequence = self.log.next_sequence
        base = operation.base if isinstance(operation, Content) else EMPTY_VERSION
        request = FileOperationRequest(
            sequence, time.time_ns(), kind_of(operation), path, self._agent, "", "", operation, base_version=base
        )
        self.log.append_operation(request)
        apply(self.tree, request, self.log.incarnation, "import")
        return self.log.incarnation, sequence

    def write(self, inode: int, offset: int, data: bytes) -> None:
        self.log.append_write(inode, offset, data)


class _Bringing:
    def __init__(self, writer: _Writer, parts: ImportParts, options: Options, report: Callable[[int], None]) -> None:
        self.counts = Counts()
        self._writer = writer
        self._tree = writer.tree
        self._parts = parts
        self._options = options
        self._report = report
        self._count = 0
        self._key = project_key(parts.project)
        self._linked: dict[tuple[int, int], int] = {}
        self._folders: dict[bytes, int] = {}
        self._finished: list[tuple[int, bytes, bytes, os.stat_result]] = []

    def run(self, source: bytes) -> None:
        """Bring everything in; folders get their times when all is in them."""
        source = source.rstrip(b"/") or b"/"
        self._folders[source] = self._destination()
        for count, (path, found) in enumerate(walk(source, self._parts.excluded), 1):
            folder, name = path.rsplit(b"/", 1)
            parent = self._folders.get(folder or b"/")
            if parent is not None:
                self._one(path, path[len(source) :].lstrip(b"/"), parent, name, found)
            self._count = count
            self._report(count)
        for inode, path, relative, found in reversed(self._finished):
            self._set_attributes(inode, path, relative, found)

    def _destination(self) -> int:
        inode: int = ROOT_INODE
        path = b""
        for name in (part for part in self._options.into.split(b"/") if part not in (b"", b".")):
            path = path + b"/" + name if path else name
            found = self._tree.child(inode, name)
            if found is None:
                found = self._writer.fresh_inode()
                self._writer.do(Make(inode, name, found, stat.S_IFDIR | 0o755, os.getuid(), os.getgid()), path)
            elif not stat.S_ISDIR(self._tree.nodes[found].mode):
                raise RequestInvalid(f"{os.fsdecode(path)} is not a folder of the project; choose another --into")
            inode = found
        return inode

    def _one(self, path: bytes, relative: bytes, parent: int, name: bytes, found: os.stat_result) -> None:
        kind = stat.S_IFMT(found.st_mode)
        there = self._tree.child(parent, name)
        node = self._tree.nodes.get(there) if there is not None else None
        if node is not None and stat.S_IFMT(node.mode) != kind:
            self.counts.refused.append((relative, "the project has another kind of thing under this name"))
        elif kind == stat.S_IFDIR:
            self._folder(path, relative, parent, name, found, there)
        elif kind == stat.S_IFLNK:
            self._symlink(path, relative, parent, name, found, there)
        elif kind == stat.S_IFREG:
            self._file(path, relative, parent, name, found, there)
        else:
            self._special(path, relative, parent, name, found, there)

    def _make(self, relative: bytes, parent: int, name: bytes, found: os.stat_result, target: bytes = b"") -> int:
        inode = self._writer.fresh_inode()
        mode, uid, gid = found.st_mode, found.st_uid, found.st_gid
        rdev = found.st_rdev if stat.S_IFMT(mode) in _SPECIAL else 0
        self._writer.do(Make(parent, name, inode, mode, uid, gid, rdev, target), relative)
        return inode

    def _folder(
        self, path: bytes, relative: bytes, parent: int, name: bytes, found: os.stat_result, there: int | None
    ) -> None:
        inode = self._make(relative, parent, name, found) if there is None else there
        self._folders[path] = inode
        self._finished.append((inode, path, relative, found))
        self.counts.directories += 1

    def _symlink(
        self, path: bytes, relative: bytes, parent: int, name: bytes, found: os.stat_result, there: int | None
    ) -> None:
        target = os.readlink(path)  # noqa: PTH115 - names are bytes
        self.counts.symlinks += 1
        if there is not None and self._tree.nodes[there].target == target:
            self.counts.unchanged += not self._set_attributes(there, path, relative, found)
            return
        if there is not None:
            self._writer.do(Unlink(parent, name, there), relative)
            self.counts.replaced += 1
        self._set_attributes(self._make(relative, parent, name, found, target), path, relative, found)

    def _special(
        self, path: bytes, relative: bytes, parent: int, name: bytes, found: os.stat_result, there: int | None
    ) -> None:
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK or not self._options.special:
            self.counts.refused.append((relative, _SPECIAL.get(kind, "unknown kind")))
            return
        self.counts.special += 1
        inode = self._make(relative, parent, name, found) if there is None else there
        self._set_attributes(inode, path, relative, found)

    def _file(
        self, path: bytes, relative: bytes, parent: int, name: bytes, found: os.stat_result, there: int | None
    ) -> None:
        twin = self._linked.get((found.st_dev, found.st_ino))
        if twin is not None:
            self._hard_link(relative, parent, name, twin, there)
            return
        self.counts.files += 1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            self.counts.refused.append((relative, os.strerror(error.errno or 0)))
            return
        try:
            inode = self._content(descriptor, relative, parent, name, found, there)
        finally:
            os.close(descriptor)
        if found.st_nlink > 1:
            self._linked[found.st_dev, found.st_ino] = inode

    def _hard_link(self, relative: bytes, parent: int, name: bytes, twin: int, there: int | None) -> None:
        self.counts.hard_links += 1
        if there == twin:
            self.counts.unchanged += 1
            return
        if there is not None:
            self._writer.do(Unlink(parent, name, there), relative)
            self.counts.replaced += 1
        self._writer.do(Link(twin, parent, name), relative)

    def _content(
        self, descriptor: int, relative: bytes, parent: int, name: bytes, found: os.stat_result, there: int | None
    ) -> int:
        node = self._tree.nodes[there] if there is not None else None
        if there is not None and node is not None:
            if self._is_same(descriptor, there, node, found.st_size):
                self.counts.unchanged += not self._set_attributes(there, descriptor, relative, found)
                return there
            self.counts.replaced += 1
            base = self._writer.do(Content(there, node.version, 0, found.st_mtime_ns, truncated=True), relative)
            self._copy(descriptor, there, relative, base, found)
            self._set_attributes(there, descriptor, relative, found)
            return there
        inode = self._make(relative, parent, name, found)
        self._copy(descriptor, inode, relative, EMPTY_VERSION, found)
        self._set_attributes(inode, descriptor, relative, found)
        return inode

    def _copy(self, descriptor: int, inode: int, relative: bytes, base: VersionId, found: os.stat_result) -> None:
        """Journal the content: writes (zeros are holes), a seal every SEAL_BYTES and one at the end."""
        offset, unsealed = data_from(descriptor, 0), 0
        while data := os.pread(descriptor, READ_BYTES, offset):
            if data.count(0) != len(data):
                self._writer.write(inode, offset, data)
                unsealed += len(data)
            self._report(self._count)
            offset = data_from(descriptor, offset + len(data))
            if unsealed >= SEAL_BYTES:
                base, unsealed = self._writer.do(Content(inode, base, offset, found.st_mtime_ns), relative), 0
        node = self._tree.nodes.get(inode)
        if offset and (node is None or unsealed or node.size != offset):
            self._writer.do(Content(inode, base, offset, found.st_mtime_ns), relative)
        self.counts.content_bytes += offset

    def _is_same(self, descriptor: int, inode: int, node: Node, size: int) -> bool:
        if node.size != size:
            return False
        known = self._parts.reader.chunk_map(inode, node.version) if node.version != EMPTY_VERSION else {}
        offset, looked = 0, set[int]()
        while (offset := data_from(descriptor, offset)) < size:
            data = os.pread(descriptor, CHUNK_BYTES, offset)
            index = offset // CHUNK_BYTES
            if chunk_hash(self._key, data) != known.get(index, (b"", 0))[0]:
                return False
            looked.add(index)
            self._report(self._count)
            offset += CHUNK_BYTES
        return known.keys() <= looked

    def _set_attributes(self, inode: int, place: bytes | int, relative: bytes, found: os.stat_result) -> bool:
        """Bring extended attributes, mode, owner and time to those of the source; return whether anything differed."""
        node = self._tree.nodes.get(inode)
        if node is None:
            return False
        mode = stat.S_IMODE(found.st_mode)
        differing: list[Operation] = [*extended_attributes.changes(inode, node.xattrs, self._extended(place, relative))]
        change = SetAttr(
            inode,
            mode=mode if stat.S_IMODE(node.mode) != mode and not stat.S_ISLNK(node.mode) else None,
            uid=found.st_uid if node.uid != found.st_uid else None,
            gid=found.st_gid if node.gid != found.st_gid else None,
            mtime_ns=found.st_mtime_ns if node.mtime_ns != found.st_mtime_ns else None,
        )
        if change != SetAttr(inode):
            differing.append(change)
        for operation in differing:
            self._writer.do(operation, relative)
        return bool(differing)

    def _extended(self, place: bytes | int, relative: bytes) -> dict[bytes, bytes]:
        try:
            return extended_attributes.read(place)
        except OSError as error:
            self.counts.refused.append((relative, f"extended attributes: {os.strerror(error.errno or 0)}"))
            return {}
