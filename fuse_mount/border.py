"""Where the project ends and what has no history begins: the ephemeral names of tracked directories.

Whether a name is ephemeral is decided when it is made, by `.weirignore` as it is then, and stands until the name is
gone: a changed file moves nothing from one side to the other. A tracked name hides an ephemeral one. Kept by the
inode of the tracked directory, on the disk beside the journal; read and changed with llfuse.lock held.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import llfuse

from app.core.ids import ROOT_INODE
from app.core.layers import LayeredTree
from fuse_mount.content import Contents
from fuse_mount.local_inodes import LocalInodes, paths_below
from fuse_mount.newest_patterns import NewestPatterns
from fuse_mount.sections import CURRENT

log: Final = logging.getLogger(__name__)
GONE: Final = "ephemeral-gone"
_LONG_AGO_NS: Final = -(1 << 63)


class Border:
    """One mount's; without a folder nothing is ephemeral. `names`: of each tracked directory that has any, which of
    them are directories; `changed_ns`: when such names last came or went there;
    `ever`: every name that was ephemeral anywhere since the start.
    """

    def __init__(self, tree: LayeredTree, contents: Contents, folder: Path | None = None) -> None:
        self.names: dict[int, dict[bytes, bool]] = {}
        self.changed_ns: dict[int, int] = {}
        self.ever: set[bytes] = set()
        self.folder = folder
        self.inodes = LocalInodes(b"" if folder is None else os.fsencode(folder))
        self.forget_entry: Callable[[int, bytes], None] = lambda _directory, _name: None
        self._tree = tree
        self.patterns = NewestPatterns(tree, contents)
        self._aliases = 0

    # -- which names

    def directory(self, kernel: int) -> int:
        """Return the tree's inode of a directory."""
        if kernel == CURRENT:
            return ROOT_INODE
        return self._tree.aliases.get(kernel, kernel) if self._tree.aliases else kernel

    def holds(self, kernel: int, name: bytes) -> bool:
        """Tell whether a name in a tracked directory is there, and ephemeral."""
        directory = self.directory(kernel)
        held = self.names.get(directory)
        return held is not None and name in held and self._tree.child(directory, name) is None

    def may_take(self, name: bytes) -> bool:
        """Tell whether a name is, or could become, ephemeral anywhere: what most names pay for the patterns, 0.3 us."""
        return self.folder is not None and (name in self.ever or self.patterns.newest().may_begin(name))

    def takes(self, kernel: int, name: bytes, *, directory: bool) -> bool:
        """Tell whether a name, about to be made in a tracked directory, is or would be ephemeral."""
        if not self.may_take(name):
            return False
        parent = self.directory(kernel)
        if self._tree.child(parent, name) is not None or parent not in self._tree.nodes:
            return False
        if parent in self.names and name in self.names[parent]:
            return True
        return self.patterns.newest().begin_at(self._tree.path_of(parent), name, directory=directory)

    def added(self, directory: int, name: bytes, *, is_directory: bool) -> None:
        """An ephemeral name is there."""
        self.names.setdefault(directory, {})[name] = is_directory
        self.ever.add(name)
        self.changed_ns[directory] = time.time_ns()

    def removed(self, directory: int, name: bytes) -> None:
        """An ephemeral name is gone."""
        held = self.names.get(directory, {})
        held.pop(name, None)
        if not held:
            self.names.pop(directory, None)
        self.changed_ns[directory] = time.time_ns()

    def touched(self, directory: int, mtime_ns: int) -> None:
        """A tracked directory was given a time: it stands until the next name comes or goes."""
        self.changed_ns[directory] = _LONG_AGO_NS
        if directory in self.names:
            os.utime(self.inodes.place(directory), ns=(mtime_ns, mtime_ns))

    def dress(self, directory: int, entry: llfuse.EntryAttributes) -> None:
        """Put into a tracked directory's attributes what the names change that the tree does not know."""
        entry.st_nlink += sum(self.names.get(directory, {}).values())
        changed_ns = self.changed_ns[directory]
        entry.st_mtime_ns = max(entry.st_mtime_ns, changed_ns)
        entry.st_ctime_ns = max(entry.st_ctime_ns, changed_ns)

    def listed(self, directory: int) -> list[tuple[bytes, int, int]]:
        """Return (name, number, type) of what a listing of a tracked directory shows besides the tree's names."""
        tracked = self._tree.children.get(directory, {})
        return [one for one in self.inodes.listed(directory) if one[0] not in tracked]

    def names_inside(self, inode: int) -> list[bytes] | None:
        """Return the ephemeral paths below a tracked directory as guards.names_inside does."""
        found: list[bytes] = []
        for top in self.names:
            below = self._tree_path_below(inode, top)
            paths = [] if below is None else paths_below(self.inodes.place(top))
            if paths is None:
                return None
            found += [(below or b"") + path for path in paths]
        return found

    def _tree_path_below(self, above: int, directory: int) -> bytes | None:
        parts: list[bytes] = []
        while directory != above:
            place = self._tree.names_of(directory)
            if not place:
                return None
            directory, name = place[0]
            parts.append(b"/" + name)
        return b"".join(reversed(parts))

    # -- the folder

    def open(self) -> None:
        """Take up what an earlier start of this mount has left. What stood in directories that are gone goes: at once
        out of sight, at the start after this one from the disk.
        """
        if self.folder is None or not self.folder.exists():
            return
        shutil.rmtree(self.folder.with_name(GONE), ignore_errors=True)
        for name in os.listdir(self.folder):  # noqa: PTH208 - names, not paths
            directory = int(name, 16)
            with contextlib.suppress(OSError):
                (self.folder / name).rmdir()
                continue
            if self.directory(directory) in self._tree.nodes:
                self._take_folder(directory)
            else:
                log.warning("ephemeral paths of a directory that is gone are set aside: %s", name)
                (self.folder / name).rename(self._made(self.folder.with_name(GONE)) / name)
        self.follow_merges()

    def _take_folder(self, directory: int) -> None:
        with os.scandir(self.inodes.place(directory)) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        if found:
            self.names[directory] = found
            self.ever.update(found)
            status = os.stat(self.inodes.place(directory))  # noqa: PTH116 - bytes
            given = status.st_mtime_ns != status.st_ctime_ns  # by a utimens, which the tree has
            self.changed_ns[directory] = _LONG_AGO_NS if given else status.st_mtime_ns

    def follow_merges(self) -> None:
        """Two mounts made one directory, which is one now: the ephemeral names of the one that went go there."""
        if self.folder is None or len(self._tree.aliases) == self._aliases:
            return
        self._aliases = len(self._tree.aliases)
        for alias in [directory for directory in self.names if directory in self._tree.aliases]:
            self._merge(alias, self.directory(alias))

    @staticmethod
    def _made(folder: Path) -> Path:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _merge(self, alias: int, target: int) -> None:
        source, place = self.inodes.place(alias), self.inodes.place(target)
        self._made(Path(os.fsdecode(place)))
        for name, is_directory in self.names.pop(alias).items():
            if name not in self.names.get(target, {}):
                os.rename(source + b"/" + name, place + b"/" + name)  # noqa: PTH104 - bytes
                self.added(target, name, is_directory=is_directory)
                self.forget_entry(target, name)
        self.inodes.adopt(alias, target)
