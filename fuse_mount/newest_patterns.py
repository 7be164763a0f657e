"""The patterns of `.weirignore` as that file is now, read from the mount's own tree and content.

Asked when a name is made, by a handler that must not wait: content that is not at hand is fetched by a thread, and
until then the patterns before it hold. What this mount wrote itself is at hand. With llfuse.lock held, but for `run`.
"""

import logging
import stat
import threading
import time
from typing import Final, NamedTuple

import llfuse

from app.core.ephemeral import BYTES_MAX, DEFAULT, FILE, NOTHING, EphemeralPatterns
from app.core.errors import WeirError
from app.core.ids import ROOT_INODE, VersionId
from app.core.layers import LayeredTree
from fuse_mount.cold import DEADLINE_S, ColdContent
from fuse_mount.content import Contents
from fuse_mount.file_content import FileContent

log: Final = logging.getLogger(__name__)
LOOK_S: Final = 0.05
AGAIN_S: Final = 1.0


class Wanted(NamedTuple):
    """What of `.weirignore` is not at hand."""

    file: FileContent
    version: VersionId
    chunks: list[int]


class NewestPatterns:
    """`problem` says what is wrong with the file, '' where nothing is. What is wrong matches nothing."""

    def __init__(self, tree: LayeredTree, contents: Contents) -> None:
        self.problem = ""
        self._tree = tree
        self._contents = contents
        self._patterns = EphemeralPatterns(DEFAULT)
        self._read: tuple[int, VersionId] | None = None

    def newest(self) -> EphemeralPatterns:
        """Return the patterns as the file is now; those before where its content is not at hand."""
        at_root = self._tree.children.get(ROOT_INODE)
        is_there = at_root is not None and FILE in at_root
        if (is_there or self._read is not None) and self._named() != self._read:
            self._read_now()
        return self._patterns

    def _named(self) -> tuple[int, VersionId] | None:
        child = self._tree.child(ROOT_INODE, FILE)
        node = None if child is None else self._tree.nodes.get(child)
        return None if child is None or node is None else (child, node.version)

    def _read_now(self) -> Wanted | None:
        """Take up the file as it is now, or return what must be fetched first."""
        named = self._named()
        node = None if named is None else self._tree.nodes[named[0]]
        if named is None or node is None:
            self._take_up(None, EphemeralPatterns(DEFAULT))
            return None
        if not stat.S_ISREG(node.mode) or node.size > BYTES_MAX:
            self._take_up(named, NOTHING, f"no regular file of at most {BYTES_MAX} bytes: none of it holds")
            return None
        file = self._contents.at(named[0], node.version, node.size, node.mtime_ns)
        cold = self._contents.recall(file, self._contents.cold_for_read(file, 0, node.size))
        if cold:
            return Wanted(file, file.base, cold)
        self._take_up(named, EphemeralPatterns(self._contents.read(file, 0, node.size)))
        return None

    def _take_up(self, named: tuple[int, VersionId] | None, patterns: EphemeralPatterns, problem: str = "") -> None:
        self._read, self._patterns = named, patterns
        self.problem = problem or "; ".join(patterns.problems[:3])

    # -- content that is not at hand

    def run(self, cold: ColdContent, stopping: threading.Event) -> None:
        """Body of the thread that fetches."""
        while not stopping.wait(LOOK_S):
            if self._named() != self._read and not self.fetch(cold):
                stopping.wait(AGAIN_S)

    def fetch(self, cold: ColdContent) -> bool:
        """Take up the file as it is now, fetched where it must be. False where it was not to be had: then nothing is
        ephemeral that was not before.
        """
        with llfuse.lock:
            wanted = self._read_now()
        if wanted is None:
            return True
        file, version, chunks = wanted
        try:
            found = cold.fetch(file.inode, version, file.map, chunks, time.monotonic() + DEADLINE_S)
        except WeirError as error:
            with llfuse.lock:
                self._patterns, self.problem = NOTHING, str(error)
            return False
        with llfuse.lock:
            if file.base == version and file.map is None:
                file.map = found.map
            for index, data in found.chunks.items() if file.base == version else ():
                self._contents.fetched(file, index, data)
            return self._read_now() is None
