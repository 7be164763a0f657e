"""Count the changing system calls of a command below a folder, from outside: strace, and docs/reference/events.md.

Knows nothing of Weir. Seals by age or size (a second, 8 MiB) are counted by the time and size of the writes; shared
mappings are not seen.
"""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,copy_file_range,sendfile,close,fsync,fdatasync,truncate,ftruncate,"
    "mkdir,mkdirat,rmdir,unlink,unlinkat,symlink,symlinkat,link,linkat,rename,renameat,renameat2,chmod,fchmod,fchmodat,"
    "chown,lchown,fchown,fchownat,utimensat,utime,utimes,futimesat,mknod,mknodat,setxattr,lsetxattr,fsetxattr,"
    "removexattr,lremovexattr,fremovexattr,chdir,fchdir,clone,clone3,fork,vfork,dup2,dup3,fallocate"
)
SEAL_AFTER_S = 1.0
SEAL_BYTES = 8 << 20
_LINE = re.compile(r"^(\d+)\s+(\d+\.\d+) (.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)(.*)$")
_DONE = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_AT = re.compile(r"^(?:AT_FDCWD|\d+)<([^>]*)>")
_WRITES = {"write", "pwrite64", "writev", "pwritev", "fallocate"}
_FORKS = {"clone", "clone3", "fork", "vfork"}
_KINDS = {
    "mkdir": "mkdir mkdirat",
    "rmdir": "rmdir",
    "unlink": "unlink unlinkat",
    "symlink": "symlink symlinkat",
    "link": "link linkat",
    "rename": "rename renameat renameat2",
    "setattr": "chmod fchmod fchmodat chown lchown fchown fchownat utimensat utime utimes futimesat",
    "create": "mknod mknodat",
    "setxattr": "setxattr lsetxattr fsetxattr",
    "removexattr": "removexattr lremovexattr fremovexattr",
    "truncate": "truncate ftruncate",
}
_PLAIN = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def run_counted(argv: list[str], cwd: Path, below: Path, trace: Path) -> Counter[str]:
    """Run a command and return its events below a folder; raises CalledProcessError where it fails."""
    before = {str(path) for path in [below, *below.rglob("*")]} if below.exists() else set()
    shown = ["-f", "-qq", "-y", "-ttt", "-s", "4096", "-e", "signal=none", "-e", f"trace={CALLS}"]
    command = ["strace", *shown, "-o", str(trace)]
    subprocess.run([*command, "--", *argv], cwd=cwd, check=True, capture_output=True)
    counted = Count(below, before, cwd)
    for pid, at_s, line in _whole_lines(trace):
        counted.at_s = at_s
        counted.line(pid, line)
    counted.ended()
    return counted.events


def _whole_lines(trace: Path) -> list[tuple[int, float, str]]:
    """Join what strace cut in two; a call stands where it returned, a fork where it began as well."""
    begun: dict[int, str] = {}
    lines = []
    for raw in trace.read_text("utf-8", "surrogateescape").splitlines():
        match = _LINE.match(raw)
        if match is None:
            continue
        pid, at_s, text = int(match[1]), float(match[2]), match[3]
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
            if text.split("(")[0] in _FORKS:
                lines.append((pid, at_s, "forks"))
            continue
        done = _DONE.match(text)
        lines.append((pid, at_s, begun.pop(pid, "") + done[2] if done else text))
    return lines


class Count:
    """What is there, which files have unsealed bytes, where each process stands."""

    def __init__(self, below: Path, there: set[str], cwd: Path) -> None:
        self.events: Counter[str] = Counter()
        self._below, self._there, self._first = str(below), there, str(cwd)
        self._unsealed: dict[str, tuple[float, int]] = {}
        self.at_s = 0.0
        self._where: dict[int, str] = {}
        self._forking: list[int] = []

    def line(self, pid: int, line: str) -> None:
        """Count one call."""
        if pid not in self._where:
            self._where[pid] = self._where.get(self._forking[-1], self._first) if self._forking else self._first
        if line == "forks":
            self._forking.append(pid)
            return
        match = _CALL.match(line)
        if match is None:
            return
        name, arguments, result, rest = match[1], match[2], int(match[3]), match[4]
        if name in _FORKS:
            self._forked(pid, result)
        elif result >= 0:
            self._returned(pid, name, arguments, (result, rest))

    def ended(self) -> None:
        """Count what the processes left open."""
        for path in list(self._unsealed):
            self._seal(path)

    def _forked(self, pid: int, child: int) -> None:
        if child > 0:
            self._where.setdefault(child, self._where[pid])
        if pid in self._forking:
            self._forking.remove(pid)

    def _returned(self, pid: int, name: str, arguments: str, result: tuple[int, str]) -> None:
        if name == "chdir":
            self._where[pid] = self._full(pid, _PATH.findall(arguments)[0])
        elif name == "fchdir":
            self._where[pid] = _shown(arguments)
        elif name in {"open", "openat", "creat"}:
            self._opened(self._named(pid, arguments)[0], name, arguments)
        elif name in {"copy_file_range", "sendfile"} or name in _WRITES:
            self._written(name, arguments, result[0])
        elif name in {"close", "fsync", "fdatasync"}:
            self._seal(_shown(arguments))
        elif name in {"dup2", "dup3"}:  # closes what its second descriptor was
            self._seal(_shown(arguments.split(", ", 1)[1]))
        else:
            self._changed(pid, name, arguments)

    def _full(self, pid: int, path: str, at: str = "") -> str:
        plain = path.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace")
        return os.path.normpath(os.path.join(at or self._where[pid], plain.decode("utf-8", "surrogateescape")))

    def _named(self, pid: int, arguments: str) -> list[str]:
        """Return the paths that a call names, each below its own directory."""
        pieces = re.findall(r'((?:AT_FDCWD|\d+)<[^>]*>, )?"((?:[^"\\]|\\.)*)"', arguments)
        return [self._full(pid, path, (_AT.match(at) or ["", ""])[1]) for at, path in pieces] or [_shown(arguments)]

    def _inside(self, path: str) -> bool:
        return path.startswith(self._below + "/") or path == self._below

    def _opened(self, path: str, name: str, arguments: str) -> None:
        if not self._inside(path):
            return
        if path not in self._there:
            if "O_CREAT" in arguments or name == "creat":
                self.events["create"] += 1
                self._there.add(path)
        elif "O_TRUNC" in arguments or name == "creat":
            self.events["truncate"] += 1

    def _written(self, name: str, arguments: str, count: int) -> None:
        shown = re.findall(r"\d+<([^>]*)>", arguments)
        path = shown[1 if name == "copy_file_range" else 0]
        if not (self._inside(path) and (count or name == "fallocate")):
            return
        since_s, size = self._unsealed.get(path, (self.at_s, 0))
        if self.at_s - since_s > SEAL_AFTER_S or size >= SEAL_BYTES:
            self._seal(path)
            since_s, size = self.at_s, 0
        self._unsealed[path] = since_s, size + count

    def _seal(self, path: str) -> None:
        if path in self._unsealed:
            del self._unsealed[path]
            self.events["write"] += 1

    def _changed(self, pid: int, name: str, arguments: str) -> None:
        kind, paths = _PLAIN[name], self._named(pid, arguments)
        if kind == "symlink":
            paths = paths[1:]
        if name == "unlinkat" and "AT_REMOVEDIR" in arguments:
            kind = "rmdir"
        if not self._inside(paths[-1]):
            return
        if kind in {"truncate", "link", "rename"}:
            self._seal(paths[0])
        self.events[kind] += 1
        self._moved(kind, paths)

    def _moved(self, kind: str, paths: list[str]) -> None:
        if kind in {"mkdir", "symlink", "create", "link"}:
            self._there.add(paths[-1])
        elif kind in {"unlink", "rmdir"}:
            self._there.discard(paths[-1])
            self._unsealed.pop(paths[-1], None)
        elif kind == "rename":
            old, new = paths
            moved = {path for path in self._there if path == old or path.startswith(old + "/")}
            self._there = (self._there - moved) | {new + path[len(old) :] for path in moved}


def _shown(arguments: str) -> str:
    """Return the path that strace shows behind the first descriptor."""
    match = re.match(r"\d+<([^>]*)>", arguments)
    return match[1].removesuffix(" (deleted)") if match else ""
