"""An outside count of system calls agrees with the events, and the tree of the events holds what returned.

`Counting` makes each call twice: on the mount and on a native folder beside it. It counts by the table in
docs/reference/events.md and knows nothing of Weir.
"""

import json
import os
import random
import stat
import time
from collections import Counter
from pathlib import Path

import pytest


class Counting:
    """Plain system calls on two folders; `events` is what the first one's calls must have made."""

    def __init__(self, mount: Path, native: Path) -> None:
        self.places = (mount, native)
        self.events: Counter[str] = Counter()

    def both(self, call, *names: str, **more) -> None:
        for place in self.places:
            call(*(place / name for name in names), **more)

    def write(self, name: str, flags: int, parts: list[tuple[int, bytes]], *, sync: bool = False) -> None:
        path = self.places[1] / name
        new = not path.exists()
        for place in self.places:
            descriptor = os.open(place / name, flags | os.O_WRONLY, 0o640)
            for offset, data in parts:
                os.write(descriptor, data) if flags & os.O_APPEND else os.pwrite(descriptor, data, offset)
            if sync:
                os.fsync(descriptor)
            os.close(descriptor)
        self.events["create"] += new
        self.events["truncate"] += bool(flags & os.O_TRUNC)
        self.events["write"] += bool(parts)

    def call(self, kind: str, function, *names: str, **more) -> None:
        self.both(function, *names, **more)
        self.events[kind] += 1


def random_calls(made: Counting, rng: random.Random, rounds: int) -> None:
    native = made.places[1]
    for number in range(rounds):
        files = sorted(str(p.relative_to(native)) for p in native.rglob("*") if p.is_file() and not p.is_symlink())
        folders = [".", *sorted(str(p.relative_to(native)) for p in native.rglob("*") if p.is_dir() and not p.is_symlink())]
        at = rng.choice(folders)
        fresh, body = f"{at}/n{number}", rng.randbytes(rng.choice([0, 1, 100, 5000, 200_000]))
        parts = [(rng.randrange(300_000), body)] if body else []
        old = rng.choice(files) if files else None
        match rng.randrange(14) if old else rng.randrange(3):
            case 0 | 1:
                made.write(fresh, os.O_CREAT | os.O_EXCL, parts, sync=rng.random() < 0.2)
            case 2:
                made.call("mkdir", os.mkdir, fresh)
            case 3:
                made.write(old, os.O_TRUNC, parts)
            case 4:
                made.write(old, os.O_APPEND, parts)
            case 5:
                made.write(old, 0, parts + parts)
            case 6:
                made.both(lambda path, size=rng.randrange(250_000): os.truncate(path, size), old)
                made.events["truncate"] += 1
            case 7:
                made.call("rename", os.rename, old, fresh)
            case 8:
                target = rng.choice(files)
                same = os.path.samefile(native / old, native / target)
                made.both(os.rename, old, target)
                made.events["rename"] += not same
            case 9:
                made.call("unlink", os.unlink, old)
            case 10:
                made.call("link", os.link, old, fresh)
            case 11:
                made.both(lambda path: os.symlink("some/where", path), fresh)
                made.events["symlink"] += 1
            case 12:
                made.both(lambda path, mode=rng.choice([0o600, 0o755, 0o444]): os.chmod(path, mode), old)
                made.events["setattr"] += 1
            case _:
                at_ns = rng.randrange(10**18)
                made.both(lambda path: os.utime(path, ns=(at_ns, at_ns)), old)
                made.events["setattr"] += 1


def shown(folder: Path) -> dict[str, tuple]:
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place) / name
            info = path.lstat()
            body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
            links = info.st_nlink if stat.S_ISREG(info.st_mode) else 0
            found[str(path.relative_to(folder))] = (stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), links, body)
    return found


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_events_agree_with_the_system_calls_and_their_tree_with_the_bytes(stack, tmp_path: Path, seed: int) -> None:
    name = f"counted{seed}"
    mount, native = stack.current / name, tmp_path / "native"
    mount.mkdir()
    native.mkdir()
    made = Counting(mount, native)
    random_calls(made, random.Random(seed), 400)
    assert shown(mount) == shown(native)

    while (at := json.loads((stack.mount / "debug" / "position").read_text()))["acked"] < at["sequence"]:
        time.sleep(0.05)
    lines = stack.weir("log", name, "--json", "--limit", "100000").stdout.splitlines()
    logged = [json.loads(line) for line in lines]
    kinds = Counter(event["kind"] for event in logged if event["path"] != name)
    assert kinds == +made.events
    assert {event["outcome"] for event in logged} == {"applied"}
    out = tmp_path / "out"
    done = stack.weir("export", str(out), "--path", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown(out) == shown(native)
