"""Every change of this mount, in order: checked by the caller, journalled, then folded into the tree.

**The journal comes first**: where it refuses, nothing has changed. **Sequences are the journal's; the clock never
goes back.** A seal bears the time of its last write (or of a later attribute change), so that what stat said before
it stays true. Called with llfuse.lock held, and appends only: nothing here waits.
"""

import contextlib
import errno
import stat
import time
from collections import Counter
from typing import Final

from msgspec.structs import replace

from app.core.errors import JournalFull
from app.core.ids import EMPTY_VERSION
from app.core.layers import LayeredTree
from app.core.messages import Outcome
from app.core.operations import Content, FileOperationRequest, Operation, RemoveXattr, SetAttr, SetXattr, kind_of
from app.core.tree import Node
from app.ports import OperationLog
from fuse_mount.content import Contents
from fuse_mount.errno_map import errno_of_rejection, refuse
from fuse_mount.file_content import FileContent
from fuse_mount.who import Who

SEAL_BYTES: Final = 8 * 1024 * 1024
SEAL_S: Final = 1.0


class Changes:
    """Numbers, journals and folds. `orphans` are inodes without a name that somebody still holds."""

    def __init__(self, tree: LayeredTree, journal: OperationLog, contents: Contents, counters: Counter[str]) -> None:
        self.orphans: dict[int, Node] = {}
        self.journal = journal
        self._tree = tree
        self._contents = contents
        self._counters = counters
        self._at_ns = 0
        self._writers: dict[int, tuple[Who, int]] = {}
        self._newest = (0, 0)

    def now_ns(self) -> int:
        """Return the wall clock, never twice the same."""
        self._at_ns = max(self._at_ns + 1, time.time_ns())
        return self._at_ns

    def record(self, operation: Operation, path: bytes, who: Who, uid: int, at_ns: int = 0) -> Outcome:
        """Journal and fold one operation; raises FUSEError where the tree refuses it after all."""
        journal = self.journal
        request = FileOperationRequest(
            journal.next_sequence,
            at_ns or self.now_ns(),
            kind_of(operation),
            path,
            who.agent,
            who.session,
            who.tool_call,
            operation,
            who.decision,
            uid,
        )
        journal.append_operation(request)
        outcome = self._tree.perform(request)
        if outcome.kind == "applied":
            return outcome
        if operation.inode in self.orphans:
            self._fold_orphan(operation, request.at_ns)
            return outcome
        self._counters[f"own operation {outcome.kind} {outcome.reason}"] += 1
        raise refuse(errno_of_rejection(outcome.reason))

    def _fold_orphan(self, operation: Operation, at_ns: int) -> None:
        node = self.orphans[operation.inode]
        match operation:
            case SetAttr(mode=mode, uid=uid, gid=gid, atime_ns=atime, mtime_ns=mtime):
                self.orphans[operation.inode] = replace(
                    node,
                    mode=node.mode if mode is None else stat.S_IFMT(node.mode) | mode,
                    uid=node.uid if uid is None else uid,
                    gid=node.gid if gid is None else gid,
                    atime_ns=node.atime_ns if atime is None else atime,
                    mtime_ns=node.mtime_ns if mtime is None else mtime,
                    ctime_ns=at_ns,
                )
            case Content(size=size, mtime_ns=mtime):
                version = (self.journal.incarnation, self.journal.next_sequence - 1)
                self.orphans[operation.inode] = replace(
                    node, size=size, mtime_ns=mtime, ctime_ns=at_ns, version=version
                )
            case SetXattr(name=name, value=value):
                kept = {**dict(node.xattrs), name: value}
                self.orphans[operation.inode] = replace(node, xattrs=tuple(sorted(kept.items())), ctime_ns=at_ns)
            case RemoveXattr(name=name):
                left = tuple(pair for pair in node.xattrs if pair[0] != name)
                self.orphans[operation.inode] = replace(node, xattrs=left, ctime_ns=at_ns)
            case _:
                raise refuse(errno.ENOENT)

    def made(self, inode: int) -> None:
        """The last record makes `inode`: its first writes there need no BASE record."""
        self._newest = (inode, self.journal.segment)

    def write(self, file: FileContent, offset: int, data: bytes, who: Who, *, appended: bool) -> None:
        """Journal and keep written bytes; they are sealed later."""
        base = None if file.since_s or self._base_is_known(file) else (file.version, file.size)
        place = self.journal.append_write(file.inode, offset, data, base)
        if base is not None:
            file.journalled = (file.version, self.journal.segment)
        if not file.since_s:
            file.append_from = file.size if appended else -1
            self._writers[file.inode] = (who, 0)
        elif not appended:
            file.append_from = -1
        self._contents.write(file, offset, data, self.now_ns(), time.monotonic(), place)
        if file.unsealed_bytes >= SEAL_BYTES:
            with contextlib.suppress(JournalFull):  # the write itself is done; the sealer tries again
                self.seal(file)

    def _base_is_known(self, file: FileContent) -> bool:
        """Tell whether the journal's records show what the coming writes are made to: recovery puts unsealed bytes over
        that version and no other.
        """
        segment = self.journal.segment
        if file.version == EMPTY_VERSION and self._newest == (file.inode, segment):
            file.journalled = (EMPTY_VERSION, segment)
        return file.journalled == (file.version, segment)

    def seal(self, file: FileContent) -> int:
        """Make the unsealed bytes of a file a version, an event; return its sequence, 0 where there are none."""
        if not file.since_s:
            return 0
        who, uid = self._writers[file.inode]
        content = Content(file.inode, file.version, file.size, file.mtime_ns, append_from=file.append_from)
        sequence = self.journal.next_sequence
        node = self._tree.node(file.inode)
        at_ns = file.mtime_ns if node is None else max(file.mtime_ns, node.ctime_ns)
        self.record(content, self._tree.path_of(file.inode), who, uid, at_ns)
        self._contents.sealed(file, (self.journal.incarnation, sequence))
        file.journalled = (file.version, self.journal.segment)
        del self._writers[file.inode]
        return sequence

    def truncate(self, file: FileContent, size: int, path: bytes, who: Who, uid: int) -> int:
        """Set the length of the file at a path, as an event of its own; return its sequence."""
        self.seal(file)
        at_ns = self.now_ns()
        content = Content(file.inode, file.version, size, at_ns, truncated=True)
        sequence = self.journal.next_sequence
        self.record(content, path, who, uid, at_ns)
        self._contents.resize(file, size)
        file.mtime_ns = at_ns
        self._contents.sealed(file, (self.journal.incarnation, sequence))
        file.journalled = (file.version, self.journal.segment)
        return sequence

    def seal_older_than(self, age_s: float) -> None:
        """Seal every file whose oldest unsealed byte is older than `age_s`."""
        limit_s = time.monotonic() - age_s
        for file in [file for file in self._contents.dirty.values() if file.since_s <= limit_s]:
            self.seal(file)
