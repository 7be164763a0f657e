"""What operations cost in a folder of 1,000 and of 10,000 files on every system, and in Weir beside 100,000 and a million.

usage: bench_growth.py [--systems native,bindfs,juicefs,weir] [--sizes 1000,10000] [--more 100000] [--imported 1000000]
Starts a stack of its own in a temporary folder and takes it away at the end. Up to `--more` files are made through the
mounts, those of `--imported` lie in folders of 1,000 and come in by `weir import`; 0 leaves a part out. Microseconds: p50 of
200 calls, medians of 5 interleaved rounds. Of Weir also: seconds until a fresh mount of all that shows the tree, and its bytes an inode.
Writes $WEIR_HOME/bench/growth/latest.json (WEIR_HOME: default .weir).
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fs_operations import Runner, wait_until_confirmed
from fs_places import EXTRA, SYSTEMS, places
from report import environment, figure, write

WEIR = str(Path(sys.executable).parent / "weir")
MEASURED = "unlink create roundtrip enoent read overwrite rename renameback mkdir rmdir".split()
ROUNDS, COUNT, FOLDER = 5, 200, 1000
Taken = dict[tuple[int, str], dict[str, list[float]]]


@contextmanager
def own_stack(folder: Path) -> Iterator[Path]:
    """Lend the mount of a stack whose state is in `folder`; this process's environment names it meanwhile."""
    for name in [name for name in os.environ if name.startswith(("WEIR_", "REDIS_URL", "DATABASE_URL"))]:
        del os.environ[name]
    os.environ |= {
        "WEIR_HOME": str(folder / "h"),
        "WEIR_MOUNT": str(folder / "mnt"),
        "WEIR_GATEWAY_PORT": "0",
        "WEIR_FLOWER_PORT": "0",
    }
    try:
        subprocess.run([WEIR, "up"], check=True, stdout=subprocess.DEVNULL)
        yield folder / "mnt"
    finally:
        subprocess.run([WEIR, "down"], check=False, stdout=subprocess.DEVNULL)


class Growth:
    """Figures by (files, system) and operation."""

    def __init__(self, runner: Runner) -> None:
        self.taken: Taken = defaultdict(lambda: defaultdict(list))
        self._runner = runner

    def fill(self, homes: Mapping[str, Path], size: int) -> None:
        """Make a folder of `size` files on each."""
        for name, home in homes.items():
            folder = home / f"of{size}"
            folder.mkdir()
            began_s = time.monotonic()
            self._runner.sample("create", folder, size)
            self.taken[size, name]["fill, each"].append((time.monotonic() - began_s) / size * 1e6)
            print(f"{name}: {size} files made in {time.monotonic() - began_s:.1f} s", file=sys.stderr)

    def measure(self, folders: Mapping[str, Path], size: int) -> None:
        """Measure in a folder that has files f0 to f199 among others."""
        for _ in range(ROUNDS):
            for operation in (*MEASURED, "readdir"):
                for name, folder in random.sample(list(folders.items()), len(folders)):
                    took = self._runner.sample(operation, folder, 10 if operation == "readdir" else COUNT)
                    self.taken[size, name][operation].append(statistics.median(took))

    def fresh_mount(self, place: Path, shows: Path, size: int, inodes: int) -> None:
        """Mount the project once more; note when `shows` is there, and what of the process's memory an inode takes."""
        began_s = time.monotonic()
        with (place.parent / "fresh.log").open("wb") as log:
            mount = subprocess.Popen([sys.executable, "-m", "fuse_mount", str(place), "--mount", "fresh"], stderr=log)
        while not (place / "current" / shows).exists():
            if mount.poll() is not None or time.monotonic() > began_s + 120:
                raise RuntimeError((place.parent / "fresh.log").read_text())
            time.sleep(0.01)
        self.taken[size, "weir"]["fresh mount, s"].append(time.monotonic() - began_s)
        status = Path(f"/proc/{mount.pid}/status").read_text()
        resident = 1024 * int(status.split("VmRSS:")[1].split()[0])
        self.taken[size, "weir"]["bytes an inode, all of the process"].append(resident / inodes)
        mount.terminate()
        mount.wait(60)


def make_million(folder: Path, number: int) -> None:
    """Make `number` files natively, in folders of FOLDER: those of the first one, which is measured in, of 4 KiB, the rest tiny."""
    for above in range(number // FOLDER):
        inner = folder / f"d{above:04d}"
        inner.mkdir(parents=True)
        for name in range(FOLDER):
            descriptor = os.open(inner / f"f{name}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, b"%-4096d" % name if above == 0 else b"%d" % (above * FOLDER + name))
            os.close(descriptor)


def grow(growth: Growth, wanted: argparse.Namespace, work: Path, mount: Path) -> None:
    ours = mount / "current" / "bench"
    ours.mkdir()
    with places(wanted.systems.split(","), work, ours) as homes:
        for size in wanted.sizes:
            growth.fill(homes, size)
            growth.measure({name: home / f"of{size}" for name, home in homes.items()}, size)
    home = {"weir": ours / "weir"}
    if wanted.more:
        growth.fill(home, wanted.more)
        growth.measure({"weir": ours / "weir" / f"of{wanted.more}"}, wanted.more)
        wait_until_confirmed(ours)
        growth.fresh_mount(work / "again", Path("bench"), wanted.more, wanted.more + sum(wanted.sizes))
    if wanted.imported:
        make_million(work / "outside", wanted.imported)
        began_s = time.monotonic()
        subprocess.run([WEIR, "import", str(work / "outside"), "--into", "million"], check=True, stdout=subprocess.DEVNULL)
        growth.taken[wanted.imported, "weir"]["import, each"].append(
            (time.monotonic() - began_s) / wanted.imported * 1e6
        )
        while not (mount / "current/million" / f"d{wanted.imported // FOLDER - 1:04d}").exists():
            time.sleep(0.1)
        growth.measure({"weir": mount / "current/million/d0000"}, wanted.imported)
        wait_until_confirmed(ours)
        whole = wanted.imported + wanted.more + sum(wanted.sizes)
        growth.fresh_mount(work / "once more", Path("million"), wanted.imported, whole)


def rows(taken: Taken) -> list[dict[str, Any]]:
    """Return a figure for each size, operation and system; ratio to the same system's smallest size."""
    found, least = [], {}
    for (size, system), operations in sorted(taken.items()):
        for operation, values in operations.items():
            median = statistics.median(values)
            first = least.setdefault((system, operation), median)
            unit = "s" if operation.endswith(", s") else "bytes" if operation.startswith("bytes") else "us"
            row = figure(f"{operation}, {size} files", system, median, None, unit, values)
            found.append(row | {"ratio_to": {"smallest": round(median / first, 2)} if first is not median else {}})
    return sorted(found, key=lambda row: row["figure"].split(",")[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="native,bindfs,juicefs,weir", help=f"of {','.join(SYSTEMS)}")
    parser.add_argument("--sizes", type=lambda said: [int(one) for one in said.split(",")], default=[1000, 10_000])
    parser.add_argument("--more", type=int, default=100_000)
    parser.add_argument("--imported", type=int, default=1_000_000)
    wanted, begun = parser.parse_args(), environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the stack is stopped
    home = Path(os.environ.get("WEIR_HOME") or ".weir").absolute()
    if set(wanted.systems.split(",")) & set(EXTRA):
        parser.error("Weir's further mounts grow as its first one does")
    folder = Path(tempfile.mkdtemp(prefix="wg-", dir="/tmp"))
    work = folder / "work"
    work.mkdir()
    growth = Growth(Runner(work, COUNT, (), ()))
    try:
        with own_stack(folder) as mount:
            grow(growth, wanted, work, mount)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ["WEIR_HOME"] = str(home)
    write("growth", begun, rows(growth.taken))
    return 0


if __name__ == "__main__":
    sys.exit(main())
