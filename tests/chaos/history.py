"""One real history: who writes on a mount, and who breaks things meanwhile. Nothing here trusts Weir."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

SHARED: Final = [*"abcdef", *(f"{folder}/{name}" for folder in "xy" for name in "abc"), "x/y"]
AGAIN_S: Final = 0.03
RESTS_S: Final = 0.004
ALONE_SHARE: Final = 0.4
KINDS: Final = (*["mount"] * 4, *["courier"] * 4, "redis killed", "redis cut off", "courier cut off", "store cut off", "store killed")
Step = Callable[[Path], None]


def _create(path: Path) -> None:
    with path.open("xb") as file:
        file.write(os.urandom(random.choice((0, 50, 3000, 200_000))))


def _append(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, b"a line that was appended\n")
    finally:
        os.close(descriptor)


def _patch(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, os.urandom(300), random.randrange(5000))
    finally:
        os.close(descriptor)


def _another(path: Path) -> Path:
    history = next(one for one in path.parents if one.name.startswith("h-"))
    return history / random.choice(SHARED)


SHARED_STEPS: Final[list[Step]] = [
    _create,
    _create,
    lambda path: path.write_bytes(os.urandom(random.choice((10, 4000, 140_000)))) and None,
    _append,
    _append,
    _patch,
    lambda path: os.truncate(path, random.randrange(6000)),
    lambda path: path.rename(_another(path)) and None,
    lambda path: path.rename(_another(path)) and None,
    Path.unlink,
    Path.mkdir,
    Path.mkdir,
    Path.rmdir,
    lambda path: os.link(path, _another(path)),
    lambda path: path.symlink_to("anywhere"),
    lambda path: path.chmod(random.choice((0o600, 0o644, 0o755))),
]


class Writer(threading.Thread):
    """Works on one mount: on names that all three fight for, and on names of its own, whose `contents` must stay."""

    def __init__(self, mount: Path, folder: str, name: str, stop: threading.Event) -> None:
        super().__init__(name=name)
        self.shared, self.own = mount / "current" / folder, mount / "current" / folder / f"only-{name}"
        self.stop = stop
        self.contents: dict[str, bytes] = {}
        self.made: list[str] = []
        self.done: Counter[str] = Counter()
        self.log: list[bytes] = []
        self._lines = 0

    def run(self) -> None:
        number = 0
        while not self.stop.wait(RESTS_S):
            number += 1
            try:
                self._alone(number) if random.random() < ALONE_SHARE else self._among_others()
            except OSError as error:
                self.done[f"errno {error.errno}"] += 1
                if error.errno not in {2, 17, 20, 21, 39, 40}:
                    self.stop.wait(AGAIN_S)

    def _among_others(self) -> None:
        random.choice(SHARED_STEPS)(self.shared / random.choice(SHARED))
        self.done["shared"] += 1

    def _alone(self, number: int) -> None:
        kind = random.randrange(5) if self.contents else 0
        if kind < 2:
            self._create(f"n{number}")
        elif kind == 2:
            self._rename(random.choice(list(self.contents)), f"r{number}")
        else:
            self._append()
        self.done["alone"] += 1

    def _create(self, name: str) -> None:
        data = os.urandom(random.choice((0, 90, 4000, 4000, 150_000)))
        with (self.own / name).open("xb") as file:
            file.write(data)
        self.made.append(name)
        self.contents[name] = data

    def _rename(self, name: str, new: str) -> None:
        data = self.contents.pop(name)  # where the call does not return, either name may be there
        (self.own / name).rename(self.own / new)
        self.contents[new] = data

    def _append(self) -> None:
        self._lines += 1
        line = b"%d\n" % self._lines
        with (self.own / "log").open("ab", buffering=0) as file:
            file.write(line)
            self.log.append(line)

    def check(self, folder: Path) -> int:
        """Compare what returned with what a tree of the project shows; return how many things that were."""
        own = folder / f"only-{self.name}"
        for name, data in self.contents.items():
            assert (own / name).read_bytes() == data, f"{own / name} is not what was written"
        lines = (own / "log").read_bytes().splitlines(keepends=True) if self.log else []
        assert lines == sorted(set(lines), key=int), f"{own}/log: a line is doubled, or out of order"
        assert set(self.log) <= set(lines), f"{own}/log lost {sorted(set(self.log) - set(lines))[:5]}"
        return len(self.contents) + len(self.log)


def descend(pid: int) -> list[int]:
    """Return a process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in descend(int(child)))]


def health(mount: Path) -> dict:
    return json.loads((mount / "debug" / "health").read_text())


class Breaker:
    """Kills and stops parts of a stack at random; `done` says what it did."""

    def __init__(self, mounts: list[Path], store: int, redis: int, seed: int) -> None:
        self.mounts, self.store, self.redis = mounts, store, redis
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def run(self, times: int) -> None:
        for _ in range(times):
            time.sleep(self.random.uniform(0.1, 0.7))
            kind = self.random.choice(KINDS)
            with suppress(OSError, ValueError, KeyError):
                self._break(kind)
                self.done[kind] += 1

    def _break(self, kind: str) -> None:
        mount = self.random.choice(self.mounts)
        match kind:
            case "mount":
                os.kill(health(mount)["pid"], signal.SIGKILL)
            case "courier":
                os.kill(health(mount)["courier"]["pid"], signal.SIGKILL)
            case "redis killed":
                os.kill(descend(self.redis)[-1], signal.SIGKILL)
            case "store killed":
                os.kill(descend(self.store)[-1], signal.SIGKILL)
            case "redis cut off":
                self._frozen(descend(self.redis))
            case "courier cut off":
                self._frozen([health(mount)["courier"]["pid"]])
            case "store cut off":
                self._frozen(descend(self.store))

    def _frozen(self, pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.random.uniform(0.3, 1.5))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
