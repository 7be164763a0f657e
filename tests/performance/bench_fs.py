"""Filesystem operations on Weir's mounts beside a native folder, bindfs and JuiceFS, interleaved, with a noise probe.

usage: bench_fs.py [--rounds 15] [--count 200] [--systems native,bindfs,weir] [--operations create,read] [--json]
Needs a running stack (WEIR_HOME, default .weir). An operation that needs files makes them first. Writes
$WEIR_HOME/bench/fs/latest.json. Figures are medians over rounds of a round's p50 and p99; a ratio is the median of
the rounds' ratios, with its one-sided 95 % upper bound (order statistic). Exit code 3: a common operation's p99 is
not under max(3 ms, 1.5 times bindfs's).
"""

import argparse
import json
import math
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from fs_places import SYSTEMS, places

HERE = Path(__file__).parent
# the order makes each operation find what it needs: files f0.. exist from create to unlink
SINGLE = (
    "create stat roundtrip enoent read readcold overwrite pwrite fsync rename renameback mkdir rmdir readdir ls unlink"
).split()
FEW = frozenset({"readdir", "ls"})
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
}
OPERATIONS = (*SINGLE, *STREAMS, *TOOLS)
DEFAULT = "native,bindfs,weir"
COMMON_BOUND_US = 3000.0
STREAM_MIB = 256
PEERS = ("native", "bindfs", "juicefs")
Runs = dict[tuple[str, str], list[list[float]]]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def upper(values: list[float]) -> float:
    """Return the one-sided 95 % upper bound of the median."""
    below, at = 0.0, 0
    while at < len(values) and below < 0.95:
        below += math.comb(len(values), at) / 2 ** len(values)
        at += 1
    return sorted(values)[min(at, len(values) - 1)]


class Bench:
    """One run: `work` is a native folder for the client and what the tools read."""

    def __init__(self, work: Path, wanted: argparse.Namespace) -> None:
        self.client = work / "fsclient"
        self.count: int = wanted.count
        self.rounds: int = wanted.rounds
        self.asked = wanted.operations.split(",") if wanted.operations else list(SINGLE)
        self.runs: Runs = defaultdict(list)
        self._tar, self._repository = work / "tree.tar", work / "tree"
        subprocess.run(["cc", "-O2", "-o", str(self.client), str(HERE / "fsclient.c")], check=True)
        if set(self.asked) & set(TOOLS):
            self._make_tree()

    def _make_tree(self) -> None:
        self._repository.mkdir()
        for number in range(1000):
            (self._repository / f"file{number:04d}.txt").write_text(f"line {number} of a text\n" * (number % 200 + 1))
        subprocess.run(["tar", "cf", str(self._tar), "-C", str(self._repository), "."], check=True)
        name = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for words in (["init", "-q"], ["add", "."], [*name, "commit", "-qm", "tree"]):
            subprocess.run(["git", "-C", str(self._repository), *words], check=True)

    def run(self, homes: Mapping[str, Path]) -> Runs:
        for number in range(self.rounds):
            print(f"\rround {number + 1}/{self.rounds} ", end="", file=sys.stderr, flush=True)
            self._round({name: home / f"round{number}" for name, home in homes.items()})
        print(file=sys.stderr)
        return self.runs

    def _round(self, homes: Mapping[str, Path]) -> None:
        for home in homes.values():
            home.mkdir()
        for operation in self._needed():
            self.runs["spin", "probe"].append(self._sample("spin", Path("/"), 50))
            for name, home in random.sample(list(homes.items()), len(homes)):
                self.runs[operation, name].append(self._one(operation, home))
        for home in homes.values():
            shutil.rmtree(home)

    def _needed(self) -> list[str]:
        """Return what is asked for with what has to come before it, in order."""
        needed = set(self.asked)
        if needed & set(SINGLE):
            needed.add("create")
        pairs = (("renameback", "rename"), ("rename", "renameback"), ("rmdir", "mkdir"), ("mkdir", "rmdir"),
                 ("seqread", "seqwrite"), ("grep", "untar"), ("readdir-1k", "untar"), ("ls-1k", "untar"), ("rm", "untar"),
                 ("readdir-10k", "fill-10k"), ("ls-10k", "fill-10k"), ("rm-10k", "fill-10k"), ("status", "clone"))  # fmt: skip
        for what, before in pairs:
            if what in needed:
                needed.add(before)
        return [operation for operation in OPERATIONS if operation in needed]

    def _one(self, operation: str, home: Path) -> list[float]:
        if operation in STREAMS:
            return self._sample(operation, home, STREAM_MIB)
        if operation in TOOLS:
            said = TOOLS[operation].format(
                client=self.client, count=self.count, tar=self._tar, repository=self._repository
            )
            start_s = time.monotonic()
            subprocess.run(["sh", "-ec", said], cwd=home, check=True)
            return [(time.monotonic() - start_s) * 1e6]
        return self._sample(operation, home, max(self.count // 4, 10) if operation in FEW else self.count)

    def _sample(self, operation: str, folder: Path, count: int) -> list[float]:
        words = [str(self.client), operation, str(folder), str(count)]
        printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return [int(line) / 1000 for line in printed.split()]


def figures(runs: Runs) -> list[dict[str, object]]:
    rows = []
    for (operation, system), samples in runs.items():
        ratios: dict[str, float] = {}
        for peer in PEERS:
            if (operation, peer) in runs and peer != system:
                pairs = zip(samples, runs[operation, peer], strict=True)
                found = [quantile(a, 0.5) / quantile(b, 0.5) for a, b in pairs]
                ratios[peer] = round(statistics.median(found), 2)
                ratios[f"{peer}_upper95"] = round(upper(found), 2)
        rows.append(
            {
                "figure": operation,
                "system": system,
                "median": round(statistics.median(quantile(s, 0.5) for s in samples), 1),
                "p99": round(statistics.median(quantile(s, 0.99) for s in samples), 1),
                "unit": "us",
                "runs": len(samples),
                "degraded_share": None,
                "ratio_to": ratios,
            }
        )
    return rows


def show(rows: list[dict[str, object]]) -> bool:
    """Print a table; return whether Weir's default mount keeps the bound on every single operation that was run."""
    table = {(r["figure"], r["system"]): r for r in rows}
    print(f"{'operation':<12}{'system':<11}{'p50 us':>11}{'p99 us':>11}  ratio of medians (95 % upper bound)")
    good = True
    for operation in (o for o in OPERATIONS if any(o == figure for figure, _ in table)):
        peer = table.get((operation, "bindfs"))
        bound = max(COMMON_BOUND_US, 1.5 * float(peer["p99"]) if peer else 0.0)  # type: ignore[arg-type]
        for system in SYSTEMS:
            row = table.get((operation, system))
            if row is None:
                continue
            ratios: dict[str, float] = row["ratio_to"]  # type: ignore[assignment]
            said = ", ".join(f"{p} {ratios[p]} ({ratios[p + '_upper95']})" for p in PEERS if p in ratios)
            over = system == "weir" and operation in SINGLE and float(row["p99"]) >= bound  # type: ignore[arg-type]
            good &= not over
            said += f"  p99 NOT under {bound:.0f}" if over else ""
            print(f"{operation:<12}{system:<11}{row['median']:>11}{row['p99']:>11}  {said}")
    probe = table["spin", "probe"]
    print(f"noise probe (a fixed loop): p50 {probe['median']} us, p99 {probe['p99']} us, load {os.getloadavg()[0]:.1f}")
    return good


def keep(rows: list[dict[str, object]], home: Path) -> dict[str, object]:
    """Write latest.json and return it."""
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()[0], "at": time.time()}
    report: dict[str, object] = {"environment": machine, "figures": rows}
    target = home / "bench" / "fs"
    target.mkdir(parents=True, exist_ok=True)
    (target / "latest.json").write_text(json.dumps(report, indent=1))
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--systems", default=DEFAULT, help=f"of {','.join(SYSTEMS)}; default {DEFAULT}")
    parser.add_argument("--operations", default="", help=f"of {','.join(OPERATIONS)}; default: the single operations")
    parser.add_argument("--mount", type=Path, default=Path("mnt"))
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    home = Path(os.environ.get("WEIR_HOME", ".weir")).absolute()
    if not os.path.ismount(wanted.mount):
        print(f"{wanted.mount} is not mounted: run `make up` first", file=sys.stderr)
        return 1
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=home))
    ours = wanted.mount.absolute() / "current" / work.name
    try:
        ours.mkdir()
        bench = Bench(work, wanted)
        with places(wanted.systems.split(","), work, ours) as homes:
            rows = figures(bench.run(homes))
    finally:
        shutil.rmtree(ours, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    report = keep(rows, home)
    if wanted.json:
        print(json.dumps(report))
        return 0
    return 0 if show(rows) else 3


if __name__ == "__main__":
    sys.exit(main())
