"""One client of the soak: mixed operations on names of its own, and the model of what must be there afterwards."""

import os
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

# of 100 operations. What is made and what is removed balance, so that the tree stays as large as it is
MIX: Final = {"create": 18, "delete": 18, "overwrite": 12, "patch": 12, "append": 10, "truncate": 3, "rename": 12, "mkdir": 2, "rmdir": 2, "read": 11}  # fmt: skip
FILES: Final = 400
SIZES: Final = (0, 80, 500, 2_000, 4_096, 4_096, 9_000, 30_000)
KEPT_BYTES: Final = 64_000
TOLD_EVERY_S: Final = 1.0


class Different(AssertionError):
    """What is there is not what returned calls left."""


class Client:
    """`files` and `folders` are the model; every call that returned is in it, and none may fail."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.folders: list[str] = []
        self.done: Counter[str] = Counter()
        self.names: list[str] = []
        self._made = 0
        folder.mkdir(parents=True)

    def step(self) -> None:
        """Do one operation of the mix; while the tree is small, or far too large, one that mends it."""
        kind = self.random.choices(list(MIX), list(MIX.values()))[0]
        if kind != "create" and len(self.files) < FILES // 2:
            kind = "create"
        if kind == "create" and len(self.files) > FILES * 3 // 2:
            kind = "delete"
        if kind == "rmdir" and not self.folders:
            kind = "mkdir"
        getattr(self, kind)()
        self.done[kind] += 1

    def _fresh(self) -> str:
        self._made += 1
        where = self.random.choice(self.folders) + "/" if self.folders and self.random.random() < 0.3 else ""
        return f"{where}n{self._made}"

    def _take(self) -> str:
        """Return a name and leave it out of the list: the last one takes its place."""
        at = self.random.randrange(len(self.names))
        self.names[at], self.names[-1] = self.names[-1], self.names[at]
        return self.names.pop()

    def _keep(self, name: str, data: bytes) -> None:
        self.names.append(name)
        self.files[name] = data

    def _data(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    def create(self) -> None:
        name, data = self._fresh(), self._data()
        with (self.folder / name).open("xb", buffering=0) as file:
            file.write(data)
        self._keep(name, data)

    def delete(self) -> None:
        name = self._take()
        (self.folder / name).unlink()
        del self.files[name]

    def overwrite(self) -> None:
        name, data = self._take(), self._data()
        (self.folder / name).write_bytes(data)
        self._keep(name, data)

    def patch(self) -> None:
        name = self._take()
        old = self.files[name]
        at, new = self.random.randrange(len(old) + 1), self.random.randbytes(200)
        descriptor = os.open(self.folder / name, os.O_RDWR)
        os.pwrite(descriptor, new, at)
        os.close(descriptor)
        self._keep(name, old[:at] + new + old[at + len(new) :])

    def append(self) -> None:
        name, line = self._take(), self.random.randbytes(90)
        with (self.folder / name).open("ab", buffering=0) as file:
            file.write(line)
        whole = self.files[name] + line
        self._keep(name, whole)
        if len(whole) > KEPT_BYTES:
            self.truncate_to(name, 0)

    def truncate(self) -> None:
        name = self._take()
        self.names.append(name)
        self.truncate_to(name, self.random.randrange(len(self.files[name]) + 100))

    def truncate_to(self, name: str, size: int) -> None:
        os.truncate(self.folder / name, size)
        self.files[name] = self.files[name][:size].ljust(size, b"\0")

    def rename(self) -> None:
        name, covers = self._take(), self.random.random() < 0.3
        new = self._take() if covers and self.names else self._fresh()
        (self.folder / name).rename(self.folder / new)
        data = self.files.pop(name)
        self._keep(new, data)

    def mkdir(self) -> None:
        self._made += 1
        name = f"d{self._made}"
        (self.folder / name).mkdir()
        self.folders.append(name)

    def rmdir(self) -> None:
        name = self.folders.pop(self.random.randrange(len(self.folders)))
        for inside in [one for one in self.files if one.startswith(f"{name}/")]:
            (self.folder / inside).unlink()
            del self.files[inside]
            self.names.remove(inside)
        (self.folder / name).rmdir()

    def read(self) -> None:
        name = self.random.choice(self.names)
        path = self.folder / name
        if path.read_bytes() != self.files[name] or path.stat().st_size != len(self.files[name]):
            raise Different(f"{path}: not what was written")

    def check(self, folder: Path) -> int:
        """Compare a folder with the model; return how many names there are."""
        found = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
        if set(found) != {*self.files, *self.folders}:
            raise Different(f"{folder}: {sorted(set(found) ^ {*self.files, *self.folders})[:5]}")
        for name, data in self.files.items():
            if found[name].read_bytes() != data:
                raise Different(f"{found[name]}: other bytes than were written")
        return len(found)


def run(folder: Path, seed: int, operations: int, seconds: float, parent: Connection) -> None:
    """Spread the operations over the seconds; tell the parent how many are done; then compare what it names, until None."""
    client = Client(folder, seed)
    begun = told = time.monotonic()
    try:
        for number in range(operations):
            client.step()
            now = time.monotonic()
            if now - told > TOLD_EVERY_S:
                told = now
                parent.send(number + 1)
            if (ahead_s := begun + number * seconds / operations - now) > 0.002:
                time.sleep(ahead_s)
        parent.send(dict(client.done))
        while (place := parent.recv()) is not None:
            parent.send(client.check(place))
    except (OSError, Different) as failure:
        parent.send(failure)
