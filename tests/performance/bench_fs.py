"""Filesystem operations on the mount beside a native folder and bindfs, interleaved, with a noise probe.

usage: bench_fs.py [--rounds 15] [--count 200] [--json]   (needs a running stack: WEIR_HOME, default .weir)
Writes $WEIR_HOME/bench/fs/latest.json. Each figure is the median over rounds of a round's p50 and p99.
"""

import argparse
import contextlib
import json
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
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
# the order makes each operation find what it needs: files f0.. exist from create to unlink
OPERATIONS = (
    "create",
    "stat",
    "enoent",
    "read",
    "overwrite",
    "fsync",
    "rename",
    "renameback",
    "mkdir",
    "rmdir",
    "readdir",
    "unlink",
)
COMMON_BOUND_US = 3000.0


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def build(folder: Path) -> Path:
    client = folder / "fsclient"
    subprocess.run(["cc", "-O2", "-o", str(client), str(HERE / "fsclient.c")], check=True)
    return client


@contextlib.contextmanager
def bindfs(folder: Path) -> Iterator[Path | None]:
    if shutil.which("bindfs") is None:
        yield None
        return
    below, above = folder / "below", folder / "above"
    below.mkdir()
    above.mkdir()
    subprocess.run(["bindfs", str(below), str(above)], check=True)
    try:
        yield above
    finally:
        subprocess.run(["umount", "-l", str(above)], check=False)


def sample(client: Path, operation: str, folder: Path, count: int) -> list[float]:
    printed = subprocess.run(
        [str(client), operation, str(folder), str(count)], check=True, capture_output=True, text=True
    ).stdout
    return [int(line) / 1000 for line in printed.split()]


def measure(client: Path, places: dict[str, Path], rounds: int, count: int) -> dict[tuple[str, str], list[list[float]]]:
    runs: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for number in range(rounds):
        print(f"\rround {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
        homes = {name: place / f"round{number}" for name, place in places.items()}
        for home in homes.values():
            home.mkdir()
        for operation in OPERATIONS:
            order = list(homes.items())
            random.shuffle(order)
            runs["spin", "probe"].append(sample(client, "spin", Path("/"), 50))
            for name, home in order:
                runs[operation, name].append(
                    sample(
                        client, operation, home, count if operation not in {"readdir", "fsync"} else max(count // 4, 10)
                    )
                )
        for home in homes.values():
            shutil.rmtree(home)
    print(file=sys.stderr)
    return runs


def figures(runs: dict[tuple[str, str], list[list[float]]]) -> list[dict[str, object]]:
    rows = []
    for (operation, system), samples in runs.items():
        row: dict[str, object] = {
            "figure": operation,
            "system": system,
            "median": round(statistics.median(quantile(s, 0.5) for s in samples), 1),
            "p99": round(statistics.median(quantile(s, 0.99) for s in samples), 1),
            "unit": "us",
            "runs": len(samples),
            "degraded_share": None,
            "ratio_to": {},
        }
        for peer in ("native", "bindfs"):
            if system == "weir" and (operation, peer) in runs:
                pairs = zip(samples, runs[operation, peer], strict=True)
                row["ratio_to"][peer] = round(
                    statistics.median(quantile(a, 0.5) / quantile(b, 0.5) for a, b in pairs), 2
                )  # type: ignore[index]
        rows.append(row)
    return rows


def show(rows: list[dict[str, object]]) -> bool:
    table = {(r["figure"], r["system"]): r for r in rows}
    print(
        f"{'operation':<12}{'native p50':>11}{'bindfs p50':>11}{'weir p50':>10}{'x bindfs':>9}{'bindfs p99':>11}{'weir p99':>10}  within max(3 ms, 1.5 x bindfs p99)"
    )
    good = True
    for operation in OPERATIONS:
        weir, native, peer = (table.get((operation, s)) for s in ("weir", "native", "bindfs"))
        bound = max(COMMON_BOUND_US, 1.5 * float(peer["p99"]) if peer else 0.0)
        inside = float(weir["p99"]) < bound
        good &= inside
        print(
            f"{operation:<12}{native['median']:>11}{peer['median'] if peer else '-':>11}{weir['median']:>10}"
            f"{weir['ratio_to'].get('bindfs', '-'):>9}{peer['p99'] if peer else '-':>11}{weir['p99']:>10}  {'yes' if inside else 'NO'}"
        )
    probe = table["spin", "probe"]
    print(f"noise probe (a fixed loop): p50 {probe['median']} us, p99 {probe['p99']} us, load {os.getloadavg()[0]:.1f}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--mount", type=Path, default=Path("mnt"))
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    home = Path(os.environ.get("WEIR_HOME", ".weir"))
    current = wanted.mount / "current"
    if not os.path.ismount(wanted.mount):
        print(f"{wanted.mount} is not mounted: run `make up` first", file=sys.stderr)
        return 1
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=home))
    ours = current / work.name
    try:
        ours.mkdir()
        native = work / "native"
        native.mkdir()
        with bindfs(work) as peer:
            places = {"native": native, "weir": ours} | ({"bindfs": peer} if peer else {})
            rows = figures(measure(build(work), places, wanted.rounds, wanted.count))
    finally:
        shutil.rmtree(ours, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    report = {
        "environment": {
            "machine": platform.platform(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "at": time.time(),
        },
        "figures": rows,
    }
    target = home / "bench" / "fs"
    target.mkdir(parents=True, exist_ok=True)
    (target / "latest.json").write_text(json.dumps(report, indent=1))
    if wanted.json:
        print(json.dumps(report))
        return 0
    return 0 if show(rows) else 3


if __name__ == "__main__":
    sys.exit(main())
