"""`absurd_calls.py FOLDER SEED SECONDS`: system calls with arguments that no program would choose, straight to the
kernel, on a few names and descriptors below a folder. Prints a dot for every 2,000; a signal may end it.
"""

# ruff: noqa: E501 - a table

import ctypes
import os
import random
import sys
import time
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
SYSCALLS = {  # of x86-64 and aarch64
    "x86_64": {"read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "munmap": 11, "msync": 26, "ioctl": 16, "pread": 17, "pwrite": 18, "readv": 19, "sendfile": 40, "fcntl": 72, "flock": 73, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "fchmod": 91, "fchown": 93, "statfs": 137, "fstatfs": 138, "readahead": 187, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "getxattr": 191, "fgetxattr": 193, "listxattr": 194, "removexattr": 197, "fremovexattr": 199, "getdents": 217, "fadvise": 221, "inotify_add_watch": 254, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "unlinkat": 263, "linkat": 265, "symlinkat": 266, "readlinkat": 267, "fchmodat": 268, "faccessat": 269, "sync_file_range": 277, "utimensat": 280, "fallocate": 285, "preadv": 295, "name_to_handle_at": 303, "syncfs": 306, "renameat2": 316, "copy_file_range": 326, "pwritev2": 328, "statx": 332},
    "aarch64": {"read": 63, "write": 64, "close": 57, "lseek": 62, "mmap": 222, "munmap": 215, "msync": 227, "ioctl": 29, "pread": 67, "pwrite": 68, "readv": 65, "sendfile": 71, "fcntl": 25, "flock": 32, "fsync": 82, "fdatasync": 83, "truncate": 45, "ftruncate": 46, "fchmod": 52, "fchown": 55, "statfs": 43, "fstatfs": 44, "readahead": 213, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "getxattr": 8, "fgetxattr": 10, "listxattr": 11, "removexattr": 14, "fremovexattr": 16, "getdents": 61, "fadvise": 223, "inotify_add_watch": 27, "openat": 56, "mkdirat": 34, "mknodat": 33, "fchownat": 54, "unlinkat": 35, "linkat": 37, "symlinkat": 36, "readlinkat": 78, "fchmodat": 53, "faccessat": 48, "sync_file_range": 84, "utimensat": 88, "fallocate": 47, "preadv": 69, "name_to_handle_at": 264, "syncfs": 267, "renameat2": 276, "copy_file_range": 285, "pwritev2": 287, "statx": 291},
}[os.uname().machine]  # fmt: skip
ROOM = ctypes.create_string_buffer(os.urandom(1 << 20), 1 << 20)
NUMBERS = [0, 1, 2, 3, 7, 255, 4095, 4096, 4097, 65_535, 131_071, 131_072, 131_073, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 43, (1 << 43) + 1, (1 << 62), (1 << 63) - 1, -1, -2, -4096, -(1 << 63)]  # fmt: skip
# what each argument is: p path, d descriptor, D folder descriptor, b buffer, n length that the buffer has, N any number, m mode, f flags, u user, x name of an attribute, v vector
SHAPES = {
    "read": "dbn", "write": "dbn", "close": "d", "lseek": "dNf", "msync": "NNf", "ioctl": "dNb", "pread": "dbnN", "pwrite": "dbnN", "readv": "dvk", "sendfile": "ddzn", "fcntl": "dcf", "flock": "dl", "fsync": "d", "fdatasync": "d",
    "truncate": "pN", "ftruncate": "dN", "fchmod": "dm", "fchown": "duu", "statfs": "pb", "fstatfs": "db", "readahead": "dNn", "setxattr": "pxbnf", "lsetxattr": "pxbnf", "fsetxattr": "dxbnf", "getxattr": "pxbn", "fgetxattr": "dxbn", "listxattr": "pbn", "removexattr": "px", "fremovexattr": "dx", "getdents": "Dbn", "fadvise": "dNNf", "inotify_add_watch": "dpN",
    "openat": "Dpom", "mkdirat": "Dpm", "mknodat": "Dpmu", "fchownat": "Dpuuf", "unlinkat": "Dpr", "linkat": "DpDpf", "symlinkat": "pDp", "readlinkat": "Dpbn", "fchmodat": "Dpmf", "faccessat": "Dpmf", "sync_file_range": "dNNf", "utimensat": "Dpbf", "fallocate": "dfNN", "preadv": "dvkN", "name_to_handle_at": "Dpbbf", "syncfs": "d", "renameat2": "DpDpf", "copy_file_range": "dzdznf", "pwritev2": "dvkNNf", "statx": "DpfNb", "mmap": "zntMdN",
}  # fmt: skip
NAMES = [b"a", b"b", b"c", b"d", b"d/e", b"d/e/f", b"a/b", b".", b"..", b"", b"d/../a", b"./d/.", b"\xff\xfe", b"n" * 255, b"n" * 256, b"x/" * 2000, b"l", b"l/l", b"d/", b"a//b", b"\n", b"s"]


class Absurd:
    """Chooses calls and arguments; keeps some descriptors."""

    def __init__(self, folder: str, seed: int) -> None:
        self.random = random.Random(seed)
        os.chdir(folder)
        self.folder = os.open(".", os.O_RDONLY)
        self.open = [self.folder]

    def number(self) -> int:
        pick = self.random.random()
        return self.random.choice(NUMBERS) if pick < 0.7 else self.random.randint(0, 400_000) if pick < 0.95 else self.random.getrandbits(64)

    def unopened(self) -> int:
        """Not this process's own 0, 1 and 2: as root, fchmod(0) once took /dev/null from the whole machine."""
        number = self.number()
        return number if number & 0xFFFFFFFF not in (0, 1, 2) else 99

    def argument(self, kind: str) -> Any:
        r = self.random
        match kind:
            case "p":
                return ctypes.c_char_p(r.choice(NAMES)) if r.random() < 0.97 else ctypes.c_void_p(r.choice((0, 1, 1 << 60)))
            case "d":
                return r.choice(self.open) if r.random() < 0.95 else self.unopened()
            case "D":
                return r.choice((self.folder, -100, r.choice(self.open)))
            case "b":
                return ROOM if r.random() < 0.95 else ctypes.c_void_p(r.choice((0, 1, 1 << 60)))
            case "n":  # seldom much: what is written stays in a journal of 4 GiB for as long as the test goes on
                return r.choice((131_073, 1 << 20, r.randint(0, 1 << 20))) if r.random() < 0.03 else r.choice((0, 1, 100, 4096, r.randint(0, 9000)))
            case "m":
                return r.choice((0o644, 0o755, 0, 0o7777, 0o100644, 0o010600, 0o140600, 0o120777, 0o060600, 0xFFFFFFFF, r.getrandbits(16)))
            case "o":
                return (r.getrandbits(24) & ~0o20000000 if r.random() < 0.5 else r.choice((os.O_RDWR | os.O_CREAT, os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND, os.O_RDONLY | os.O_DIRECTORY))) | os.O_NONBLOCK
            case "f":
                return r.choice((0, 1, 2, 3, 4, 0x100, 0x1000, 0x2000, self.number()))
            case "u":
                return r.choice((0, 65534, -1, 12345, 1 << 31))
            case "x":
                return ctypes.c_char_p(r.choice((b"user.a", b"user.", b"", b"trusted.b", b"security.capability", b"system.posix_acl_access", b"none", b"user." + b"n" * 260)))
            case "v":
                return (ctypes.c_uint64 * 4)(ctypes.addressof(ROOM), 1000, ctypes.addressof(ROOM), r.choice((0, 1 << 62, 1 << 19 if r.random() < 0.05 else 5000)))
            case "k":
                return r.choice((0, 1, 2, 2, -1, 5000))
            case "z":
                return None
            case "l":
                return r.choice((1, 2, 8, 99)) | 4
            case "c":
                return r.choice((1, 2, 3, 1024, 1025, 1032, 1033, 1034))
            case "r":
                return r.choice((0, 0, 0x200, 1, 0xFFFF))
            case "t":
                return r.choice((1, 3, 3, 7))
            case "M":
                return r.choice((1, 2, 3))
        return self.number()

    def step(self) -> None:
        name = self.random.choice(list(SHAPES))
        if name == "close" and self.random.random() < 0.7:
            return
        if name == "openat" or self.random.random() < 0.15:
            name = "openat"
        arguments = [self.argument(kind) for kind in SHAPES[name]]
        if name == "close" and arguments[0] in (self.folder, 0, 1, 2):
            return
        wide = [ctypes.c_long(((one + (1 << 63)) % (1 << 64)) - (1 << 63)) if isinstance(one, int) else one for one in arguments]
        LIBC.syscall.restype = ctypes.c_long
        answer = LIBC.syscall(SYSCALLS[name], *wide)
        if name == "openat" and answer >= 0:
            self.keep(answer)
        elif name == "close" and answer == 0 and arguments[0] in self.open:
            self.open.remove(arguments[0])
        elif name == "mmap" and answer > 0:
            self.touch(answer, arguments[1])

    def keep(self, descriptor: int) -> None:
        self.open.append(descriptor)
        if len(self.open) > 30:
            os.close(self.open.pop(self.random.randint(1, 29)))

    def touch(self, address: int, length: int) -> None:
        """Write into a mapping: beyond the end of its file a signal ends this process, and another one is started."""
        if length and self.random.random() < 0.05:
            ctypes.memset(address + self.random.randrange(length), 42, 1)
        LIBC.syscall(SYSCALLS["munmap"], ctypes.c_long(address), ctypes.c_long(length or 1))


def main() -> None:
    folder, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if seed % 2:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    absurd, end = Absurd(folder, seed), time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(2000):
            try:
                absurd.step()
            except OSError:
                pass
        os.write(1, b".")
    os._exit(0)


if __name__ == "__main__":
    main()
