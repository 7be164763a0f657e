"""Calls on open files. They may wait (cold content, throttle, fsync, durability=store): the kernel enters them at most
with the file's own lock. The one that makes a name, `create`, does not wait.
"""

# ruff: noqa: ARG002 - the signatures are llfuse's

import errno
import os
import stat
import time
from typing import Final

import llfuse

from app.core.errors import JournalFull, StoreUnavailable
from app.core.operations import SetAttr
from fuse_mount.asked_attributes import without_set_ids
from fuse_mount.attribute_calls import AttributeCalls
from fuse_mount.content import Contents
from fuse_mount.drain import Drain
from fuse_mount.errno_map import refuse
from fuse_mount.file_content import FileContent
from fuse_mount.files import Handle
from fuse_mount.local_calls import SIZE_MAX
from fuse_mount.sections import is_section
from fuse_mount.shown import OPEN_S, OPENS_MAX
from fuse_mount.state import MountOptions
from fuse_mount.who import Who

STORE_WAIT_S: Final = 10.0


class ContentCalls(AttributeCalls):
    """See llfuse.Operations."""

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: llfuse.RequestContext
    ) -> tuple[int, llfuse.EntryAttributes]:
        """See llfuse.Operations; where the name exists by now it is opened, unless O_EXCL."""
        state = self.state
        who = state.callers.who(ctx.pid)
        if not is_section(parent_inode) and not flags & os.O_EXCL:
            there = state.tree.child(state.inode(parent_inode), name)
            if there is not None:
                return self._open(there, flags, ctx, who), state.found(there, state.node(there))
        inode, entry, who = self._make(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx, who)
        return state.files.add(Handle(inode, flags, who)), entry

    def open(self, inode: int, flags: int, ctx: llfuse.RequestContext) -> int:
        """See llfuse.Operations."""
        state = self.state
        who = state.callers.who(ctx.pid)
        if is_section(inode):
            if flags & os.O_ACCMODE != os.O_RDONLY:
                raise refuse(errno.EROFS)
            return state.files.add(Handle(inode, flags, who, state.sections.content(inode)))
        if inode in state.shown.before and not flags & os.O_TRUNC:
            self._await_newest(inode)
        return self._open(state.inode(inode), flags, ctx, who)

    def _await_newest(self, inode: int) -> None:
        """Let an open wait until the newest version is shown: what is opened then is read before the next one is."""
        shown, deadline_s = self.state.shown, time.monotonic() + OPEN_S
        while inode in shown.before and shown.opens < OPENS_MAX and (left_s := deadline_s - time.monotonic()) > 0:
            with self.state.readers:
                shown.wait(inode, left_s)

    def _open(self, inode: int, flags: int, ctx: llfuse.RequestContext, who: Who) -> int:
        state = self.state
        node = state.node(inode)
        if stat.S_ISDIR(node.mode):
            raise refuse(errno.EISDIR)
        handle = Handle(inode, flags, who)
        if handle.writable or flags & os.O_TRUNC:
            if state.options.read_only:
                raise refuse(errno.EROFS)
            path = state.tree.path_of(inode)
            handle.who = who = state.gate.allow_file("write", path, (inode, node), who)
            if flags & os.O_TRUNC and stat.S_ISREG(node.mode):
                handle.sequence = state.changes.truncate(state.content(inode), 0, path, who, ctx.uid)
                cleared = without_set_ids(node, ctx)
                if ctx.uid and cleared != stat.S_IMODE(node.mode):
                    state.changes.record(SetAttr(inode, cleared), path, who, ctx.uid)
        return state.files.add(handle)

    def read(self, fh: int, off: int, size: int) -> bytes:
        """See llfuse.Operations."""
        state = self.state
        handle = state.files.handles[fh]
        if handle.frozen is not None:
            return handle.frozen[off : off + size]
        inode = handle.inode
        file, node = state.contents.files.get(inode), state.tree.nodes.get(inode)
        if file is not None and node is not None and file.version == node.version and inode not in state.shown.before:
            part = state.contents.at_hand(file, off, size)
            if part is not None:
                return part
        return self._read_elsewhere(handle, off, size)

    def _read_elsewhere(self, handle: Handle, off: int, size: int) -> bytes:
        state = self.state
        if is_section(handle.inode):
            return state.sections.read_stream(handle.inode, off, size)
        file = state.content_shown(handle.inode)
        if not state.contents.cold_for_read(file, off, size):
            return state.contents.read(file, off, size)
        file = state.warm(handle.inode, state.content_shown, lambda held: state.contents.cold_for_read(held, off, size))
        found = state.contents.read(file, off, size)
        state.contents.shrink()
        return found

    def write(self, fh: int, off: int, buf: bytes) -> int:
        """See llfuse.Operations; appended bytes go to the end that the tree knows, not to the kernel's (appends.py)."""
        state = self.state
        handle = state.files.handles[fh]
        if not handle.writable:
            raise refuse(errno.EBADF)
        length = len(buf)
        contents, options = state.contents, state.options
        if contents.pinned_bytes > options.pinned_max_bytes or contents.copied_bytes > options.copied_max_bytes:
            state.throttle(handle.inode, lambda: _is_full(contents, options))
        if off + length > SIZE_MAX:
            raise refuse(errno.EFBIG)
        try:
            self._write(handle, fh, off, buf)
        except JournalFull:
            self._write_with_room(handle, fh, off, buf)
        return length

    def _write_with_room(self, handle: Handle, fh: int, off: int, buf: bytes) -> None:
        """Write again whenever the store has confirmed something; the journal's refusal stands where nothing drains."""
        drain = Drain(self.state.confirmed, self.state.stalled)
        while True:
            self.state.await_drain(handle.inode, drain)
            try:
                return self._write(handle, fh, off, buf)
            except JournalFull:
                continue

    def _write(self, handle: Handle, fh: int, off: int, buf: bytes) -> None:
        state = self.state
        if not state.superseded.before:
            self._put(state.content(handle.inode), handle, off, buf)
            return
        file = state.content_written(handle, fh, off, len(buf))
        try:
            self._put(file, handle, off, buf)
        finally:
            file.expected = False

    def _put(self, file: FileContent, handle: Handle, off: int, buf: bytes) -> None:
        if file.map is None or file.map or file.places:  # else no chunk of it can be cold
            file = self._warmed(file, handle, off, len(buf))
        handle.dirty = True
        end, appends = file.size, self.state.appends
        if not (handle.append and appends.is_append(handle.inode, off, end)):
            self.state.changes.write(file, off, buf, handle.who, appended=False)
            return
        self.state.changes.write(file, end, buf, handle.who, appended=True)
        if appends.ends:
            appends.appended(handle.inode, off, len(buf), end)

    def _warmed(self, file: FileContent, handle: Handle, off: int, length: int) -> FileContent:
        """Return the content with nothing cold of what a write covers in part. Releases llfuse.lock."""
        state = self.state

        def cold(held: FileContent) -> list[int]:
            at_end = handle.append and state.appends.is_append(handle.inode, off, held.size)
            return state.contents.cold_for_write(held, held.size if at_end else off, length)

        return state.warm(handle.inode, state.content, cold) if cold(file) else file

    def flush(self, fh: int) -> None:
        """See llfuse.Operations: a close of a handle that wrote seals what it wrote. Where nobody is to wait for that,
        the kernel is told that there is no such call, and asks no more: release does it.
        """
        if self.state.unasked_closes:
            raise refuse(errno.ENOSYS)
        handle = self.state.files.handles[fh]
        self._seal(handle)
        if handle.sequence and self.state.options.durability == "store":
            self._wait_for_store(handle.sequence)

    def release(self, fh: int) -> None:
        """See llfuse.Operations; a shared mapping may have written after the last flush."""
        handle = self.state.files.handles[fh]
        try:
            self._seal(handle)
        finally:
            self.state.files.remove(fh)
            self.state.released(handle.inode)

    def _seal(self, handle: Handle) -> None:
        if not handle.dirty:
            return
        state = self.state
        file = state.contents.files.get(handle.inode)
        if file is not None:
            state.changes.seal(file)
            # sealed here, or before: by a set time, after 1 s, at 8 MiB
            incarnation, sequence = file.version
            if incarnation == state.changes.journal.incarnation:
                handle.sequence = max(handle.sequence, sequence)
        handle.dirty = False

    def fsync(self, fh: int, datasync: bool) -> None:  # noqa: FBT001 - llfuse's signature
        """See llfuse.Operations: on disk when it returns; with durability=store in Postgres."""
        handle = self.state.files.handles[fh]
        file = self.state.contents.dirty.get(handle.inode)
        if file is not None:
            handle.sequence = self.state.changes.seal(file)
            handle.dirty = False
        with self.state.readers:
            self.state.changes.journal.sync()
        if self.state.options.durability == "store":
            self._wait_for_store(self.state.changes.journal.next_sequence - 1)

    def fsyncdir(self, fh: int, datasync: bool) -> None:  # noqa: FBT001 - llfuse's signature
        """See llfuse.Operations: the local disk only: the kernel holds the directory's lock."""
        with self.state.readers:
            self.state.changes.journal.sync()

    def _wait_for_store(self, sequence: int) -> None:
        state, incarnation = self.state, self.state.changes.journal.incarnation
        seen, deadline_s = state.confirmed.get(incarnation, 0), time.monotonic() + STORE_WAIT_S
        with state.readers, state.progress:
            while (confirmed := state.confirmed.get(incarnation, 0)) < sequence:
                if confirmed != seen:
                    seen, deadline_s = confirmed, time.monotonic() + STORE_WAIT_S
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise StoreUnavailable(
                        f"sequence {sequence} is journalled, and nothing was confirmed for {STORE_WAIT_S:.0f} s"
                    )
                state.progress.wait(left_s)


def _is_full(contents: Contents, options: MountOptions) -> bool:
    return contents.pinned_bytes > options.pinned_max_bytes or contents.copied_bytes > options.copied_max_bytes
