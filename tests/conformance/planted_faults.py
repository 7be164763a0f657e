"""Fifty ways in which a filesystem can be wrong, each by itself: FAULTS[name](pass-through, mount options) plants one."""

import errno
import os
import stat
from collections.abc import Callable

import llfuse

Plant = Callable[[object, set], None]
FAULTS: dict[str, Plant] = {}


def fault(plant: Plant) -> Plant:
    FAULTS[plant.__name__.strip("_").replace("_", "-")] = plant
    return plant


def wrap(ops, name: str, around) -> None:
    """Put `around(inner, *arguments)` in the place of a method."""
    inner = getattr(ops, name)
    setattr(ops, name, lambda *arguments: around(inner, *arguments))


def attributes(ops, change) -> None:
    """Let `change(entry, stat_result)` falsify every set of attributes that is shown."""
    inner = ops.entry_of

    def entry_of(found):
        entry = inner(found)
        change(entry, found)
        return entry

    ops.entry_of = entry_of


def setattr_falsely(ops, change) -> None:
    """Let `change(attr, fields)` return what a setattr is taken for; None: it is answered and nothing is done."""

    class Fields:
        def __init__(self, real, without=()):
            for name in ("size", "uid", "gid", "mode", "atime", "mtime"):
                setattr(self, f"update_{name}", getattr(real, f"update_{name}") and name not in without)

    def around(inner, inode, attr, fields, fh, ctx):
        without = change(attr, fields)
        if without is None:
            return ops.getattr(inode, ctx)
        return inner(inode, attr, Fields(fields, without), fh, ctx)

    wrap(ops, "setattr", around)


def refusing(ops, name: str, code: int, when=lambda *arguments: True) -> None:
    def around(inner, *arguments):
        if when(*arguments):
            raise llfuse.FUSEError(code)
        return inner(*arguments)

    wrap(ops, name, around)


# -- attributes

@fault
def a_file_has_always_one_link(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_nlink", 1) if stat.S_ISREG(found.st_mode) else None)


@fault
def a_folder_has_always_two_links(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_nlink", 2) if stat.S_ISDIR(found.st_mode) else None)


@fault
def times_are_whole_seconds(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_mtime_ns", found.st_mtime_ns // 10**9 * 10**9))


@fault
def times_are_whole_microseconds(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_mtime_ns", found.st_mtime_ns // 1000 * 1000))


@fault
def no_time_before_1970(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_mtime_ns", max(found.st_mtime_ns, 0)))


@fault
def ctime_is_mtime(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_ctime_ns", found.st_mtime_ns))


@fault
def blocks_of_a_sparse_file_are_its_size(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_blocks", found.st_size // 512))


@fault
def devices_lose_their_numbers(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_rdev", 0))


@fault
def everything_belongs_to_root(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_uid", 0))


@fault
def the_sticky_bit_is_not_shown(ops, options):
    attributes(ops, lambda entry, found: setattr(entry, "st_mode", found.st_mode & ~stat.S_ISVTX))


@fault
def names_of_one_file_have_inodes_of_their_own(ops, options):
    def around(inner, inode, parent, name, ctx):
        data = os.open(ops.path(inode), os.O_RDONLY)
        os.close(data)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=ops.held[parent]))
        return ops.known(parent, name)

    wrap(ops, "link", around)


# -- setattr

@fault
def chmod_keeps_no_set_ids(ops, options):
    setattr_falsely(ops, lambda attr, fields: _mode(attr, fields, 0o1777))


def _mode(attr, fields, mask: int):
    if fields.update_mode:
        attr.st_mode &= ~0o7777 | mask
    return ()


@fault
def chown_leaves_set_ids(ops, options):
    def around(inner, inode, attr, fields, fh, ctx):
        before = os.fstat(ops.held[inode]).st_mode
        entry = inner(inode, attr, fields, fh, ctx)
        if (fields.update_uid or fields.update_gid) and stat.S_ISREG(before):
            os.chmod(ops.path(inode), stat.S_IMODE(before))
            entry = ops.getattr(inode, ctx)
        return entry

    wrap(ops, "setattr", around)


@fault
def writing_leaves_set_ids(ops, options):
    def around(inner, inode, attr, fields, fh, ctx):
        before = os.fstat(ops.held[inode])
        if fields.update_mode and ctx.uid and ctx.uid != before.st_uid:
            return ops.getattr(inode, ctx)
        return inner(inode, attr, fields, fh, ctx)

    wrap(ops, "setattr", around)


@fault
def chown_takes_the_user_only(ops, options):
    setattr_falsely(ops, lambda attr, fields: ("gid",))


@fault
def chown_swaps_user_and_group(ops, options):
    def change(attr, fields):
        attr.st_uid, attr.st_gid = attr.st_gid, attr.st_uid
        return ()

    setattr_falsely(ops, change)


@fault
def truncate_does_not_extend(ops, options):
    def around(inner, inode, attr, fields, fh, ctx):
        if fields.update_size and attr.st_size > os.fstat(ops.held[inode]).st_size:
            return ops.getattr(inode, ctx)
        return inner(inode, attr, fields, fh, ctx)

    wrap(ops, "setattr", around)


@fault
def truncate_cuts_whole_blocks(ops, options):
    def change(attr, fields):
        if fields.update_size and attr.st_size:
            attr.st_size = (attr.st_size + 4095) // 4096 * 4096
        return ()

    setattr_falsely(ops, change)


@fault
def truncate_leaves_the_times(ops, options):
    def around(inner, inode, attr, fields, fh, ctx):
        before = os.fstat(ops.held[inode])
        inner(inode, attr, fields, fh, ctx)
        if fields.update_size:
            os.utime(ops.path(inode), ns=(before.st_atime_ns, before.st_mtime_ns))
        return ops.getattr(inode, ctx)

    wrap(ops, "setattr", around)


@fault
def the_two_times_are_swapped(ops, options):
    def change(attr, fields):
        attr.st_atime_ns, attr.st_mtime_ns = attr.st_mtime_ns, attr.st_atime_ns
        return ()

    setattr_falsely(ops, change)


@fault
def atime_is_never_set(ops, options):
    setattr_falsely(ops, lambda attr, fields: ("atime",))


@fault
def a_size_beyond_all_bounds_is_taken(ops, options):
    setattr_falsely(ops, lambda attr, fields: None if fields.update_size and attr.st_size > 1 << 44 else ())


# -- making names

@fault
def who_makes_does_not_own(ops, options):
    def around(inner, parent, name, ctx, mode):
        inner(parent, name, ctx, mode)
        os.chown(name, 0, 0, dir_fd=ops.held[parent], follow_symlinks=False)
        return ops.known(parent, name)

    wrap(ops, "made", around)


@fault
def a_group_folder_gives_no_group(ops, options):
    def around(inner, parent, name, ctx, mode):
        entry = inner(parent, name, ctx, mode)
        os.chown(name, ctx.uid, ctx.gid, dir_fd=ops.held[parent], follow_symlinks=False)
        if mode is not None:
            os.chmod(name, stat.S_IMODE(entry.st_mode), dir_fd=ops.held[parent])
        return ops.known(parent, name)

    wrap(ops, "made", around)


@fault
def a_folder_in_a_group_folder_passes_it_not_on(ops, options):
    def around(inner, parent, name, ctx, mode):
        entry = inner(parent, name, ctx, mode)
        if mode is not None and stat.S_ISDIR(mode):
            os.chmod(name, stat.S_IMODE(entry.st_mode) & ~stat.S_ISGID, dir_fd=ops.held[parent])
            return ops.known(parent, name)
        return entry

    wrap(ops, "made", around)


@fault
def what_others_may_is_cut_when_made(ops, options):
    wrap(ops, "made", lambda inner, parent, name, ctx, mode: inner(parent, name, ctx, None if mode is None else mode & ~0o007))


@fault
def fifos_are_refused(ops, options):
    refusing(ops, "mknod", errno.EPERM, lambda parent, name, mode, rdev, ctx: stat.S_ISFIFO(mode))


@fault
def sockets_become_files(ops, options):
    wrap(ops, "mknod", lambda inner, parent, name, mode, rdev, ctx: inner(parent, name, stat.S_IFREG | stat.S_IMODE(mode) if stat.S_ISSOCK(mode) else mode, rdev, ctx))


@fault
def links_are_cut_at_1000_bytes(ops, options):
    wrap(ops, "symlink", lambda inner, parent, name, target, ctx: inner(parent, name, target[:1000], ctx))


@fault
def names_end_at_250_bytes(ops, options):
    def long(*arguments):
        return any(isinstance(one, bytes) and len(one) > 250 for one in arguments)

    for name in ("lookup", "create", "rename"):
        refusing(ops, name, errno.ENAMETOOLONG, long)


@fault
def capitals_are_the_same(ops, options):
    def around(inner, parent, name, ctx):
        for there in os.listdir(ops.path(parent).encode()):
            if there.lower() == name.lower():
                return inner(parent, there, ctx)
        return inner(parent, name, ctx)

    wrap(ops, "lookup", around)


@fault
def making_a_name_leaves_the_folder_s_times(ops, options):
    def around(inner, parent, name, ctx, mode):
        before = os.fstat(ops.held[parent])
        entry = inner(parent, name, ctx, mode)
        os.utime(ops.path(parent), ns=(before.st_atime_ns, before.st_mtime_ns - 1))
        return entry

    wrap(ops, "made", around)
    attributes(ops, lambda entry, found: setattr(entry, "st_ctime_ns", found.st_mtime_ns) if stat.S_ISDIR(found.st_mode) else None)


# -- moving and removing names

@fault
def rename_refuses_to_cover(ops, options):
    refusing(ops, "rename", errno.EEXIST, lambda parent, name, to, new, ctx: os.path.lexists(f"{ops.path(to)}/".encode() + new))


@fault
def rename_leaves_the_old_name(ops, options):
    def around(inner, parent, name, to, new, ctx):
        kind = os.stat(name, dir_fd=ops.held[parent], follow_symlinks=False).st_mode
        if stat.S_ISREG(kind) and not os.path.lexists(f"{ops.path(to)}/".encode() + new):
            os.link(name, new, src_dir_fd=ops.held[parent], dst_dir_fd=ops.held[to])
        else:
            inner(parent, name, to, new, ctx)

    wrap(ops, "rename", around)


@fault
def rename_covers_full_folders(ops, options):
    def around(inner, parent, name, to, new, ctx):
        over = f"{ops.path(to)}/".encode() + new
        if os.path.isdir(over) and not os.path.islink(over):
            for inside in os.listdir(over):
                path = os.path.join(over, inside)
                os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        inner(parent, name, to, new, ctx)

    wrap(ops, "rename", around)


@fault
def rename_into_another_folder_is_exdev(ops, options):
    refusing(ops, "rename", errno.EXDEV, lambda parent, name, to, new, ctx: parent != to)


@fault
def a_full_folder_answers_eexist(ops, options):
    refusing(ops, "rmdir", errno.EEXIST, lambda parent, name, ctx: bool(os.listdir(f"{ops.path(parent)}/".encode() + name)))


@fault
def unlink_refuses_what_has_more_names(ops, options):
    refusing(ops, "unlink", errno.EMLINK, lambda parent, name, ctx: os.stat(name, dir_fd=ops.held[parent], follow_symlinks=False).st_nlink > 1)


@fault
def an_open_file_without_a_name_is_gone(ops, options):
    refusing(ops, "read", errno.ESTALE, lambda fh, off, size: os.fstat(fh).st_nlink == 0)


@fault
def a_file_without_a_name_cannot_be_changed(ops, options):
    refusing(ops, "setattr", errno.ENOENT, lambda inode, attr, fields, fh, ctx: os.fstat(ops.held[inode]).st_nlink == 0)


# -- listing

@fault
def a_long_folder_skips_an_entry(ops, options):
    wrap(ops, "listing", lambda inner, inode: [one for at, one in enumerate(inner(inode)) if at != 256])


@fault
def a_listing_goes_on_at_its_number_in_what_is_there_now(ops, options):
    def readdir(fh, off):
        inode, _ = ops.listings[fh]
        return [(name, ops.entry_of(found), at) for at, (name, found) in enumerate(ops.listing(inode)[off : off + 20], off + 1)]

    ops.readdir = readdir


@fault
def links_are_listed_as_files(ops, options):
    def around(inner, fh, off):
        found = inner(fh, off)
        for _, entry, _ in found:
            if stat.S_ISLNK(entry.st_mode):
                entry.st_mode = stat.S_IFREG | 0o777
        return found

    wrap(ops, "readdir", around)


# -- content

@fault
def the_last_byte_of_128_kib_is_lost(ops, options):
    wrap(ops, "write", lambda inner, fh, off, buf: (inner(fh, off, buf[:-1] + b"\0" if off + len(buf) == 131_072 else buf), len(buf))[1])


@fault
def holes_are_spaces(ops, options):
    def around(inner, fh, off, buf):
        end = os.fstat(fh).st_size
        if off > end:
            os.pwrite(fh, b" " * min(off - end, 10_000), end)
        return inner(fh, off, buf)

    wrap(ops, "write", around)


@fault
def two_handles_do_not_see_each_other(ops, options):
    held: dict[int, list[tuple[int, bytes]]] = {}

    def write(fh, off, buf):
        held.setdefault(fh, []).append((off, buf))
        return len(buf)

    def put(inner, fh, *arguments):
        for off, buf in held.pop(fh, []):
            os.pwrite(fh, buf, off)
        return inner(fh, *arguments)

    ops.write = write
    for name in ("read", "flush", "release", "fsync"):
        wrap(ops, name, put)


@fault
def fsync_is_not_known(ops, options):
    refusing(ops, "fsync", errno.EINVAL)


@fault
def extended_attributes_end_at_1000_bytes(ops, options):
    wrap(ops, "setxattr", lambda inner, inode, name, value, ctx: inner(inode, name, value[:1000], ctx))


@fault
def a_missing_attribute_is_empty(ops, options):
    def around(inner, inode, name, *ctx):
        try:
            return inner(inode, name, *ctx)
        except OSError:
            return b""

    wrap(ops, "getxattr", around)


@fault
def anybody_may_everything(ops, options):
    options.discard("default_permissions")
