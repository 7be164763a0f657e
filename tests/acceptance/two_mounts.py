"""A reader on one mount of a file that another rewrites: tests/acceptance/two_mounts.py MOUNT SECOND SECONDS READERS

Stale is: older bytes than those of a write once the reader's mount has told the kernel of its position
(debug/position), or 1 s after its close. Prints reads, rewrites, stale ones, those that went back, and by which way the
positions came; exit code 1 where a read was stale or the trees differ after a second. Needs a running stack.
"""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

_AFTER_CLOSE_NS = 1_000_000_000
_EPHEMERAL_INODES = 1 << 61


def position(mount: Path) -> dict[str, int]:
    """Return what a mount says of itself."""
    found: dict[str, int] = json.loads((mount / "debug" / "position").read_text())
    return found


def rewrite(mount: Path, name: str, seconds: float, counts: list["Synchronized[int]"]) -> None:
    """Rewrite a file with rising numbers; `counts`: the last version closed, when, the last that was acknowledged."""
    closed, at_ns, acknowledged = counts
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        body = b"%012d" % number + b"x" * 3000
        target = mount / "current" / name
        if number % 2:
            target.write_bytes(body)
        else:
            aside = target.with_name(name + ".new")
            aside.write_bytes(body)
            aside.rename(target)
        at_ns.value = time.monotonic_ns()
        closed.value = number
        if not number % 10:  # the position that holds this version: when all that is sealed has been stored
            while (at := position(mount))["acked"] < at["sequence"]:
                time.sleep(0.001)
            acknowledged.value = number << 32 | at["applied"]


def poll(
    mount: Path,
    name: str,
    counts: list["Synchronized[int]"],
    done: "Synchronized[int]",
    found: "multiprocessing.Queue[tuple[int, int, int]]",
) -> None:
    """Read until `done`; report (reads, gone back, stale)."""
    closed, at_ns, acknowledged = counts
    reads = back = stale = newest = 0
    while not done.value:
        least = 0
        known = acknowledged.value
        if known and position(mount)["position"] >= known & 0xFFFFFFFF:
            least = known >> 32
        before, when = closed.value, at_ns.value
        if time.monotonic_ns() - when > _AFTER_CLOSE_NS:
            least = max(least, before)
        for _ in range(20):
            try:
                number = int((mount / "current" / name).read_bytes()[:12] or b"0")
            except FileNotFoundError:
                continue
            if number == 0:  # between truncate and write: a version of its own, with no bytes
                continue
            reads += 1
            back += number < newest
            stale += number < least
            newest = max(newest, number)
    found.put((reads, back, stale))


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return type and mode, and the content's hash, of every path below a folder; ephemeral ones are the mount's own."""
    found: dict[str, tuple[int, bytes]] = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place) / name
            stat = path.lstat()
            if stat.st_ino >= _EPHEMERAL_INODES:
                if name in folders:
                    folders.remove(name)
                continue
            body = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(folder))] = stat.st_mode, hashlib.sha256(body).digest()
    return found


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__)
        return 2
    mount, second, seconds, readers = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    name = f"polled-{os.getpid()}"
    counts = [multiprocessing.Value("q", 0, lock=False) for _ in range(3)]
    done = multiprocessing.Value("q", 0, lock=False)
    found: multiprocessing.Queue[tuple[int, int, int]] = multiprocessing.Queue()
    polling = [multiprocessing.Process(target=poll, args=(second, name, counts, done, found)) for _ in range(readers)]
    for process in polling:
        process.start()
    rewrite(mount, name, seconds, counts)
    time.sleep(1.0)
    here, there = tree(mount / "current"), tree(second / "current")
    differ = sorted(path for path in here.keys() | there.keys() if here.get(path) != there.get(path))
    done.value = 1
    reads, back, stale = (sum(each) for each in zip(*[found.get(timeout=60) for _ in polling], strict=True))
    for process in polling:
        process.join()
    trees = f"of {len(here)} paths alike" if not differ else f"DIFFER in {len(differ)} paths, as {differ[0]}"
    print(f"{reads} reads of {counts[0].value} rewrites: {back} went back, {stale} stale; trees {trees}")
    feed = json.loads((second / "debug" / "health").read_text())["feed"]
    print(f"positions: {feed['by_pubsub']} by pub/sub, {feed['by_catch_up']} by catch-up")
    return 0 if not differ and not back and not stale and reads else 1


if __name__ == "__main__":
    sys.exit(main())
