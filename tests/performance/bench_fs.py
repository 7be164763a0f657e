"""Filesystem operations on Weir's mounts beside a native folder, bindfs and JuiceFS, interleaved, with a noise probe.

usage: bench_fs.py [--rounds 15] [--count 200] [--systems native,bindfs,weir] [--operations create,read] [--drain] [--at-most-s 900]
                   [--one-core] [--json]
Needs a running stack (WEIR_HOME, default .weir). An operation that needs files makes them first. Writes
$WEIR_HOME/bench/fs/latest.json. Figures are medians over rounds of a round's p50 and p99; a ratio is the median of
the rounds' ratios, with its one-sided 95 % upper bound (order statistic). Tools run in the first 5 rounds, the 4 GiB
file in the first 3. `special` as an operation is all of the rare ones, `single` the common ones, `tools` the programs.
--one-core: the client and what serves the mounts stay on one core (Weir's other processes where they like).
--at-most-s: no further operation begins after that. --drain: beside it a process writes, such that the store never has everything. Exit code 3: the p99 of an operation of
one call is not under max(3 ms, 1.5 times bindfs's), of a rare one max(5 ms, 1.5 times); 1: an operation failed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from fs_load import draining
from fs_operations import COMMON, NOT_ON, OPERATIONS, SPECIAL, STREAMS, TOOLS, Runner, Unknown, needed
from fs_places import SYSTEMS, places
from fs_table import Runs, Table, figures, keep
from one_core import on_one_core

DEFAULT = "native,bindfs,weir"
NAMED = {"single": COMMON, "special": SPECIAL, "streams": STREAMS, "tools": tuple(TOOLS)}


class Bench:
    """One run over systems, each with a folder of its own."""

    def __init__(self, runner: Runner, rounds: int, asked: list[str], at_most_s: float) -> None:
        self.runs: Runs = defaultdict(list)
        self.left_out: dict[tuple[str, str], str] = {}
        self._runner = runner
        self._rounds = rounds
        self._asked = asked
        self._until_s = time.monotonic() + at_most_s

    def run(self, homes: Mapping[str, Path]) -> None:
        for number in range(self._rounds):
            if time.monotonic() > self._until_s:
                break
            print(f"\rround {number + 1}/{self._rounds} ", end="", file=sys.stderr, flush=True)
            self._round(number, {name: home / f"round{number}" for name, home in homes.items()})
        print(file=sys.stderr)

    def _round(self, number: int, homes: Mapping[str, Path]) -> None:
        for home in homes.values():
            home.mkdir()
        for operation in needed(self._asked, number):
            if time.monotonic() > self._until_s:
                break
            self.runs["spin", "probe"].append(self._runner.sample("spin", Path("/"), 50))
            for name, home in random.sample(list(homes.items()), len(homes)):
                self._one(operation, name, home)
        for home in homes.values():
            shutil.rmtree(home)


    def _one(self, operation: str, name: str, home: Path) -> None:
        if (operation, name) in self.left_out or operation in NOT_ON.get(name, ()):
            return
        try:
            self.runs[operation, name].append(self._runner.run(operation, home))
        except (Unknown, RuntimeError, subprocess.CalledProcessError) as error:
            self.left_out[operation, name] = str(error)
            self.runs.pop((operation, name), None)


def chosen(said: str) -> list[str]:
    """Return operations by their names and those of groups; nothing: the common single ones."""
    found = [one for name in said.split(",") for one in NAMED.get(name, (name,))] if said else list(COMMON)
    unknown = set(found) - set(OPERATIONS)
    if unknown:
        sys.exit(f"no such operation: {', '.join(sorted(unknown))}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--systems", default=DEFAULT, help=f"of {','.join(SYSTEMS)}; default {DEFAULT}")
    parser.add_argument("--operations", default="", help=f"of {','.join((*NAMED, *OPERATIONS))}; default: single")
    parser.add_argument("--drain", action="store_true", help="while the pipeline drains")
    parser.add_argument("--one-core", action="store_true", help="client and mounts on one core")
    parser.add_argument("--at-most-s", type=float, default=float("inf"))
    parser.add_argument("--mount", type=Path, default=Path("mnt"))
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was mounted is unmounted
    home = Path(os.environ.get("WEIR_HOME", ".weir")).absolute()
    if not os.path.ismount(wanted.mount):
        print(f"{wanted.mount} is not mounted: run `make up` first", file=sys.stderr)
        return 1
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=home))
    ours = wanted.mount.absolute() / "current" / work.name
    asked = chosen(wanted.operations)
    try:
        ours.mkdir()
        runner = Runner(work, wanted.count, asked, [work / "below", work / "native", work / "juicefs", home / "chunks"])
        load = draining(ours / "load") if wanted.drain else nullcontext({})
        with places(wanted.systems.split(","), work, ours) as homes, load as drained:
            bench = Bench(runner, wanted.rounds, asked, wanted.at_most_s)
            with on_one_core(homes.values()) if wanted.one_core else nullcontext():
                bench.run(homes)
        rows = figures(bench.runs)
    finally:
        shutil.rmtree(ours, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    report = keep(rows, home, **drained)
    if wanted.json:
        print(json.dumps(report))
        return 0
    failed = {one: why for one, why in bench.left_out.items() if why}
    for (operation, system), why in failed.items():
        print(f"{operation} failed on {system}: {why.strip()}")
    slow = shown(rows, drained)
    return 1 if failed else slow


def shown(rows: list[dict[str, object]], drained: Mapping[str, object]) -> int:
    """Print the table; return the exit code."""
    table = Table(rows)
    table.show()
    if drained:
        print("while draining: " + ", ".join(f"{name} {value}" for name, value in drained.items()))
    return 3 if table.slow else 0


if __name__ == "__main__":
    sys.exit(main())
