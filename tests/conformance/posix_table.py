"""The table of POSIX checks: `posix_table.py FOLDER` runs every check below FOLDER and prints {name: outcome} as JSON.

A check is a call on an object of some kind, by root or by a user. Its outcome is what the call returned or its errno,
the state of the folder afterwards, and which times of which objects it changed. Nothing here says what is right: the
native filesystem does, which runs the same table. New kinds, calls or scenarios make new checks by themselves.
"""

# ruff: noqa: E501 - a table

import errno
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import posix_stories  # noqa: E402

USER = 65534
LONG = "n" * 255
Call = Callable[[], Any]


class Check(NamedTuple):
    name: str
    prepare: Callable[[], None]
    call: Call
    user: int = 0


# -- objects

def _file(name: str, data: bytes = b"content of the file", mode: int = 0o644) -> None:
    with open(name, "wb") as file:
        file.write(data)
    os.chmod(name, mode)


def _full(name: str) -> None:
    os.mkdir(name, 0o755)
    _file(f"{name}/inside")


def _linked(name: str) -> None:
    _file(name)
    os.link(name, f"{name}.other")


def _pointing(target: str, make: Callable[[str], None] | None = None) -> Callable[[str], None]:
    def prepare(name: str) -> None:
        if make is not None:
            make(target)
        os.symlink(target, name)

    return prepare


def _owned(make: Callable[[str], None], mode: int, uid: int = USER, gid: int = USER) -> Callable[[str], None]:
    def prepare(name: str) -> None:
        make(name)
        os.chown(name, uid, gid, follow_symlinks=False)
        os.chmod(name, mode)

    return prepare


def _directory(name: str) -> None:
    os.mkdir(name, 0o755)


KINDS: dict[str, Callable[[str], None]] = {
    "missing": lambda name: None,
    "file": _file,
    "empty": lambda name: _file(name, b""),
    "large": lambda name: _file(name, b"0123456789abcdef" * 20_000),
    "linked": _linked,
    "directory": _directory,
    "full": _full,
    "fifo": lambda name: os.mkfifo(name, 0o644),
    "to-file": _pointing("target", _file),
    "to-directory": _pointing("target", _full),
    "dangling": _pointing("nowhere"),
    "loop": lambda name: os.symlink(name, name),
    "readonly": lambda name: _file(name, mode=0o444),
    "set-id": lambda name: _file(name, mode=0o6755),
    "of-user": _owned(_file, 0o644),
    "set-id-of-user": _owned(_file, 0o6777),
    "closed-directory": lambda name: (_full(name), os.chmod(name, 0)),
    "user-directory": _owned(_full, 0o755),
    "sticky": _owned(_full, 0o1777, 0, 0),
    "group-directory": lambda name: (_full(name), os.chown(name, 0, USER), os.chmod(name, 0o2777)),
}


# -- calls

def _opened(flags: int, then: Callable[[int], Any] | None = None) -> Callable[[str], Any]:
    def call(name: str) -> Any:
        descriptor = os.open(name, flags | os.O_NONBLOCK, 0o640)
        try:
            return then(descriptor) if then else "opened"
        finally:
            os.close(descriptor)

    return call


def _readall(descriptor: int) -> str:
    return os.read(descriptor, 1 << 20).hex()[:80]


OPENS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY,
    "both": os.O_RDWR,
    "create": os.O_WRONLY | os.O_CREAT,
    "create-read": os.O_RDONLY | os.O_CREAT,
    "exclusive": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "truncate": os.O_WRONLY | os.O_TRUNC,
    "create-truncate": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "append": os.O_WRONLY | os.O_APPEND,
    "directory": os.O_RDONLY | os.O_DIRECTORY,
    "nofollow": os.O_RDONLY | os.O_NOFOLLOW,
    "path": os.O_PATH,
}
CALLS: dict[str, Callable[[str], Any]] = {
    **{f"open-{name}": _opened(flags) for name, flags in OPENS.items()},
    "read": _opened(os.O_RDONLY, _readall),
    "pwrite": _opened(os.O_WRONLY, lambda fd: os.pwrite(fd, b"PATCH", 3)),
    "append": _opened(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"more")),
    "write-past-end": _opened(os.O_WRONLY, lambda fd: os.pwrite(fd, b"far", 300_000)),
    "write-nothing": _opened(os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "ftruncate": _opened(os.O_WRONLY, lambda fd: os.ftruncate(fd, 5)),
    "ftruncate-reader": _opened(os.O_RDONLY, lambda fd: os.ftruncate(fd, 5)),
    "write-reader": _opened(os.O_RDONLY, lambda fd: os.write(fd, b"x")),
    "read-writer": _opened(os.O_WRONLY, lambda fd: os.read(fd, 1)),
    "seek-end": _opened(os.O_RDONLY, lambda fd: os.lseek(fd, 0, os.SEEK_END)),
    "fsync": _opened(os.O_RDONLY, os.fsync),
    "fchmod": _opened(os.O_RDONLY, lambda fd: os.fchmod(fd, 0o600)),
    "stat": lambda name: _said(os.stat(name)),
    "lstat": lambda name: _said(os.lstat(name)),
    "readlink": os.readlink,
    "listdir": lambda name: sorted(os.listdir(name)),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "mkdir": lambda name: os.mkdir(name, 0o750),
    "mkdir-below": lambda name: os.mkdir(f"{name}/below", 0o750),
    "mkdir-slash": lambda name: os.mkdir(f"{name}/", 0o750),
    "create-below": lambda name: _opened(os.O_WRONLY | os.O_CREAT)(f"{name}/below"),
    "unlink-below": lambda name: os.unlink(f"{name}/inside"),
    "unlink-slash": lambda name: os.unlink(f"{name}/"),
    "stat-dot": lambda name: _said(os.stat(f"{name}/.")),
    "mkfifo": lambda name: os.mkfifo(name, 0o622),
    "mknod-file": lambda name: os.mknod(name, stat.S_IFREG | 0o604),
    "mknod-device": lambda name: os.mknod(name, stat.S_IFCHR | 0o604, os.makedev(1, 3)),
    "mknod-socket": lambda name: os.mknod(name, stat.S_IFSOCK | 0o604),
    "symlink": lambda name: os.symlink("anywhere", name),
    "symlink-long": lambda name: os.symlink("t" * 4095, name),
    "link-from": lambda name: os.link(name, "fresh", follow_symlinks=False),
    "link-follow": lambda name: os.link(name, "fresh"),
    "link-onto": lambda name: (_file("source"), os.link("source", name))[1],
    "link-self": lambda name: os.link(name, name),
    "rename-fresh": lambda name: os.rename(name, "fresh"),
    "rename-self": lambda name: os.rename(name, name),
    "rename-below-itself": lambda name: os.rename(name, f"{name}/below"),
    "rename-long": lambda name: os.rename(name, LONG + "n"),
    "rename-longest": lambda name: os.rename(name, LONG),
    "rename-dot": lambda name: os.rename(f"{name}/.", "fresh"),
    "truncate-0": lambda name: os.truncate(name, 0),
    "truncate-7": lambda name: os.truncate(name, 7),
    "truncate-grow": lambda name: os.truncate(name, 400_000),
    "truncate-chunk": lambda name: os.truncate(name, 131_072),
    "chmod-0": lambda name: os.chmod(name, 0),
    "chmod-4755": lambda name: os.chmod(name, 0o4755),
    "chmod-2750": lambda name: os.chmod(name, 0o2750),
    "chmod-1777": lambda name: os.chmod(name, 0o1777),
    "chown-user": lambda name: os.chown(name, USER, USER),
    "chown-group": lambda name: os.chown(name, -1, USER),
    "chown-nothing": lambda name: os.chown(name, -1, -1),
    "lchown": lambda name: os.lchown(name, USER, 12345),
    "utime-now": os.utime,
    "utime-ns": lambda name: (os.utime(name, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321)), posix_stories.times(name)),
    "utime-before-1970": lambda name: (os.utime(name, ns=(-1_000_000_001, -2_000_000_001)), posix_stories.times(name)),
    "utime-link": lambda name: (os.utime(name, ns=(5, 6), follow_symlinks=False), posix_stories.times(name, follow=False)),
    "access-read": lambda name: os.access(name, os.R_OK),
    "access-write": lambda name: os.access(name, os.W_OK),
    "access-execute": lambda name: os.access(name, os.X_OK),
    "getxattr": lambda name: os.getxattr(name, "user.none"),
    "setxattr": lambda name: (os.setxattr(name, "user.a", b"value"), os.getxattr(name, "user.a").decode())[1],
    "setxattr-create": lambda name: [os.setxattr(name, "user.a", b"1", os.XATTR_CREATE), os.setxattr(name, "user.a", b"2", os.XATTR_CREATE)],
    "setxattr-replace": lambda name: os.setxattr(name, "user.a", b"1", os.XATTR_REPLACE),
    "setxattr-empty": lambda name: (os.setxattr(name, "user.a", b""), len(os.getxattr(name, "user.a")))[1],
    "listxattr": lambda name: (os.setxattr(name, "user.a", b"1"), os.setxattr(name, "user.b", b"2"), sorted(n for n in os.listxattr(name) if n.startswith("user.")))[2],
    "removexattr": lambda name: (os.setxattr(name, "user.a", b"1"), os.removexattr(name, "user.a"), os.removexattr(name, "user.a"))[2],
    "removexattr-none": lambda name: os.removexattr(name, "user.none"),
    "chdir-getcwd": lambda name: _cwd(name),  # noqa: PLW0108 - it is defined below
}


def _cwd(name: str) -> str:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(name)
        return os.path.basename(os.getcwd())
    finally:
        os.fchdir(here)
        os.close(here)


# -- scenarios: longer stories on an empty folder

def _unlinked_open() -> list[Any]:
    fd = os.open("a", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"held")
    os.unlink("a")
    found = [os.fstat(fd).st_nlink, os.pread(fd, 10, 0).decode(), os.pwrite(fd, b"HELD and longer", 0), os.fstat(fd).st_size]
    os.ftruncate(fd, 6)
    os.fchmod(fd, 0o600)
    found += [os.pread(fd, 100, 0).decode(), stat.S_IMODE(os.fstat(fd).st_mode), os.path.exists("a")]
    os.close(fd)
    return found


def _replaced_open() -> list[Any]:
    _file("a", b"old")
    _file("b", b"new one")
    fd = os.open("a", os.O_RDWR)
    os.rename("b", "a")
    found = [os.pread(fd, 10, 0).decode(), os.fstat(fd).st_nlink, os.pwrite(fd, b"still", 0), os.pread(fd, 10, 0).decode()]
    os.close(fd)
    return [*found, open("a").read()]


def _removed_cwd() -> list[Any]:
    os.mkdir("d")
    here, gone = os.open(".", os.O_RDONLY), os.open("d", os.O_RDONLY)
    try:
        os.chdir("d")
        os.rmdir("../d")
        found = [_errno(lambda: os.mkdir("x")), _errno(lambda: os.open("x", os.O_CREAT | os.O_WRONLY)), os.listdir(gone), os.fstat(gone).st_nlink]
    finally:
        os.fchdir(here)
        os.close(here)
        os.close(gone)
    return found


def _link_counts() -> list[int]:
    os.mkdir("d")
    found = [os.stat("d").st_nlink]
    os.mkdir("d/one")
    os.mkdir("d/two")
    found.append(os.stat("d").st_nlink)
    os.rename("d/one", "one")
    found.append(os.stat("d").st_nlink)
    os.mkdir("three")
    os.rename("three", "one")
    os.rmdir("d/two")
    _file("d/f")
    os.link("d/f", "f")
    os.link("f", "g")
    found += [os.stat("d").st_nlink, os.stat("f").st_nlink]
    os.rename("g", "f")
    found.append(os.stat("f").st_nlink)
    os.unlink("d/f")
    return [*found, os.stat("f").st_nlink]


def _holes() -> list[Any]:
    fd = os.open("a", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"end", 1_000_000)
    found = [os.fstat(fd).st_size, os.pread(fd, 4, 999_998).hex(), os.pread(fd, 4, 500_000).hex(), os.fstat(fd).st_blocks * 512 < 500_000]
    os.ftruncate(fd, 400_000)
    os.ftruncate(fd, 1_100_000)
    found += [os.pread(fd, 4, 1_000_000).hex(), os.fstat(fd).st_size]
    os.close(fd)
    return found


def _cut_and_grown() -> list[Any]:
    _file("a", b"x" * 300_000)
    os.truncate("a", 131_073)
    os.truncate("a", 262_145)
    data = open("a", "rb").read()
    return [len(data), data.count(b"x"), data.index(b"\0")]


def _appenders() -> str:
    one, two = (os.open("a", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for _ in range(2))
    for number in range(20):
        os.write(one if number % 3 else two, str(number).encode())
    os.close(one)
    os.close(two)
    return open("a").read()


def _append_after_truncate() -> str:
    _file("a", b"0123456789")
    fd = os.open("a", os.O_WRONLY | os.O_APPEND)
    os.truncate("a", 4)
    os.write(fd, b"X")
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"Y")
    os.close(fd)
    return open("a").read()


def _two_handles() -> list[str]:
    one, two = os.open("a", os.O_RDWR | os.O_CREAT), os.open("a", os.O_RDWR)
    os.pwrite(one, b"first", 0)
    found = [os.pread(two, 10, 0).decode()]
    os.pwrite(two, b"SEC", 2)
    found.append(os.pread(one, 10, 0).decode())
    os.close(one)
    os.ftruncate(two, 3)
    os.close(two)
    return [*found, open("a").read()]


def _mapped() -> list[str]:
    import mmap

    _file("a", b"0123456789" * 1000)
    with open("a", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5:10] = b"HELLO"
        mapped.flush()
        found = [open("a").read(12)]
        file.seek(0)
        file.write(b"ab")
        file.flush()
        found.append(mapped[:12].decode())
    return [*found, open("a").read(12)]


def _many_entries() -> list[Any]:
    for number in range(700):
        os.close(os.open(f"entry-with-a-longer-name-{number:04}", os.O_CREAT | os.O_WRONLY))
    names = os.listdir(".")
    for name in sorted(names)[:350]:
        os.unlink(name)
    return [len(names), len(set(names)), len(os.listdir("."))]


def _removed_while_listed() -> list[int]:
    for number in range(300):
        os.mkdir(f"d{number}")
    seen = 0
    with os.scandir(".") as entries:
        for entry in entries:
            os.rmdir(entry.name)
            seen += 1
    return [seen, len(os.listdir("."))]


def _types_listed() -> list[Any]:
    _file("f")
    os.mkdir("d")
    os.symlink("f", "l")
    os.mkfifo("p")
    with os.scandir(".") as entries:
        return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False), e.is_symlink(), e.inode() == os.lstat(e.name).st_ino) for e in entries)


def _odd_names() -> list[str]:
    names = [b"with space", b"new\nline", b"\xff\xfe not utf-8", "ümläut".encode(), b"-dash", b"*", b".hidden", b"...", b"a" * 255, b"\\", b"'\""]
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    return sorted(name.hex() for name in os.listdir(b"."))


def _absurd() -> list[Any]:
    _file("a")
    fd = os.open("a", os.O_RDWR)
    found = [_errno(lambda: os.ftruncate(fd, 1 << 62)), _errno(lambda: os.pwrite(fd, b"x", (1 << 63) - 1)), _errno(lambda: os.ftruncate(fd, -1)), os.fstat(fd).st_size]
    os.close(fd)
    return found


def _directory_times() -> list[Any]:
    os.mkdir("d")
    return ["d", _times_changed(["d"], lambda: os.mkdir("d/x")), _times_changed(["d", "d/x"], lambda: _file("d/x/f")), _times_changed(["d", "d/x"], lambda: os.rename("d/x/f", "d/f"))]


def _write_times() -> list[Any]:
    fd = os.open("a", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"1")
    found = [_times_changed(["a"], lambda: os.write(fd, b"2")), _times_changed(["a"], lambda: os.pread(fd, 1, 0)), _times_changed(["a"], lambda: os.fsync(fd))]
    before = os.fstat(fd)
    os.close(fd)
    time.sleep(0.01)
    after = os.stat("a")
    return [*found, before.st_mtime_ns == after.st_mtime_ns, before.st_ctime_ns == after.st_ctime_ns]


def _kept_mtime() -> list[Any]:
    fd = os.open("a", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"1")
    os.utime(fd, ns=(1, 1_000_000_000))
    os.close(fd)
    return [os.stat("a").st_mtime_ns, open("a").read()]


def _locks() -> list[Any]:
    import fcntl

    one, two = os.open("a", os.O_RDWR | os.O_CREAT), os.open("a", os.O_RDWR)
    fcntl.flock(one, fcntl.LOCK_EX)
    found = [_errno(lambda: fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB))]
    fcntl.flock(one, fcntl.LOCK_UN)
    found.append(_errno(lambda: fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    found.append(_errno(lambda: fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(one)
    os.close(two)
    return found


def _umask() -> list[int]:
    old = os.umask(0o027)
    try:
        os.mkdir("d", 0o777)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkfifo("p", 0o666)
    finally:
        os.umask(old)
    return [stat.S_IMODE(os.stat(name).st_mode) for name in "dfp"]


def _inherited_group() -> list[Any]:
    os.mkdir("d")
    os.chown("d", 0, 4242)
    os.chmod("d", 0o2775)
    os.mkdir("d/sub")
    _file("d/file")
    return [os.stat("d/sub").st_gid, stat.S_IMODE(os.stat("d/sub").st_mode), os.stat("d/file").st_gid]


def _deep() -> list[Any]:
    path = "/".join(["deep"] * 60)
    os.makedirs(path)
    _file(f"{path}/f", b"bottom")
    os.rename("deep", "top")
    return [open("top" + path[4:] + "/f").read(), sum(len(files) for _, _, files in os.walk("top"))]


def _vectors() -> list[Any]:
    fd = os.open("a", os.O_RDWR | os.O_CREAT)
    found: list[Any] = [os.writev(fd, [b"one", b"two" * 100_000, b"three"])]
    os.lseek(fd, 131_070, os.SEEK_SET)
    os.write(fd, b"across the edge of a chunk")
    found += [os.pread(fd, 30, 131_068).decode(), os.fstat(fd).st_size]
    os.close(fd)
    return found


def _statvfs() -> list[Any]:
    found = os.statvfs(".")
    return [found.f_namemax, found.f_bavail <= found.f_blocks, found.f_bsize > 0]


def _same_inode() -> list[bool]:
    _file("a")
    before = os.stat("a").st_ino
    os.rename("a", "b")
    os.link("b", "c")
    return [os.stat("b").st_ino == before, os.stat("c").st_ino == before]


def _recreated() -> list[str]:
    found = []
    for number in range(5):
        with open("a", "w") as file:
            file.write(f"round {number}")
        found.append(open("a").read())
        os.unlink("a")
        found.append(_errno(lambda: open("a").close()))
    return found


def _swap() -> list[str]:
    _file("a", b"A")
    _file("b", b"B")
    for _ in range(3):
        os.rename("a", "t")
        os.rename("b", "a")
        os.rename("t", "b")
    return [open("a").read(), open("b").read()]


SCENARIOS: list[Callable[[], Any]] = [
    _unlinked_open, _replaced_open, _removed_cwd, _link_counts, _holes, _cut_and_grown, _appenders, _append_after_truncate, _two_handles,
    _mapped, _many_entries, _removed_while_listed, _types_listed, _odd_names, _absurd, _directory_times, _write_times, _kept_mtime, _locks,
    _umask, _inherited_group, _deep, _vectors, _statvfs, _same_inode, _recreated, _swap,
]  # fmt: skip
# the end of a directory is a cursor of the filesystem's own; a size is asked of files only
LEFT_OUT = frozenset(
    f"{who}:seek-end:{kind}"
    for who, kind in product(
        ("root", "user"), ("directory", "full", "to-directory", "closed-directory", "user-directory", "sticky", "group-directory")
    )
)


# -- running

def _said(found: os.stat_result) -> list[Any]:
    return [stat.filemode(found.st_mode), found.st_nlink if not stat.S_ISDIR(found.st_mode) else "", found.st_uid, found.st_gid, _size(found)]


def _size(found: os.stat_result) -> int:
    return 0 if stat.S_ISDIR(found.st_mode) else found.st_size


def _errno(call: Call) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def _times_changed(names: list[str], call: Call) -> list[list[bool]]:
    before = [os.lstat(name) for name in names]
    time.sleep(0.011)
    call()
    after = [os.lstat(name) for name in names]
    return [[a.st_mtime_ns != b.st_mtime_ns, a.st_ctime_ns != b.st_ctime_ns] for a, b in zip(after, before, strict=True)]


def checks() -> Iterator[Check]:
    for (kind, make), (verb, call) in product(KINDS.items(), CALLS.items()):
        yield Check(f"root:{verb}:{kind}", lambda make=make: make("object"), lambda call=call: call("object"))
    for kind, (verb, call) in product(USER_KINDS, CALLS.items()):
        yield Check(f"user:{verb}:{kind}", lambda kind=kind: KINDS[kind]("object"), lambda call=call: call("object"), USER)
    for one, other in product(RENAMED, KINDS):
        yield Check(
            f"root:rename:{one}:over:{other}",
            lambda one=one, other=other: (os.mkdir("source"), _in("source", lambda: KINDS[one]("object")), KINDS[other]("object"))[0],
            lambda: os.rename("source/object", "object"),
        )
    for scenario in SCENARIOS:
        yield Check(f"scenario:{scenario.__name__.strip('_')}", lambda: None, scenario)
    for row in posix_stories.rows():
        yield Check(*row)


USER_KINDS = ("missing", "file", "of-user", "set-id-of-user", "readonly", "full", "closed-directory", "user-directory", "sticky", "group-directory", "to-file", "fifo")
RENAMED = ("file", "directory", "full", "dangling", "linked", "fifo")


def _in(folder: str, call: Call) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        call()
    finally:
        os.fchdir(here)
        os.close(here)


def _walk(at: Path) -> dict[str, os.stat_result]:
    # not rglob: before 3.11.4 it follows links to see whether they are folders, and fails on one of 4 KiB
    found = {".": at.lstat()}
    for folder, folders, files in os.walk(at):
        for name in sorted(folders + files):
            path = Path(folder) / name
            found[str(path.relative_to(at))] = path.lstat()
    return dict(sorted(found.items()))


def _state(at: Path, before: dict[str, os.stat_result]) -> dict[str, list[Any]]:
    state = {}
    inodes = {found.st_ino: name for name, found in before.items()}
    for name, found in _walk(at).items():
        path = at / name
        old = before.get(inodes.get(found.st_ino, ""))
        times: list[Any] = ["new"] if old is None else [found.st_mtime_ns != old.st_mtime_ns, found.st_ctime_ns != old.st_ctime_ns]
        content = path.read_bytes().hex()[:60] if stat.S_ISREG(found.st_mode) else os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
        state[name[:40]] = [stat.filemode(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, _size(found), content, *times]
    return state


def _outcome(call: Call) -> Any:
    try:
        return repr(call())
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))


def run(folder: Path, names: set[str] | None = None) -> dict[str, Any]:
    """Prepare all, wait a tick of the clock, run all."""
    os.umask(0o022)
    chosen = [check for check in checks() if check.name not in LEFT_OUT and (names is None or check.name in names)]
    places = {check.name: folder / f"{number:05}" for number, check in enumerate(chosen)}
    for check in chosen:
        places[check.name].mkdir()
        os.chmod(places[check.name], 0o777)
        os.chdir(places[check.name])
        check.prepare()
    before = {name: _walk(place) for name, place in places.items()}
    time.sleep(0.02)
    outcomes: dict[str, Any] = {}
    for check in sorted(chosen, key=lambda one: one.user):
        os.chdir(places[check.name])
        if check.user:
            os.setegid(check.user)
            os.seteuid(check.user)
        outcomes[check.name] = _outcome(check.call)
        if check.user:
            os.seteuid(0)
            os.setegid(0)
    os.chdir("/")
    return {name: [outcomes[name], _state(place, before[name])] for name, place in places.items()}


if __name__ == "__main__":
    os.setgroups([])
    print(json.dumps(run(Path(sys.argv[1]).absolute(), set(sys.argv[2:]) or None)))
