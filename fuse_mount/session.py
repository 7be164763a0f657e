"""A mount from its start to its end.

**Order of the start** (nothing is served before its last step): subscribe and buffer; read head, tree and the last
sequences of this origin in one transaction; take an incarnation; recover older journals and begin a new one; fold
what is pending, content too; read the gap. **Order of the end**: no more requests, seal everything, flush the
journal, unmount.
"""

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Final, TypeVar

import llfuse

from app.core.chunks import Extent
from app.core.errors import Unavailable
from app.core.ids import VersionId
from app.core.layers import LayeredTree
from app.core.operations import Content
from app.core.seal_plan import PlannedRequest
from app.ports import ChangeLeave, MountParts, OperationLog, TreeSnapshot
from fuse_mount.changes import SEAL_S, Changes
from fuse_mount.cold import DEADLINE_S, ColdContent
from fuse_mount.content import Contents
from fuse_mount.feed import Feed
from fuse_mount.file_content import FileContent
from fuse_mount.gate import Gate
from fuse_mount.kernel_cache import NotifiedCache
from fuse_mount.readers import PLENTY, Readers
from fuse_mount.reports import Reports
from fuse_mount.sections import Sections, kernel_inode
from fuse_mount.state import MountOptions, MountState
from fuse_mount.watchdog import LOCK_S as LOCK_TRIED_S
from fuse_mount.watchdog import watch
from fuse_mount.who import Callers

log: Final = logging.getLogger(__name__)
CLEAN_MAX_BYTES: Final = 32 * 1024 * 1024
T = TypeVar("T")
WAIT_FIRST_S: Final = 0.05
WAIT_MAX_S: Final = 2.0
RULES_S: Final = 0.02
TICKETS_S: Final = 0.5
LOCK_S: Final = 1  # whole seconds: llfuse cuts off the rest


@dataclass
class Session:
    """A started mount: what the handlers share, what follows the feed, what tells the kernel."""

    state: MountState
    feed: Feed
    cache: NotifiedCache
    leave: ChangeLeave | None = None

    def seal_while(self, stopping: Event) -> None:
        """Body of the sealing thread: content older than 1 s becomes an event."""
        while not stopping.wait(SEAL_S / 4):
            if self.state.contents.dirty:
                with llfuse.lock:
                    self.state.changes.seal_older_than(SEAL_S)

    def watch(self, connection: str, stopping: Event) -> None:
        """Body of the watching thread. A notification waits for pages that a read or write under way has locked."""
        cache, waits = self.cache, self.state.shown.page_waits
        watch(lambda: cache.busy_since_s, lambda: cache.busy_inode in waits, _lock_is_free, connection, stopping)

    def follow_rules(self, stopping: Event) -> None:
        """Body of the rules' thread: changed files are in force within 0.1 s, those that do not load are told."""
        rules = self.state.gate.rules
        while not stopping.wait(RULES_S):
            told = rules.alert
            rules.refresh()
            if rules.alert != told:
                log.warning("rules: %s", rules.alert or "they load again")

    def follow_tickets(self, stopping: Event) -> None:
        """Body of the thread that learns what a person answered to a refused change."""
        while self.leave is not None and not stopping.wait(TICKETS_S):
            self.leave.refresh()

    def follow_patterns(self, stopping: Event) -> None:
        """Body of the thread that fetches `.weirignore` where another mount changed it."""
        if self.state.ephemeral is not None:
            self.state.border.patterns.run(self.state.cold, stopping)

    def finish(self) -> bool:
        """Seal everything and put the journal on disk. False where somebody keeps llfuse.lock: then unsealed bytes
        stay in the journal as they are, for the next start, and the journal stays open: a handler may still append.
        """
        journal = self.state.changes.journal
        if not llfuse.lock.acquire(LOCK_S):
            log.warning("llfuse.lock not had within %d s: what is unsealed is sealed at the next start", LOCK_S)
            journal.sync()
            return False
        try:
            self.state.changes.seal_older_than(-1.0)
        finally:
            llfuse.lock.release()
            journal.close()
            self.state.gate.close()
        return True


def _lock_is_free() -> bool:
    free = bool(llfuse.lock.acquire(LOCK_TRIED_S))
    if free:
        llfuse.lock.release()
    return free


def start(parts: MountParts, options: MountOptions, agent: str) -> Session:
    """Return a session that is up to date and ready to serve; waits for the store and for an incarnation."""
    gc.disable()  # until it serves: a tree is many objects that stay, looked at again and again while they come
    counters: Counter[str] = Counter()
    older = list(parts.journal.incarnations())
    snapshot = patiently("the store", lambda: parts.reader.load_tree(older))
    incarnation = patiently("an incarnation from the courier", lambda: _incarnation(parts))
    tree = LayeredTree(incarnation, options.name, commuting=parts.flags.get("commuting_fast_path", True))
    tree.load(snapshot.nodes, snapshot.dentries, snapshot.aliases, snapshot.last_sequences)
    journal = parts.journal.start(incarnation, snapshot.last_sequences, _content_of(tree))
    state = _state(parts, options, agent, tree, journal, counters)
    cache = NotifiedCache(counters, lambda: _known(state), state.shown)
    state.shown.closed = cache.look
    state.superseded.delivered = lambda: cache.delivered
    state.superseded.forget = lambda inode: cache.forget_inode(kernel_inode(inode))
    state.border.forget_entry = lambda directory, name: cache.forget_entry(kernel_inode(directory), name)
    feed = Feed(state, cache, parts.reader, parts.subscriber, parts.project)
    feed.started(snapshot.head, [*older, incarnation])
    state.confirmed.update(snapshot.last_sequences)
    _fold_pending(parts, state, snapshot)
    state.sections.debug.update(Reports(state, feed, cache, parts, agent).files())
    patiently("the store", feed.catch_up)
    state.border.open()
    if state.ephemeral is not None:
        state.border.patterns.fetch(state.cold)
    return Session(state, feed, cache, parts.leave)


def _state(
    parts: MountParts,
    options: MountOptions,
    agent: str,
    tree: LayeredTree,
    journal: OperationLog,
    counters: Counter[str],
) -> MountState:
    contents = Contents(CLEAN_MAX_BYTES, journal.parking)
    readers = Readers(1 if parts.flags.get("one_reader", True) else PLENTY)
    ephemeral = parts.journal.path / "ephemeral" if parts.flags.get("ephemeral_paths", True) else None
    return MountState(
        options=options,
        ephemeral=ephemeral,
        tree=tree,
        changes=Changes(tree, journal, contents, counters),
        contents=contents,
        cold=ColdContent(parts.reader, parts.cache, parts.local),
        callers=Callers(agent, readers),
        readers=readers,
        unasked_writes=parts.flags.get("unasked_writes", True),
        unasked_closes=parts.flags.get("unasked_closes", False) and options.durability == "journal",
        sections=Sections(parts.journal.path / "streams", everybody=options.open_sections),
        counters=counters,
        gate=Gate(tree, counters, parts.rules, parts.denials, parts.leave),
    )


def patiently(what: str, ask: Callable[[], T]) -> T:
    """Ask until the answer is there, saying once what is missing."""
    pause_s = WAIT_FIRST_S
    while True:
        try:
            return ask()
        except Unavailable as error:
            if pause_s == WAIT_FIRST_S:
                log.warning("waiting for %s: %s", what, error)
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, WAIT_MAX_S)


def _incarnation(parts: MountParts) -> int:
    found = parts.journal.take_spare()
    if found is None:
        raise Unavailable("the store has not given out an incarnation yet")
    return found


def _content_of(tree: LayeredTree) -> Callable[[int], tuple[VersionId, int, bytes] | None]:
    def content(inode: int) -> tuple[VersionId, int, bytes] | None:
        node = tree.nodes.get(inode)
        return None if node is None else (node.version, node.size, tree.path_of(inode))

    return content


def _known(state: MountState) -> tuple[list[int], list[tuple[int, bytes]]]:
    """Return what the kernel may hold; called without llfuse.lock, copies are taken at once."""
    inodes = list(state.lookups)
    entries = [(kernel_inode(inode), name) for inode in inodes for name, _ in state.tree.entries(inode)]
    return [kernel_inode(inode) for inode in inodes], entries


def _fold_pending(parts: MountParts, state: MountState, snapshot: TreeSnapshot) -> None:
    """Fold what the store has not seen, with its content: it exists nowhere but in the journal."""
    for incarnation, planned in parts.journal.pending(snapshot.last_sequences):
        request = planned.request
        if isinstance(request.operation, Content):
            _replay(state, request.operation, (incarnation, request.origin_seq), planned)
        state.tree.perform(request, incarnation)


def _replay(state: MountState, content: Content, version: VersionId, planned: PlannedRequest) -> None:
    contents = state.contents
    file = contents.files.get(content.inode)
    if file is None or file.version != content.base:
        contents.drop(content.inode)
        file = contents.at(content.inode, content.base, content.size, content.mtime_ns)
    for change in planned.changes:
        if isinstance(change, Extent):
            data = bytes(change.data)
            _fetch_for(state, file, change.offset, len(data))
            contents.write(file, change.offset, data, content.mtime_ns, time.monotonic())
        else:
            contents.resize(file, change.size)
    file.size, file.mtime_ns = content.size, content.mtime_ns
    contents.sealed(file, version)


def _fetch_for(state: MountState, file: FileContent, offset: int, length: int) -> None:
    wanted = state.contents.cold_for_write(file, offset, length)
    if not wanted:
        return
    found = state.cold.fetch(file.inode, file.base, file.map, wanted, time.monotonic() + DEADLINE_S)
    file.map = found.map if file.map is None else file.map
    for index, data in found.chunks.items():
        state.contents.fetched(file, index, data)
