"""What the handlers of one mount share: tree, content, open files, callers; and the questions that each of them asks.

Everything here is read and changed **with llfuse.lock held**. Two methods release it: `warm` (cold content) and
`throttle`; whoever calls them looks up again what it had looked up before.
"""

import errno
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import llfuse
from msgspec.structs import replace

from app.core.errors import ContentUnavailable, JournalFull
from app.core.ids import INODE_BITS, NAME_MAX, ROOT_INODE
from app.core.layers import LayeredTree
from app.core.tree import Node
from fuse_mount.appends import Appends
from fuse_mount.attributes import entry_of
from fuse_mount.border import Border
from fuse_mount.changes import Changes
from fuse_mount.cold import DEADLINE_S, ColdContent
from fuse_mount.content import Contents
from fuse_mount.drain import LOOK_S, Drain
from fuse_mount.errno_map import refuse
from fuse_mount.file_content import FileContent
from fuse_mount.files import Handle, OpenFiles
from fuse_mount.gate import Gate
from fuse_mount.parked import Parts
from fuse_mount.readers import Readers
from fuse_mount.sections import CURRENT, Sections, is_section, kernel_inode
from fuse_mount.shown import Shown
from fuse_mount.superseded import Superseded
from fuse_mount.who import Callers

PINNED_MAX_BYTES: Final = 96 * 1024 * 1024
"""Held in memory where the disk takes no more copies."""
COPIED_MAX_BYTES: Final = 4 * 1024 * 1024 * 1024
ANSWERS_MAX: Final = 4096
"""Ready-made attributes; about 400 bytes each."""


@dataclass(frozen=True)
class MountOptions:
    """What a mount was asked to be. `durability`: 'journal' or 'store'; without `xattrs` no write asks for one;
    `open_sections`: everybody may read debug/ and streams/.
    """

    name: str
    read_only: bool = False
    durability: str = "journal"
    pinned_max_bytes: int = PINNED_MAX_BYTES
    copied_max_bytes: int = COPIED_MAX_BYTES
    xattrs: bool = True
    open_sections: bool = False


@dataclass
class MountState:
    """One mount. `progress` is notified when the store has confirmed something of ours; `unasked_writes`: the kernel is
    asked, then has agreed, not to look for security.capability before each write (handshake.py); `unasked_closes`: it
    tells of an open file's last close only, and waits for no answer.
    """

    options: MountOptions
    tree: LayeredTree
    changes: Changes
    contents: Contents
    cold: ColdContent
    callers: Callers
    sections: Sections
    counters: Counter[str]
    gate: Gate
    ephemeral: Path | None = None
    border: Border = field(init=False)
    files: OpenFiles = field(default_factory=OpenFiles)
    lookups: dict[int, int] = field(default_factory=dict)
    superseded: Superseded = field(default_factory=Superseded)
    appends: Appends = field(default_factory=Appends)
    shown: Shown = field(init=False)
    readers: Readers = field(default_factory=lambda: Readers(1))
    progress: threading.Condition = field(default_factory=threading.Condition)
    confirmed: dict[int, int] = field(default_factory=dict)
    stalled: dict[int, int] | None = None
    made: int = 0
    unasked_writes: bool = False
    unasked_closes: bool = False
    answers: dict[int, tuple[Node, llfuse.EntryAttributes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What is shown depends on who reads; `ephemeral` is the folder of what has no history, None without any."""
        self.shown = Shown(self.files.counts)
        self.border = Border(self.tree, self.contents, self.ephemeral)
        self.gate.ephemeral_inside = self.border.names_inside

    def directory(self, parent: int) -> int:
        """Return the tree's inode of a directory where something is to change."""
        if is_section(parent):
            raise refuse(errno.EROFS if self.options.read_only else errno.EPERM)
        if self.options.read_only:
            raise refuse(errno.EROFS)
        inode = self.inode(parent)
        node = self.tree.nodes.get(inode)
        if node is None:
            raise refuse(errno.ENOENT)
        if not stat.S_ISDIR(node.mode):
            raise refuse(errno.ENOTDIR)
        return inode

    def inode(self, inode: int) -> int:
        """Return the tree's number of a kernel inode: merged directories lead to the one that stayed."""
        if inode == CURRENT:
            return ROOT_INODE
        return self.tree.aliases.get(inode, inode) if self.tree.aliases else inode

    def node(self, inode: int) -> Node:
        """Return the node of a tree's inode, also of one that has lost its last name and is still held.

        ESTALE where it is gone: the kernel then looks its name up anew, which may lead to another inode by now (a file
        that another mount has replaced by a rename is at no time absent).
        """
        node = self.tree.nodes.get(inode)
        if node is None:
            node = self.changes.orphans.get(inode)
            if node is None:
                raise refuse(errno.ESTALE)
        return node

    def attributes(self, inode: int, node: Node) -> llfuse.EntryAttributes:
        """As `entry`, which nobody changes: kept in `answers` while the node is the same. Who has asked may well ask
        again, while what a new name is answered with is seldom asked for.
        """
        entry = self.entry(inode, node)
        if inode != ROOT_INODE and not self.is_moving(inode):  # whose number is another inode's in the kernel
            if len(self.answers) >= ANSWERS_MAX:
                self.answers.clear()
            self.answers[inode] = node, entry
        return entry

    def is_moving(self, inode: int) -> bool:
        """Tell whether an inode's attributes may change though its node stays the same."""
        return bool(self.shown.before) or inode in self.contents.dirty or inode in self.border.changed_ns

    def entry(self, inode: int, node: Node) -> llfuse.EntryAttributes:
        """Return attributes as the kernel gets them."""
        before = self.shown.before.get(inode)
        shown = node if before is None else before.node
        file = self.contents.files.get(inode)
        if file is not None and file.version != shown.version and not file.since_s:
            file = None
        if inode == ROOT_INODE and not shown.uid:
            shown = replace(shown, uid=os.getuid(), gid=os.getgid())
        entry = entry_of(kernel_inode(inode), shown, file)
        if before is not None:
            entry.attr_timeout = 0.0
        if node.parent and inode in self.border.changed_ns:
            self.border.dress(inode, entry)
        return entry

    def found(self, inode: int, node: Node) -> llfuse.EntryAttributes:
        """Return attributes and count one more look-up by the kernel."""
        self.lookups[inode] = self.lookups.get(inode, 0) + 1
        return self.entry(inode, node)

    def content(self, inode: int) -> FileContent:
        """Return a regular file's newest content, which is shown from now on."""
        self.shown.drop(inode)
        node = self.node(inode)
        return self.contents.at(inode, node.version, node.size, node.mtime_ns)

    def content_shown(self, inode: int) -> FileContent:
        """Return the content that programs see of a regular file."""
        before = self.shown.before.get(inode)
        if before is None or self._is_own(inode, before.node):
            return self.content(inode)
        before.answers += 1
        return self.contents.at(inode, before.node.version, before.node.size, before.node.mtime_ns)

    def _is_own(self, inode: int, shown: Node) -> bool:
        """Tell whether this mount has changed a file since: `shown` must not take what nobody else has."""
        held = self.contents.files.get(inode)
        return held is not None and held.version != shown.version and held.version == self.node(inode).version

    def content_written(self, handle: Handle, fh: int, offset: int, length: int) -> FileContent:
        """Return the content that a write goes to; for a page mapped before a foreign version came, the one before."""
        appended = handle.append and offset in self.appends.ends.get(handle.inode, ())
        before = None if appended else self.superseded.written(handle.inode, fh, offset, length)
        if before is not None and handle.inode not in self.contents.dirty:
            self.counters["pages written to a version that another mount had replaced"] += 1
            self.contents.drop(handle.inode)
            self.contents.at(handle.inode, before.version, before.size, before.mtime_ns).expected = True
        return self.content(handle.inode)

    def fresh_name(self, parent: int, name: bytes) -> None:
        """Refuse a name that is too long or taken."""
        if len(name) > NAME_MAX:
            raise refuse(errno.ENAMETOOLONG)
        if self.tree.child(parent, name) is not None:
            raise refuse(errno.EEXIST)

    def named(self, parent: int, name: bytes) -> int:
        """Return the inode at a name."""
        child = self.tree.child(parent, name)
        if child is None:
            raise refuse(errno.ENAMETOOLONG if len(name) > NAME_MAX else errno.ENOENT)
        return child

    def new_inode(self) -> int:
        """Return an inode number that nobody has had."""
        self.made += 1
        return (self.changes.journal.incarnation << INODE_BITS) + self.made

    def path(self, parent: int, name: bytes) -> bytes:
        """Return the path of a name in a directory, without a leading slash."""
        above = self.tree.path_of(parent)
        return above + b"/" + name if above else name

    def keep_orphan(self, inode: int, node: Node, at_ns: int) -> None:
        """After an inode has lost its last name: keep it while somebody holds it, else let it go."""
        if inode in self.tree.nodes:
            return
        if self.files.counts.get(inode) or self.lookups.get(inode):
            self.changes.orphans[inode] = replace(node, nlink=0, ctime_ns=at_ns)
        if not self.files.counts.get(inode):
            self.contents.let_go(inode)

    def released(self, inode: int) -> None:
        """After a last close or a forget: let an inode without a name go."""
        self.shown.released(inode)
        if self.appends.ends and not self.files.counts.get(inode):
            self.appends.released(inode)
        if inode in self.changes.orphans and not self.files.counts.get(inode):
            self.contents.let_go(inode)
            if not self.lookups.get(inode):
                del self.changes.orphans[inode]

    def warm(
        self, inode: int, content: Callable[[int], FileContent], cold: Callable[[FileContent], list[int]]
    ) -> FileContent:
        """Fetch what `cold` names of `content` until it names nothing; return that. Releases llfuse.lock."""
        file = content(inode)
        wanted = self.contents.recall(file, cold(file))
        deadline_s = time.monotonic() + DEADLINE_S
        while wanted:
            parked = {index: file.places[index] for index in wanted if index in file.places}
            if parked:
                self._unpark(inode, content, parked, deadline_s)
            else:
                self._fetch(file, content, wanted, deadline_s)
            file = content(inode)
            wanted = self.contents.recall(file, cold(file))
            if wanted and time.monotonic() > deadline_s:
                raise ContentUnavailable(f"inode {inode}: changed faster than it could be read")
        return file

    def _fetch(
        self, file: FileContent, content: Callable[[int], FileContent], wanted: list[int], deadline_s: float
    ) -> None:
        inode, version, known = file.inode, file.base, file.map
        if self.contents.is_unconfirmed(version):
            self.counters["own unconfirmed content asked of the store"] += 1
        with self.waits_with_pages(inode):
            found = self.cold.fetch(inode, version, known, wanted, deadline_s)
        file = content(inode)
        if file.base == version:
            file.map = found.map if file.map is None else file.map
            for index, data in found.chunks.items():
                self.contents.fetched(file, index, data)
        self.counters["chunks fetched"] += len(found.chunks)

    def _unpark(
        self, inode: int, content: Callable[[int], FileContent], parked: dict[int, Parts], deadline_s: float
    ) -> None:
        """Read parked chunks from the disk. Their places are held: nothing else may come to stand there meanwhile."""
        parking = self.contents.parking
        places = [part.place for parts in parked.values() for part in parts if parking.hold(part.place)]
        try:
            with self.waits_with_pages(inode):
                found = self.cold.recall(inode, parking, parked, deadline_s)
        finally:
            for place in places:
                parking.let_go(place)
        file = content(inode)
        for index, data in found.items():
            self.contents.recalled(file, index, parked[index], data)
        self.counters["parked chunks waited for"] += len(found)

    @contextmanager
    def waits_with_pages(self, inode: int) -> Iterator[None]:
        """A read or write of the inode waits, llfuse.lock released: the kernel has pages of it locked."""
        waits = self.shown.page_waits
        waits[inode] += 1
        try:
            with self.readers:
                yield
        finally:
            waits[inode] -= 1
            if not waits[inode]:
                del waits[inode]
                self.shown.waited(inode)

    def throttle(self, inode: int, tight: Callable[[], bool]) -> None:
        """Let a write wait while `tight`; ENOSPC where the store confirms nothing for 10 s. Releases llfuse.lock."""
        drain = Drain(self.confirmed, self.stalled)
        while tight():
            self.await_drain(inode, drain)

    def await_drain(self, inode: int, drain: Drain) -> None:
        """Let a write wait until something of ours is confirmed, or 0.1 s; ENOSPC as for `throttle`."""
        if drain.looks == 0:
            self.counters["throttled"] += 1
        with self.waits_with_pages(inode), self.progress:
            self.progress.wait(LOOK_S)
        if drain.is_stalled(self.confirmed):
            self.stalled = dict(self.confirmed)
            raise JournalFull("the bound of unconfirmed bytes is reached and nothing drains")
