"""What a setattr asks for, as a change of an inode's attributes: set-id bits that go, times that no event holds."""

import stat
from pathlib import Path
from typing import Final

import llfuse

from app.core.operations import SetAttr
from app.core.tree import Node

TIME_MAX_NS: Final = 9_223_372_036 * 10**9
"""The last whole second of 64 bits of nanoseconds: in the year 2262 (ext4: 2446)."""


def setattr_of(
    inode: int, node: Node, attr: llfuse.EntryAttributes, fields: llfuse.SetattrFields, ctx: llfuse.RequestContext
) -> SetAttr | None:
    """Return the change; None if nothing but the size was asked for (asked for nothing at all, ctime moves).

    A write or truncate by a user takes set-id bits away, a chown by anybody. Before such a write nothing at all is
    asked for, nor by a chown that names nobody.
    """
    mode = stat.S_IMODE(attr.st_mode) if fields.update_mode else None
    uid = attr.st_uid if fields.update_uid else None
    gid = attr.st_gid if fields.update_gid else None
    atime_ns = _held(attr.st_atime_ns) if fields.update_atime else None
    mtime_ns = _held(attr.st_mtime_ns) if fields.update_mtime else None
    chowned = uid is not None or gid is not None
    if mode is not None and mode & stat.S_ISGID and not stat.S_ISDIR(node.mode) and not is_member(ctx, node.gid):
        mode &= ~stat.S_ISGID  # the kernel, which asks this before a write by somebody else, leaves the choice to us
    if mode is None and atime_ns is None and mtime_ns is None and not stat.S_ISDIR(node.mode):
        cleared = without_set_ids(node, ctx) if ctx.uid or not fields.update_size else stat.S_IMODE(node.mode)
        mode = cleared if cleared != stat.S_IMODE(node.mode) else None
    if fields.update_size and mode is None and not chowned and atime_ns is None and mtime_ns is None:
        return None
    return SetAttr(inode, mode, uid, gid, atime_ns, mtime_ns)


def _held(time_ns: int) -> int:
    """Return the nearest time that an event holds, as ext4 does with those that it cannot hold."""
    return max(-TIME_MAX_NS, min(time_ns, TIME_MAX_NS))


def without_set_ids(node: Node, ctx: llfuse.RequestContext) -> int:
    """Return permission bits without set-user-id, and without set-group-id where the group may execute or the caller
    is not of the group.
    """
    bits = stat.S_IMODE(node.mode) & ~stat.S_ISUID
    return bits & ~stat.S_ISGID if bits & stat.S_IXGRP or not is_member(ctx, node.gid) else bits


def is_member(ctx: llfuse.RequestContext, gid: int) -> bool:
    """Tell whether a caller is root or of a group, as one of his further groups too; unknown is no."""
    if ctx.uid == 0 or ctx.gid == gid:
        return True
    try:
        lines = Path(f"/proc/{ctx.pid}/status").read_text().splitlines()
    except OSError:
        return False
    return str(gid) in next((line.split()[1:] for line in lines if line.startswith("Groups:")), [])
