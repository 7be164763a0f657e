"""More rows for posix_table: who may do what in sticky folders and by which bits, paths that lead wrong, and longer
stories on an empty folder. A row is (name, prepare, call, user).
"""

# ruff: noqa: E501 - a table

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

USER, OTHER = 65534, 65533
Call = Callable[[], Any]
Row = tuple[str, Call, Call, int]
LIBC = ctypes.CDLL(None, use_errno=True)
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def said(call: Call) -> Any:
    """Return what a call returns, or its errno."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def put(name: str, data: bytes = b"content", mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
    with open(name, "wb") as file:
        file.write(data)
    os.chown(name, uid, gid)
    os.chmod(name, mode)


def got(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def as_user(call: Call, uid: int = USER, gid: int = USER, groups: tuple[int, ...] = ()) -> Any:
    """Return what a child process with another user's credentials says of a call."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            os.write(into, repr(said(call)).encode())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with open(out, "rb") as answer:
        return answer.read().decode()


def times(name: str, *, follow: bool = True) -> list[int]:
    found = os.stat(name, follow_symlinks=follow)
    return [found.st_atime_ns, found.st_mtime_ns]


def moved(names: list[str], call: Call) -> list[Any]:
    """Return what a call said, and of which names it moved (mtime, ctime)."""
    before = [os.lstat(name) for name in names]
    time.sleep(0.011)
    answer = said(call)
    after = [os.lstat(name) for name in names]
    return [answer, [[a.st_mtime_ns > b.st_mtime_ns, a.st_ctime_ns > b.st_ctime_ns] for a, b in zip(after, before, strict=True)]]


# -- sticky folders: only the owner of the folder or of the entry takes an entry away

def _held(kind: str, owner: int) -> None:
    if kind == "directory":
        os.mkdir("d/held")
        os.chown("d/held", owner, owner)
    else:
        put("d/held", uid=owner, gid=owner, mode=0o666)


def _sticky(kind: str, folder: int, owner: int, verb: str) -> tuple[Call, Call]:
    def prepare() -> None:
        os.mkdir("d")
        _held(kind, owner)
        if verb == "covered":
            os.mkdir("mine") if kind == "directory" else put("mine", uid=USER, gid=USER)
            os.chown("mine", USER, USER)
        os.chown("d", folder, folder)
        os.chmod("d", 0o1777)

    calls: dict[str, Call] = {
        "removed": lambda: os.rmdir("d/held") if kind == "directory" else os.unlink("d/held"),
        "moved": lambda: os.rename("d/held", "away"),
        "renamed": lambda: os.rename("d/held", "d/fresh"),
        "covered": lambda: os.rename("mine", "d/held"),
    }
    return prepare, calls[verb]


def sticky_rows() -> Iterator[Row]:
    owners = {"root": 0, "user": USER, "other": OTHER}
    for kind, folder, owner, verb in product(("file", "directory"), owners, owners, ("removed", "moved", "renamed", "covered")):
        prepare, call = _sticky(kind, owners[folder], owners[owner], verb)
        yield f"sticky:{kind}-of-{owner}:in-folder-of-{folder}:{verb}", prepare, call, USER


# -- permission bits

def _opened(flags: int) -> Call:
    return lambda: os.close(os.open("f", flags))


BIT_CALLS: dict[str, Call] = {
    "read": _opened(os.O_RDONLY), "write": _opened(os.O_WRONLY), "both": _opened(os.O_RDWR), "truncate": lambda: os.truncate("f", 1),
    "cut-on-open": _opened(os.O_RDONLY | os.O_TRUNC), "run": lambda: subprocess.run(["./f"], check=False).returncode,
    "touch": lambda: os.utime("f"), "touch-at": lambda: os.utime("f", ns=(1, 2)), "chmod": lambda: os.chmod("f", 0o640),
    "get-xattr": lambda: os.getxattr("f", "user.a"), "set-xattr": lambda: os.setxattr("f", "user.a", b"2"),
}
FOLDER_CALLS: dict[str, Call] = {
    "list": lambda: sorted(os.listdir("d")), "look": lambda: os.stat("d/f").st_size, "make": lambda: os.mkdir("d/new"), "remove": lambda: os.unlink("d/f"),
    "enter": lambda: _entered("d"), "missing": lambda: os.stat("d/none"), "link": lambda: os.symlink("x", "d/new"), "rename": lambda: os.rename("d/f", "d/g"),
}


def _entered(name: str) -> str:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(name)
        os.fchdir(here)
    finally:
        os.close(here)
    return "entered"


def bit_rows() -> Iterator[Row]:
    roles = {"owner": (USER, OTHER, 6), "group": (OTHER, USER, 3), "other": (OTHER, OTHER, 0)}
    for (role, (uid, gid, shift)), bits in product(roles.items(), range(8)):
        for verb, call in BIT_CALLS.items():
            def file(mode: int = bits << shift, uid: int = uid, gid: int = gid) -> None:
                put("f", b"#!/bin/sh\nexit 7\n")
                os.setxattr("f", "user.a", b"1")
                os.chown("f", uid, gid)
                os.chmod("f", mode)

            yield f"bits:{role}:{bits}:{verb}", file, call, USER
        for verb, call in FOLDER_CALLS.items():
            def folder(mode: int = bits << shift, uid: int = uid, gid: int = gid) -> None:
                os.mkdir("d")
                put("d/f", uid=USER, gid=USER)
                os.chown("d", uid, gid)
                os.chmod("d", mode)

            yield f"bits:{role}:{bits}:folder-{verb}", folder, call, USER


# -- paths that lead wrong

def _paths(path: str) -> None:
    put("file")
    os.mkdir("d", 0o777)
    os.chmod("d", 0o777)
    first = path.split("/", maxsplit=1)[0]
    if first == "fifo":
        os.mkfifo("fifo")
    elif first == "shut":
        os.mkdir("shut", 0o700)
        os.mkdir("shut/in")
    elif first == "ring-a":
        os.symlink("ring-b", "ring-a")
        os.symlink("ring-a", "ring-b")
    elif first.startswith("to-"):
        os.symlink("file", "to-file")
        os.symlink("d", "to-d")
    for number in range(int(first[5:]) + 1 if first.startswith("chain") else 0):
        os.symlink("d" if number == 0 else f"chain{number - 1:02}", f"chain{number:02}")


PATHS = {
    "below-file": "file/x", "below-fifo": "fifo/x", "below-link-to-file": "to-file/x", "below-missing": "none/x", "below-ring": "ring-a/x",
    "below-shut": "shut/in/x", "below-link": "to-d/x", "chain-of-39": "chain38/x", "chain-of-41": "chain40/x", "name-255": "d/" + "n" * 255, "name-256": "d/" + "n" * 256,
    "below-256": "n" * 256 + "/x", "path-4095": "d/" + "./" * 2045 + "abc", "path-4096": "d/" + "./" * 2045 + "abcd", "path-5000": "x/" * 2500, "empty": "",
    "dots": "d/..", "dot": "d/.", "slash": "d/new/", "file-slash": "file/", "double": "d//x", "up": "d/../d/x",
}
PATH_CALLS: dict[str, Callable[[str], Any]] = {
    "open": lambda p: os.close(os.open(p, os.O_RDONLY)), "create": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY, 0o640)),
    "exclusive": lambda p: os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)), "mkdir": lambda p: os.mkdir(p, 0o750), "rmdir": os.rmdir,
    "unlink": os.unlink, "stat": lambda p: stat.filemode(os.stat(p).st_mode), "lstat": lambda p: stat.filemode(os.lstat(p).st_mode), "chmod": lambda p: os.chmod(p, 0o711),
    "chown": lambda p: os.chown(p, -1, -1), "truncate": lambda p: os.truncate(p, 3), "utime": lambda p: os.utime(p, ns=(1, 2)), "symlink": lambda p: os.symlink("t", p),
    "link-from": lambda p: os.link(p, "fresh"), "link-to": lambda p: os.link("file", p), "rename-from": lambda p: os.rename(p, "fresh"), "rename-to": lambda p: os.rename("file", p),
    "rename-d-to": lambda p: os.rename("d", p), "mkfifo": lambda p: os.mkfifo(p, 0o640), "readlink": os.readlink, "listdir": lambda p: sorted(os.listdir(p))[:3],
    "access": lambda p: os.access(p, os.R_OK), "xattr": lambda p: os.setxattr(p, "user.a", b"1"), "chdir": _entered, "statvfs": lambda p: os.statvfs(p).f_namemax,
}  # fmt: skip


def path_rows() -> Iterator[Row]:
    for (place, path), (verb, call), who in product(PATHS.items(), PATH_CALLS.items(), (0, USER)):
        yield f"path:{'user' if who else 'root'}:{verb}:{place}", lambda path=path: _paths(path), lambda call=call, path=path: call(path), who


# -- times of utimensat: now, omit, and who may

def _utimensat(name: str, atime: tuple[int, int], mtime: tuple[int, int], *, follow: bool = True) -> Any:
    pair = (ctypes.c_long * 4)(*atime, *mtime)
    if LIBC.utimensat(-100, name.encode(), pair, 0 if follow else 0x100):
        raise OSError(ctypes.get_errno(), "utimensat")
    now = time.time_ns() - 10**10
    return ["now" if at > now else at for at in times(name)]


TIME_PAIRS = {"omit": (0, UTIME_OMIT), "now": (0, UTIME_NOW), "given": (1_000_000_007, 123_456_789), "bad": (5, 10**9), "old": (-3, 999_999_999)}


def time_rows() -> Iterator[Row]:
    for (first, atime), (second, mtime), who in product(TIME_PAIRS.items(), TIME_PAIRS.items(), ("root", "owner", "writer", "reader")):
        def prepare(who: str = who) -> None:
            put("f", mode=0o666 if who == "writer" else 0o644, uid=USER if who == "owner" else OTHER, gid=OTHER)
            os.utime("f", ns=(11, 22))

        yield f"times:{who}:{first}:{second}", prepare, lambda a=atime, m=mtime: _utimensat("f", a, m), 0 if who == "root" else USER


# -- stories

def _set_ids_after_writing(*modes: int) -> list[Any]:
    found = []
    for mode in modes:
        for call in (lambda: _with("f", os.O_WRONLY, lambda fd: os.write(fd, b"x")), lambda: os.truncate("f", 3), lambda: _with("f", os.O_WRONLY | os.O_TRUNC, lambda fd: None), lambda: _with("f", os.O_WRONLY, lambda fd: os.ftruncate(fd, 2)), lambda: _with("f", os.O_RDWR, lambda fd: os.pwrite(fd, b"", 0))):
            put("f", mode=mode)
            os.chmod("f", mode)
            found.append([as_user(call), oct(os.stat("f").st_mode & 0o7777)])
    return found


def _set_ids_of_others() -> list[Any]:
    return _set_ids_after_writing(0o6777, 0o4777, 0o2777)


def _set_gid_where_the_group_may_not_execute() -> list[Any]:
    return _set_ids_after_writing(0o2767)


def _with(name: str, flags: int, then: Callable[[int], Any]) -> Any:
    fd = os.open(name, flags, 0o644)
    try:
        return then(fd)
    finally:
        os.close(fd)


def _chown_by_owner() -> list[Any]:
    found: list[Any] = []
    for mode, (uid, gid) in product((0o6755, 0o6644, 0o755), ((-1, OTHER), (-1, USER), (USER, -1), (OTHER, -1), (USER, OTHER), (-1, 4242))):
        put("f", uid=USER, gid=USER, mode=mode)
        found.append([as_user(lambda uid=uid, gid=gid: os.chown("f", uid, gid), groups=(OTHER,)), oct(os.stat("f").st_mode), os.stat("f").st_uid, os.stat("f").st_gid])
    for mode in (0o6755, 0o6644):
        os.mkdir("d", 0o755) if not os.path.exists("d") else None
        os.chown("d", USER, USER)
        os.chmod("d", mode)
        found.append([as_user(lambda: os.chown("d", -1, OTHER), groups=(OTHER,)), oct(os.stat("d").st_mode)])
    return found


def _chmod_by_owner_of_another_group() -> list[Any]:
    put("f", uid=USER, gid=4242)
    os.mkdir("d")
    os.chown("d", USER, 4242)
    return [as_user(lambda name=name, mode=mode: (os.chmod(name, mode), oct(os.stat(name).st_mode))) for name, mode in product(("f", "d"), (0o2755, 0o6755, 0o1755))]


def _groups_count() -> list[Any]:
    put("f", uid=0, gid=4242, mode=0o060)
    return [as_user(lambda: got("f")), as_user(lambda: got("f"), groups=(4242,)), as_user(lambda: os.access("f", os.W_OK), groups=(4242,))]


def _texts_are_busy() -> list[Any]:
    import shutil

    shutil.copy("/bin/sleep", "busy")
    os.chmod("busy", 0o755)
    child = subprocess.Popen(["./busy", "30"])
    time.sleep(0.2)
    found = [said(lambda: os.close(os.open("busy", os.O_WRONLY))), said(lambda: os.truncate("busy", 0)), said(lambda: os.rename("busy", "moved")), said(lambda: os.unlink("moved"))]
    child.kill()
    child.wait()
    put("new", got("/bin/true"), 0o755)
    fd = os.open("new", os.O_RDWR)
    found.append(said(lambda: subprocess.run(["./new"], check=False).returncode))
    os.close(fd)
    return [*found, said(lambda: subprocess.run(["./new"], check=False).returncode)]


def _fifos_and_sockets() -> list[Any]:
    os.mkfifo("p")
    found: list[Any] = [said(lambda: os.open("p", os.O_WRONLY | os.O_NONBLOCK))]
    reader = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("p", os.O_WRONLY | os.O_NONBLOCK)
    found += [os.write(writer, b"through"), os.read(reader, 10), said(lambda: os.lseek(reader, 0, os.SEEK_SET)), said(lambda: os.ftruncate(writer, 0))]
    os.close(writer)
    os.close(reader)
    server = socket.socket(socket.AF_UNIX)
    server.bind("s")
    found += [stat.filemode(os.lstat("s").st_mode), said(lambda: os.open("s", os.O_RDONLY)), said(lambda: server_again("s"))]
    server.listen(1)
    client = socket.socket(socket.AF_UNIX)
    client.connect("s")
    accepted, _ = server.accept()
    client.sendall(b"hello")
    found.append(accepted.recv(10))
    for one in (server, client, accepted):
        one.close()
    os.rename("s", "t")
    found.append(said(lambda: socket.socket(socket.AF_UNIX).connect("t")))
    os.unlink("t")
    return found


def server_again(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(name)


def _devices() -> list[Any]:
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod("wide", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    return [[os.major(os.stat(n).st_rdev), os.minor(os.stat(n).st_rdev), stat.filemode(os.stat(n).st_mode)] for n in ("null", "wide")]


def _huge_and_sparse() -> list[Any]:
    with open("f", "wb") as file:
        found: list[Any] = [said(lambda: os.ftruncate(file.fileno(), 1 << 40)), os.stat("f").st_blocks]
        found += [os.pwrite(file.fileno(), b"x" * 4096, 1 << 39), 0 < os.stat("f").st_blocks < 1024, os.stat("f").st_size]
    with open("f", "rb") as file:
        found += [os.pread(file.fileno(), 3, (1 << 39) - 1), os.pread(file.fileno(), 3, (1 << 40) - 2), os.pread(file.fileno(), 3, 1 << 40)]
    os.truncate("f", 5000)
    return [*found, os.stat("f").st_blocks, got("f") == bytes(5000)]


def _limits_of_size() -> list[Any]:
    import resource

    put("f")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        return [said(lambda: os.truncate("f", 1001)), said(lambda: os.truncate("f", 1000)), _with("f", os.O_WRONLY, lambda fd: said(lambda: os.pwrite(fd, b"x" * 10, 995))), _with("f", os.O_WRONLY, lambda fd: said(lambda: os.pwrite(fd, b"x", 1000)))]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _bad_arguments() -> list[Any]:
    put("f")
    os.mkdir("d")
    fd = os.open("f", os.O_RDWR)
    folder = os.open("d", os.O_RDONLY)
    try:
        return [
            said(lambda: os.lseek(fd, -1, os.SEEK_SET)), said(lambda: os.pread(fd, 1, -1)), said(lambda: os.pwrite(fd, b"x", -1)), said(lambda: os.read(folder, 1)),
            said(lambda: os.write(folder, b"x")), said(lambda: os.ftruncate(folder, 0)), said(lambda: os.truncate("d", 0)), said(lambda: os.truncate("f", -1)), said(lambda: os.fsync(folder)),
            said(lambda: os.open("d", os.O_RDWR)), said(lambda: os.open("d", os.O_WRONLY | os.O_CREAT)), said(lambda: os.open("f", os.O_RDONLY | os.O_DIRECTORY)), said(lambda: os.open("f/", os.O_RDONLY)),
            said(lambda: os.rename("d", "d/x")), said(lambda: os.rename("d/.", "x")), said(lambda: os.rename("d", "d/..")), said(lambda: os.rmdir("d/.")), said(lambda: os.rmdir("d/..")), said(lambda: os.unlink("d")), said(lambda: os.rmdir("f")),
            said(lambda: os.link("d", "e")), said(lambda: os.symlink("", "e")), said(lambda: os.mkdir("d/.")), said(lambda: os.mknod("e", stat.S_IFDIR | 0o755)), said(lambda: os.rename("f", "d")), said(lambda: os.rename("d", "f")),
            said(lambda: os.link("/proc/self/mounts", "e")), said(lambda: os.rename("f", "/dev/shm/f-of-table")), said(lambda: fcntl.ioctl(fd, 0x5401)),
        ]
    finally:
        os.close(fd)
        os.close(folder)


def _which_times() -> list[Any]:
    put("f")
    put("g")
    os.mkdir("d")
    os.symlink("f", "l")
    fd = os.open("f", os.O_RDWR)
    found = [
        moved([".", "f"], lambda: os.chmod("f", 0o600)), moved([".", "f"], lambda: os.link("f", "h")), moved([".", "f"], lambda: os.unlink("h")), moved([".", "f"], lambda: os.rename("f", "k")),
        moved([".", "k", "d"], lambda: os.rename("k", "d/k")), moved([".", "d/k"], lambda: os.ftruncate(fd, 7)), moved(["d/k"], lambda: os.ftruncate(fd, 2)), moved(["d/k"], lambda: os.truncate("d/k", 2)),
        moved(["d/k"], lambda: os.pwrite(fd, b"", 0)), moved(["d/k"], lambda: os.pwrite(fd, b"z", 0)), moved(["d/k"], lambda: os.setxattr("d/k", "user.a", b"1")), moved(["d/k"], lambda: os.removexattr("d/k", "user.a")),
        moved(["d/k"], lambda: os.chown("d/k", -1, -1)), moved(["d/k"], lambda: os.chown("d/k", 5, 5)), moved([".", "d"], lambda: os.mkdir("d/e")), moved([".", "d"], lambda: os.rmdir("d/e")),
        moved([".", "l", "d/k"], lambda: os.rename("l", "m")), moved(["d/k"], lambda: os.close(os.open("d/k", os.O_WRONLY | os.O_TRUNC))), moved(["d/k"], lambda: os.close(os.open("d/k", os.O_WRONLY | os.O_CREAT))),
        moved([".", "g"], lambda: os.unlink("none")), moved([".", "d"], lambda: os.rename("d", "g")), moved(["d"], lambda: os.mkdir("d")), moved([".", "d"], lambda: os.utime("d", ns=(1, 1))),
    ]
    os.close(fd)
    return found


def _a_name_is_not_its_capital() -> list[Any]:
    put("name", b"low")
    put("Name", b"high")
    put("e\u0301", b"two")
    put("\u00e9", b"one")
    return [sorted(os.listdir(".")), got("name"), got("Name"), got("e\u0301"), said(lambda: os.stat("NAME"))]


def _dots_are_listed() -> list[Any]:
    os.makedirs("d/below")
    LIBC.opendir.restype = ctypes.c_void_p
    LIBC.readdir.restype = ctypes.c_void_p
    LIBC.readdir.argtypes = LIBC.closedir.argtypes = [ctypes.c_void_p]
    handle = LIBC.opendir(b"d")
    found = {}
    while entry := LIBC.readdir(handle):
        name = ctypes.string_at(entry + 19)
        found[name.decode()] = [ctypes.c_uint64.from_address(entry).value == os.stat(f"d/{name.decode()}").st_ino, ctypes.c_ubyte.from_address(entry + 18).value]
    LIBC.closedir(handle)
    return sorted(found.items())


def _moved_up_and_down() -> list[Any]:
    os.makedirs("a/b/c")
    os.mkdir("x")
    here = os.open("a/b/c", os.O_RDONLY)
    os.rename("a/b", "x/b")
    found = [os.stat("..", dir_fd=here).st_ino == os.stat("x/b").st_ino, os.stat("../..", dir_fd=here).st_ino == os.stat("x").st_ino, os.stat("a").st_nlink, os.stat("x").st_nlink, said(lambda: os.rename("x", "x/b/c/y"))]
    os.close(here)
    return found


def _list_goes_on_while_others_make() -> list[Any]:
    for number in range(400):
        put(f"old{number:03}")
    seen: list[str] = []
    with os.scandir(".") as entries:
        for count, entry in enumerate(entries):
            seen.append(entry.name)
            if count < 100:
                put(f"new{count:03}")
            if count == 200:
                for number in range(0, 400, 2):
                    os.unlink(f"old{number:03}")
    stayed = {f"old{number:03}" for number in range(1, 400, 2)}
    return [len(seen) == len(set(seen)), stayed <= set(seen), len(os.listdir("."))]


def _rewound() -> list[Any]:
    LIBC.opendir.restype = LIBC.readdir.restype = ctypes.c_void_p
    LIBC.readdir.argtypes = LIBC.closedir.argtypes = LIBC.rewinddir.argtypes = [ctypes.c_void_p]
    for number in range(5):
        put(f"f{number}")
    handle = LIBC.opendir(b".")
    found = []
    for _ in range(2):
        names = []
        while entry := LIBC.readdir(handle):
            names.append(ctypes.string_at(entry + 19).decode())
        found.append(sorted(names))
        put("later")
        os.unlink("f0") if os.path.exists("f0") else None
        LIBC.rewinddir(handle)
    LIBC.closedir(handle)
    return found


def _mapped_both_ways() -> list[Any]:
    put("f", b"0123456789" * 1000)
    with open("f", "r+b") as file:
        shared, other = mmap.mmap(file.fileno(), 0), mmap.mmap(file.fileno(), 0)
        private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        shared[0:5] = b"FIRST"
        private[5:10] = b"never"
        found: list[Any] = [other[:10], private[:10], os.pread(file.fileno(), 10, 0)]
        os.pwrite(file.fileno(), b"PW", 4)
        found += [shared[:10], got("f")[:10]]
        shared[9000:9004] = b"tail"
        shared[1] = 0x2A
        shared.flush()
        found.append(got("f")[8999:9005])
        shared.close()
        other.close()
        private.close()
    os.truncate("f", 100)
    return [*found, got("f")[:10], os.stat("f").st_size]


def _mapped_beyond_the_end() -> list[Any]:
    put("f", b"abc")
    with open("f", "r+b") as file:
        held = mmap.mmap(file.fileno(), 3)
        os.ftruncate(file.fileno(), 6000)
        held[0:3] = b"XYZ"
        held.flush()
        held.close()
        os.pwrite(file.fileno(), b"q", 5999)
    with open("f") as file:
        refused = said(lambda: _mapped_writable(file.fileno()))
    return [got("f")[:5], got("f")[-2:], os.stat("f").st_size, refused]


def _mapped_writable(fd: int) -> str:
    mmap.mmap(fd, 10, mmap.MAP_SHARED, mmap.PROT_WRITE).close()
    return "mapped"


def _many_append_at_once() -> list[Any]:
    children = []
    for writer in range(6):
        child = os.fork()
        if not child:
            fd = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            for number in range(50):
                os.write(fd, f"{writer}-{number};".encode())
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    parts = got("log").decode().split(";")[:-1]
    os.unlink("log")
    in_order = all([p for p in parts if p[0] == str(w)] == [f"{w}-{n}" for n in range(50)] for w in range(6))
    return [len(parts), len(set(parts)), in_order]


def _locks_of_processes() -> list[Any]:
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 100, 0)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)
    other = lambda low, size, kind=fcntl.LOCK_EX: as_user(lambda: _with("f", os.O_RDWR, lambda own: fcntl.lockf(own, kind | fcntl.LOCK_NB, size, low)), 0, 0)  # noqa: E731
    found = [other(0, 5), other(14, 1), other(15, 5), other(5, 1, fcntl.LOCK_SH)]
    fcntl.lockf(fd, fcntl.LOCK_SH, 10, 5)
    found += [other(5, 1, fcntl.LOCK_SH), other(5, 1)]
    os.close(os.open("f", os.O_RDONLY))
    found.append(other(5, 1))
    fcntl.flock(fd, fcntl.LOCK_SH)
    found += [as_user(lambda: _with("f", os.O_RDWR, lambda own: fcntl.flock(own, kind | fcntl.LOCK_NB)), 0, 0) for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX)]
    os.close(fd)
    return found


def _direct() -> list[Any]:
    put("f", b"a" * 8192)
    fd = os.open("f", os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    found: list[Any] = [os.preadv(fd, [buffer], 4096), buffer[:3]]
    buffer[:4096] = b"D" * 4096
    found += [os.pwritev(fd, [buffer], 4096), got("f")[4094:4099], os.preadv(fd, [buffer], 8192)]
    os.close(fd)
    return found


def _unlinked_in_many_ways() -> list[Any]:
    found: list[Any] = []
    fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"bytes")
    os.link("f", "g")
    os.unlink("f")
    found.append(os.fstat(fd).st_nlink)
    os.unlink("g")
    found += [os.fstat(fd).st_nlink, said(lambda: os.link(f"/proc/self/fd/{fd}", "back", follow_symlinks=True)), said(lambda: os.setxattr(fd, "user.a", b"1")), said(lambda: os.fsync(fd)), said(lambda: os.fchown(fd, 7, 8)), [os.fstat(fd).st_uid, os.fstat(fd).st_gid]]
    os.utime(fd, ns=(5, 6))
    found += [os.fstat(fd).st_mtime_ns, os.pwrite(fd, b"far", 300_000), os.fstat(fd).st_size, os.pread(fd, 5, 0)]
    again = said(lambda: _with(f"/proc/self/fd/{fd}", os.O_RDONLY, lambda own: os.read(own, 5)))
    put("f", b"another")
    found += [again, os.pread(fd, 5, 0), got("f"), said(lambda: os.ftruncate(fd, 2)), os.pread(fd, 50, 0)]
    os.close(fd)
    return found


def _replaced_folders() -> list[Any]:
    os.mkdir("a")
    os.mkdir("b")
    put("a/f", b"in a")
    held = os.open("b", os.O_RDONLY)
    os.rename("a", "b")
    found = [os.listdir("b"), os.fstat(held).st_nlink, os.listdir(held), said(lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=held)), said(lambda: os.mkdir("x", dir_fd=held)), said(lambda: os.stat("..", dir_fd=held).st_ino == os.stat(".").st_ino)]
    os.close(held)
    os.mkdir("c")
    put("c/g")
    return [*found, said(lambda: os.rename("b", "c")), said(lambda: os.rename("c", "b")), sorted(os.listdir("."))]


def _attributes_by_name() -> list[Any]:
    put("f")
    found: list[Any] = [said(lambda: os.setxattr("f", "user." + "n" * 250, b"1")), said(lambda: os.setxattr("f", "user." + "n" * 251, b"1")), said(lambda: os.setxattr("f", "none.a", b"1")), said(lambda: os.setxattr("f", "user.", b"1"))]
    os.setxattr("f", "user.big", b"v" * 1500)
    found += [len(os.getxattr("f", "user.big")), said(lambda: os.setxattr("f", "trusted.t", b"t")), as_user(lambda: os.getxattr("f", "trusted.t")), as_user(lambda: os.setxattr("f", "trusted.u", b"t")), sorted(n for n in os.listxattr("f") if not n.startswith("security."))]
    os.symlink("f", "l")
    os.mkfifo("p")
    found += [said(lambda: os.setxattr("l", "user.a", b"1", follow_symlinks=False)), said(lambda: os.setxattr("p", "user.a", b"1")), said(lambda: os.setxattr("l", "trusted.a", b"1", follow_symlinks=False)), said(lambda: os.getxattr("l", "trusted.a", follow_symlinks=False))]
    buffer = ctypes.create_string_buffer(10)
    found += [LIBC.getxattr(b"f", b"user.big", None, 0), LIBC.getxattr(b"f", b"user.big", buffer, 10), errno.errorcode[ctypes.get_errno()]]
    os.rename("f", "g")
    os.link("g", "h")
    return [*found, len(os.getxattr("h", "user.big")), said(lambda: os.setxattr("h", "user.zero", b"\0\xff\0")), os.getxattr("g", "user.zero")]


def _polled() -> list[Any]:
    put("f")
    fd = os.open("f", os.O_RDWR)
    found = select.select([fd], [fd], [], 0)
    os.close(fd)
    return [len(one) for one in found]


def _sent_between_files() -> list[Any]:
    put("f", bytes(range(256)) * 1000)
    one, two = os.open("f", os.O_RDONLY), os.open("g", os.O_RDWR | os.O_CREAT, 0o644)
    sent = os.sendfile(two, one, 0, 256_000)
    copied = os.copy_file_range(one, two, 1000, 100, 300_000)
    found = [sent, copied, os.fstat(two).st_size, got("g")[:256_000] == got("f"), got("g")[300_000:] == got("f")[100:1100]]
    os.close(one)
    os.close(two)
    return found


def _extended_by_libc() -> list[Any]:
    fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
    found = [said(lambda: os.posix_fallocate(fd, 0, 10_000)), os.fstat(fd).st_size, said(lambda: os.posix_fallocate(fd, 5000, 10_000)), os.fstat(fd).st_size, os.pread(fd, 4, 12_000), said(lambda: os.posix_fallocate(fd, 0, 0)), said(lambda: os.posix_fallocate(fd, -1, 5))]
    os.close(fd)
    return found


def _links_to_links() -> list[Any]:
    os.symlink("nowhere", "l")
    os.link("l", "m", follow_symlinks=False)
    found = [os.lstat("l").st_nlink, os.readlink("m"), os.lstat("l").st_ino == os.lstat("m").st_ino, os.lstat("l").st_size]
    os.mkfifo("p")
    os.link("p", "q")
    os.rename("p", "q")
    return [*found, os.stat("p").st_nlink, sorted(os.listdir("."))]


def _made_with_every_mode() -> list[Any]:
    found = []
    for mode in (0, 0o111, 0o222, 0o444, 0o666, 0o777, 0o1777, 0o2755, 0o4755, 0o7777):
        os.close(os.open(f"f{mode}", os.O_CREAT | os.O_WRONLY, mode))
        os.mkdir(f"d{mode}", mode)
        os.mkfifo(f"p{mode}", mode)
        found.append([oct(os.stat(f"{kind}{mode}").st_mode) for kind in "fdp"])
    os.close(os.open("shut", os.O_CREAT | os.O_RDWR, 0o400))
    return [*found, as_user(lambda: _with("mine", os.O_CREAT | os.O_RDWR, lambda fd: os.write(fd, b"x")))]


def _made_in_a_group_folder_by_a_user() -> list[Any]:
    os.mkdir("d")
    os.chown("d", USER, 4242)
    os.chmod("d", 0o2777)
    made = as_user(lambda: (os.mkdir("d/sub"), os.close(os.open("d/f", os.O_CREAT | os.O_WRONLY, 0o2755)), os.symlink("x", "d/l"), os.mkfifo("d/p", 0o2666)))
    return [made, [[oct(os.lstat(f"d/{n}").st_mode), os.lstat(f"d/{n}").st_uid, os.lstat(f"d/{n}").st_gid] for n in ("sub", "f", "l", "p")]]


def _covered_while_open_elsewhere() -> list[Any]:
    put("a", b"old content")
    put("b", b"new")
    fds = [os.open("a", os.O_RDONLY), os.open("a", os.O_WRONLY | os.O_APPEND)]
    os.rename("b", "a")
    os.write(fds[1], b" and more")
    found = [os.pread(fds[0], 50, 0), got("a"), os.fstat(fds[0]).st_nlink, said(lambda: os.fchmod(fds[0], 0o600)), stat.S_IMODE(os.stat("a").st_mode)]
    for fd in fds:
        os.close(fd)
    return found


def _a_child_inherits_the_offset() -> list[Any]:
    put("f", b"0123456789")
    fd = os.open("f", os.O_RDWR)
    os.read(fd, 3)
    child = subprocess.run([sys.executable, "-c", f"import os; print(os.read({fd}, 3).decode())"], pass_fds=[fd], capture_output=True, text=True, check=True)
    found = [child.stdout, os.read(fd, 2), os.lseek(fd, 0, os.SEEK_CUR)]
    os.close(fd)
    return found


def _synced_and_advised() -> list[Any]:
    put("f", b"z" * 300_000)
    fd = os.open("f", os.O_RDWR)
    found = [said(lambda: os.fdatasync(fd)), said(lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)), os.pread(fd, 2, 299_999), LIBC.syncfs(fd), said(lambda: os.pwritev(fd, [b"dsync"], 10, os.RWF_DSYNC)), os.pread(fd, 7, 9)]
    os.close(fd)
    return found


STORIES: list[Call] = [
    _set_ids_of_others, _set_gid_where_the_group_may_not_execute, _chown_by_owner, _chmod_by_owner_of_another_group, _groups_count, _texts_are_busy, _fifos_and_sockets, _devices, _huge_and_sparse,
    _limits_of_size, _bad_arguments, _which_times, _a_name_is_not_its_capital, _dots_are_listed, _moved_up_and_down, _list_goes_on_while_others_make, _rewound,
    _mapped_both_ways, _mapped_beyond_the_end, _many_append_at_once, _locks_of_processes, _direct, _unlinked_in_many_ways, _replaced_folders, _attributes_by_name,
    _polled, _sent_between_files, _extended_by_libc, _links_to_links, _made_with_every_mode, _made_in_a_group_folder_by_a_user, _covered_while_open_elsewhere,
    _a_child_inherits_the_offset, _synced_and_advised,
]  # fmt: skip


def rows() -> Iterator[Row]:
    yield from sticky_rows()
    yield from bit_rows()
    yield from path_rows()
    yield from time_rows()
    for story in STORIES:
        yield f"story:{story.__name__.strip('_')}", lambda: None, story, 0
