"""Writes the confirmed tree out: content, modes, symlinks, hard links, times, from one snapshot of the store."""
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH114, PTH211 - names are bytes, which pathlib does not take

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import ContentUnavailable, RequestInvalid, WeirError
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, ROOT_INODE
from app.core.memory_tree import MemoryTree
from app.core.tree import Node
from app.ports import FileEventReader
from app.services import extended_attributes

GROUP_CHUNKS: Final = 32


class Exported(NamedTuple):
    """How far an export is."""

    entries: int
    entries_total: int
    content_bytes: int


@dataclass
class ExportCounts:
    """What was written; `position` is the log position that the tree stands at."""

    position: int = 0
    files: int = 0
    directories: int = 0
    symlinks: int = 0
    hard_links: int = 0
    special: int = 0
    content_bytes: int = 0
    skipped: list[tuple[bytes, str]] = field(default_factory=list)


def export_tree(
    reader: FileEventReader,
    target: Path,
    below: bytes = b"",
    *,
    force: bool = False,
    tell: Callable[[Exported], None] = lambda _e: None,
    own: Sequence[Path] = (),
) -> ExportCounts:
    """Write the tree below `below` into `target`. Raises RequestInvalid for a target in use or below one of `own`
    (Weir's mounts and state: an export there would come back as changes), ContentUnavailable.
    """
    for place in own:
        if target.resolve().is_relative_to(place.parent.resolve() / place.name):
            raise RequestInvalid(f"{target} is inside {place}, which is Weir's own; choose a folder outside")
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not force:
        raise RequestInvalid(f"{target} is not an empty folder; choose another, or add --force to write over it")
    snapshot = reader.load_tree()
    tree = MemoryTree()
    tree.fill(snapshot.nodes, snapshot.dentries, snapshot.aliases)
    start = _find(tree, below)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestInvalid(f"{target} cannot be made ({error.strerror}); choose a folder that can be made") from error
    export = _Export(reader, tree, tell)
    export.counts.position = snapshot.head.position
    try:
        export.run(start, os.fsencode(target))
    except OSError as error:
        where = os.fsdecode(error.filename or os.fsencode(target))
        raise WeirError(f"{where!r}: {error.strerror}; the export is not whole") from error
    return export.counts


def _find(tree: MemoryTree, path: bytes) -> int:
    inode: int = ROOT_INODE
    for name in (part for part in path.split(b"/") if part not in (b"", b".")):
        found = tree.child(inode, name)
        if found is None or not stat.S_ISDIR(tree.nodes[found].mode):
            raise RequestInvalid(f"{os.fsdecode(path)} is not a folder of the project")
        inode = found
    return inode


class _Export:
    def __init__(self, reader: FileEventReader, tree: MemoryTree, tell: Callable[[Exported], None]) -> None:
        self.counts = ExportCounts()
        self._reader = reader
        self._tree = tree
        self._tell = tell
        self._written: dict[int, bytes] = {}

    def run(self, start: int, target: bytes) -> None:
        """Write everything; folders get mode and times when all is in them, innermost first."""
        entries = list(self._walk(start, target))
        self._refuse_what_is_in_the_way(entries)
        for count, (inode, path) in enumerate(entries, 1):
            self._one(inode, self._tree.nodes[inode], path)
            self._tell(Exported(count, len(entries), self.counts.content_bytes))
        for inode, path in [*reversed(entries), (start, target)]:
            node = self._tree.nodes[inode]
            if stat.S_ISDIR(node.mode) and inode != ROOT_INODE:
                self._attributes(path, node)

    def _refuse_what_is_in_the_way(self, entries: Sequence[tuple[int, bytes]]) -> None:
        for inode, path in entries:
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            if os.path.lexists(path) and is_folder != stat.S_ISDIR(self._tree.nodes[inode].mode):
                kind = "a folder" if is_folder else "no folder"
                raise RequestInvalid(f"{os.fsdecode(path)!r} is {kind}, and in the way: move it; nothing was written")

    def _walk(self, start: int, target: bytes) -> Iterator[tuple[int, bytes]]:
        stack = [(start, target)]
        while stack:
            folder, path = stack.pop()
            for name, inode in sorted(self._tree.entries(folder)):
                yield inode, path + b"/" + name
                if stat.S_ISDIR(self._tree.nodes[inode].mode):
                    stack.append((inode, path + b"/" + name))

    def _one(self, inode: int, node: Node, path: bytes) -> None:
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFDIR:
            self.counts.directories += 1
            if not (os.path.isdir(path) and not os.path.islink(path)):
                os.mkdir(path, 0o700)
            return
        if os.path.lexists(path):
            os.unlink(path)
        if inode in self._written:
            self.counts.hard_links += 1
            os.link(self._written[inode], path, follow_symlinks=False)
            return
        self._written[inode] = path
        if kind == stat.S_IFREG:
            self._file(inode, node, path)
        elif kind == stat.S_IFLNK:
            self.counts.symlinks += 1
            os.symlink(node.target, path)
        elif not self._special(node, path):
            del self._written[inode]
            return
        self._attributes(path, node)

    def _attributes(self, path: bytes, node: Node) -> None:
        failed = _set_attributes(path, node)
        if failed:
            self.counts.skipped.append((path, failed))

    def _special(self, node: Node, path: bytes) -> bool:
        try:
            os.mknod(path, node.mode, node.rdev)
        except OSError as error:
            self.counts.skipped.append((path, os.strerror(error.errno or 0)))
            return False
        self.counts.special += 1
        return True

    def _file(self, inode: int, node: Node, path: bytes) -> None:
        self.counts.files += 1
        known = self._reader.chunk_map(inode, node.version) if node.version != EMPTY_VERSION else {}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, node.size)
            indexes = sorted(i for i in known if i * CHUNK_BYTES < node.size)
            for first in range(0, len(indexes), GROUP_CHUNKS):
                self._write_group(descriptor, indexes[first : first + GROUP_CHUNKS], known, node.size)
        finally:
            os.close(descriptor)
        self.counts.content_bytes += node.size

    def _write_group(
        self, descriptor: int, indexes: list[int], known: Mapping[int, tuple[bytes, int]], size: int
    ) -> None:
        wanted = list({known[i][0] for i in indexes})
        found = self._reader.chunks(wanted)
        for index in indexes:
            data = found.get(known[index][0])
            if data is None:
                raise ContentUnavailable(f"chunk {known[index][0].hex()} is not in the store")
            offset = index * CHUNK_BYTES
            view = memoryview(data)[: size - offset]
            while view:
                done = os.pwrite(descriptor, view, offset)
                view, offset = view[done:], offset + done


def _set_attributes(path: bytes, node: Node) -> str:
    """Owner first, which takes a capability away; then what a file that may not be written would refuse. Return which
    extended attributes could not be given, and why.
    """
    if os.geteuid() == 0:
        os.chown(path, node.uid, node.gid, follow_symlinks=False)
    failed = extended_attributes.write(path, node.xattrs)
    if not stat.S_ISLNK(node.mode):
        os.chmod(path, stat.S_IMODE(node.mode))
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)
    return failed
