"""What bench_fs measures: how each operation is run in a folder of a system under test, what must come before it, and how
often. Single operations are timed one by one by a client in C, tools from start to end of a program.
"""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
# the order makes each operation find what it needs: files f0.. exist from create to unlink
COMMON = (
    "create stat roundtrip enoent read readcold pread overwrite pwrite fsync rename renameback mkdir rmdir readdir ls"
    " unlink"
).split()
ATTRIBUTES = ["setxattr", "getxattr", "listxattr", "removexattr"]
SPECIAL = ["list-10k", "renamefull", "unlink-4g", "statfs", *ATTRIBUTES, "readdisk"]
STREAMS = ("seqwrite", "seqread")
TOOLS = {
    "clients": "for n in 1 2 3 4 5 6 7 8; do mkdir c$n; {client} create c$n {count} > /dev/null & done; wait",
    "untar": "mkdir t && tar xf {tar} -C t",
    "grep": "grep -r nothing-has-this t || true",
    "readdir-1k": "ls -f t > /dev/null",
    "ls-1k": "ls -l t > /dev/null",
    "rm": "rm -rf t",
    "fill-10k": "mkdir big && {client} create big 10000 > /dev/null",
    "readdir-10k": "ls -f big > /dev/null",
    "ls-10k": "ls -l big > /dev/null",
    "rm-10k": "rm -rf big",
    "clone": "git clone -q {repository} g",
    "status": "git -C g status --short",
    "pip": "{python} -m pip install -q --disable-pip-version-check --no-index --no-deps --ignore-installed --prefix p {wheel}",
}
_BIG = ("readdir-10k", "ls-10k", "list-10k", "renamefull", "rm-10k")
NOT_ON = {"weir-store": {"fill-10k", "unlink-4g", *_BIG}}
"""What takes minutes, since each of 10,000 closes waits for a commit, and reads as it does on the same mount without."""
BEFORE = (
    [(what, "create") for what in (*COMMON, *ATTRIBUTES)]
    + [("renameback", "rename"), ("rename", "renameback"), ("rmdir", "mkdir"), ("mkdir", "rmdir"), ("seqread", "seqwrite")]
    + [(what, "setxattr") for what in ATTRIBUTES]
    + [(what, "untar") for what in ("grep", "readdir-1k", "ls-1k", "rm")]
    + [(what, "fill-10k") for what in _BIG]
    + [("status", "clone")]
)
OPERATIONS = (
    *COMMON[:-1], *ATTRIBUTES, "statfs", "unlink", *STREAMS,
    *(tool for tool in TOOLS if tool not in ("rm-10k", "clone", "status", "pip")),
    "list-10k", "renamefull", "rm-10k", "clone", "status", "pip", "readdisk", "unlink-4g",
)  # fmt: skip
FEW = frozenset({"readdir", "ls"})
STREAM_MIB, LARGE_MIB, PUSH_MIB = 256, 4096, 96
TOOL_ROUNDS, LARGE_ROUNDS = 5, 3
MODULES = 200


class Unknown(Exception):
    """The filesystem does not have such a call."""


def needed(asked: Iterable[str], number: int) -> list[str]:
    """Return what round `number` runs: what is asked for with what has to come before it, in order."""
    found = {what for what in asked if number < rounds_of(what)}
    for what, before in reversed(BEFORE):
        if what in found:
            found.add(before)
    for what, before in BEFORE:
        if what in found:
            found.add(before)
    return [operation for operation in OPERATIONS if operation in found]


def rounds_of(operation: str) -> int:
    """Return how many rounds run an operation at most."""
    if operation == "unlink-4g":
        return LARGE_ROUNDS
    return TOOL_ROUNDS if operation in TOOLS or operation in ("readdisk", *_BIG) else sys.maxsize


class Runner:
    """`work` is a native folder for the client and what the tools read; `kept` are folders in which systems keep content."""

    def __init__(self, work: Path, count: int, asked: Iterable[str], kept: Iterable[Path]) -> None:
        self._client = work / "fsclient"
        self._count = count
        self._kept = list(kept)
        subprocess.run(["cc", "-O2", "-o", str(self._client), str(HERE / "fsclient.c")], check=True)
        self._words = {"client": self._client, "count": count, "python": sys.executable}
        if set(asked) & set(TOOLS):
            self._words |= _make_tree(work) | {"wheel": _make_wheel(work)}

    def run(self, operation: str, home: Path) -> list[float]:
        """Return what each call took (us); raises Unknown where the filesystem has no such call."""
        if operation in TOOLS:
            return [self._tool(TOOLS[operation].format(**self._words), home)]
        match operation:
            case "seqwrite" | "seqread":
                return self.sample(operation, home, STREAM_MIB)
            case "list-10k":
                return self.sample("readdir", home / "big", 20)
            case "renamefull":
                return self.sample(operation, home / "big", 100)
            case "readdisk":
                return self._from_disk(home)
            case "unlink-4g":
                (home / "large").mkdir()
                self.sample("seqwrite", home / "large", LARGE_MIB)
                return self.sample("unlink", home / "large", 1)
        return self.sample(operation, home, max(self._count // 4, 10) if operation in FEW else self._count)

    def sample(self, operation: str, folder: Path, count: int) -> list[float]:
        """Run the client once."""
        words = [str(self._client), operation, str(folder), str(count)]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode == 3:
            raise Unknown
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [int(line) / 1000 for line in done.stdout.split()]

    def _tool(self, said: str, home: Path) -> float:
        start_s = time.monotonic()
        subprocess.run(["sh", "-ec", said], cwd=home, check=True)
        return (time.monotonic() - start_s) * 1e6

    def _from_disk(self, home: Path) -> list[float]:
        """Read small files that neither the kernel nor a mount has in memory, and that this machine's disk has: read before,
        then pushed out by others."""
        cold, push = home / "cold", home / "push"
        cold.mkdir()
        push.mkdir()
        self.sample("createown", cold, self._count)
        self.sample("seqwrite", push, PUSH_MIB)
        wait_until_confirmed(home)
        for _ in range(2):
            self.sample("seqread", push, PUSH_MIB)
            self.sample("readcold", cold, self._count)
            time.sleep(0.3)  # what was fetched is put on the disk behind the answer
        self.sample("seqread", push, PUSH_MIB)
        os.sync()
        for folder in self._kept:
            forget_pages(folder)
        return self.sample("readcold", cold, self._count)


def mount_of(home: Path) -> Path:
    """Return the mount point above a folder."""
    return next(above for above in (home, *home.parents) if above.is_mount())


def wait_until_confirmed(home: Path) -> None:
    """On a mount of Weir: wait until the store has everything; elsewhere there is nothing to wait for."""
    position = mount_of(home) / "debug" / "position"
    while position.exists():
        said = json.loads(position.read_bytes())
        if said["acked"] >= said["sequence"]:
            return
        time.sleep(0.05)


def forget_pages(folder: Path) -> None:
    """Have the kernel forget the clean pages of all files in a folder."""
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                descriptor = os.open(os.path.join(above, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _make_tree(work: Path) -> dict[str, Path]:
    tar, repository = work / "tree.tar", work / "tree"
    repository.mkdir()
    for number in range(1000):
        (repository / f"file{number:04d}.txt").write_text(f"line {number} of a text\n" * (number % 200 + 1))
    subprocess.run(["tar", "cf", str(tar), "-C", str(repository), "."], check=True)
    name = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "-q"], ["add", "."], [*name, "commit", "-qm", "tree"]):
        subprocess.run(["git", "-C", str(repository), *words], check=True)
    return {"tar": tar, "repository": repository}


def _make_wheel(work: Path) -> Path:
    wheel, info = work / "benched-1-py3-none-any.whl", "benched-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as into:
        for number in range(MODULES):
            into.writestr(f"benched/part{number}.py", f"def answer():\n    return {number}\n" * 40)
        into.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: benched\nVersion: 1\n")
        into.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        into.writestr(f"{info}/RECORD", "")
    return wheel
