"""bench_fs's figures: medians, ratios with upper bounds, one table, and which aims hold."""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fs_operations import COMMON, OPERATIONS, SPECIAL
from fs_places import SYSTEMS

PEERS = ("native", "bindfs", "juicefs")
COMMON_BOUND_US, SPECIAL_BOUND_US = 3000.0, 5000.0
AIMS = {
    "bindfs": {
        **dict.fromkeys(["roundtrip", "enoent", "readdir"], 1.0),
        **dict.fromkeys(["stat", "pread"], 1.1),
        **dict.fromkeys(["read", "readcold", "create", "overwrite", "rename", "status", "grep"], 1.25),
        **dict.fromkeys(["unlink", "mkdir", "clone", "untar", "rm"], 0.9),
    },
    "juicefs": {
        **dict.fromkeys(["create", "overwrite", "rename", "mkdir", "unlink"], 0.1),
        **dict.fromkeys(["pwrite", "seqwrite"], 0.5),
    },
}
FAST_AIM = 1.0
Runs = dict[tuple[str, str], list[list[float]]]
Row = dict[str, Any]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def upper(values: list[float]) -> float:
    """Return the one-sided 95 % upper bound of the median (of fewer than 5 values: the largest)."""
    below, at = 0.0, 0
    while at < len(values) and below < 0.95:
        below += math.comb(len(values), at) / 2 ** len(values)
        at += 1
    return sorted(values)[min(at, len(values) - 1)]


def figures(runs: Runs) -> list[Row]:
    """Return a row for each operation and system: medians over rounds of a round's p50 and p99, ratios to the peers."""
    rows = []
    for (operation, system), samples in runs.items():
        ratios: dict[str, float] = {}
        for peer in PEERS:
            if (operation, peer) in runs and peer != system:
                pairs = zip(samples, runs[operation, peer], strict=True)
                found = [quantile(a, 0.5) / quantile(b, 0.5) for a, b in pairs]
                ratios[peer] = round(statistics.median(found), 3)
                ratios[f"{peer}_upper95"] = round(upper(found), 3)
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


class Table:
    """One run's rows, looked up by operation and system."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {(row["figure"], row["system"]): row for row in rows}
        self._systems = [s for s in SYSTEMS if any(s == system for _, system in self._rows)]
        self._operations = [o for o in OPERATIONS if any(o == figure for figure, _ in self._rows)]
        self.missed: list[str] = []
        self.slow: list[str] = []

    def show(self) -> None:
        """Print everything; `slow` are then the operations whose p99 is over its bound, `missed` the aims."""
        heads = [f"{system:>11}" for system in self._systems]
        ours = [s for s in self._systems if s not in PEERS]
        beside = [(s, p) for p in PEERS[1:] for s in ours if p in self._systems]
        print(
            f"{'us, p50':<12}{''.join(heads)}"
            + "".join(f"{s.replace('weir-', '') + '/' + p:>20}" for s, p in beside)
            + f"{'p99 weir (bound)':>24}"
        )
        for operation in self._operations:
            cells = [_number(self._rows.get((operation, system))) for system in self._systems]
            ratios = [f"{self._ratio(operation, s, p):>20}" for s, p in beside]
            print(f"{operation:<12}{''.join(cells)}{''.join(ratios)}{self._tail(operation):>24}")
        probe = self._rows["spin", "probe"]
        print("ratios of medians (their upper 95 % bound); = aim holds, ~ the median does and the bound does not, ! neither")
        print(f"aims missed by the bound: {', '.join(self.missed) or 'none'}; p99 over: {', '.join(self.slow) or 'none'}")
        noise = f"p50 {probe['median']} us, p99 {probe['p99']} us, load {os.getloadavg()[0]:.1f}"
        print(f"noise probe (a fixed loop): {noise}; rounds {probe['runs']}")

    def _ratio(self, operation: str, system: str, peer: str) -> str:
        ratios = self._rows.get((operation, system), {"ratio_to": {}})["ratio_to"]
        if peer not in ratios:
            return "-"
        ratio, most = ratios[peer], ratios[f"{peer}_upper95"]
        said = f"{ratio:.2f} ({most:.2f})"
        aim = self._aim(operation, system, peer)
        if aim is None:
            return f"{said}   "
        if most > aim:
            self.missed.append(f"{operation} {system}/{peer} {ratio:.2f} ({most:.2f}) > {aim}")
        return f"{said} {'=' if most <= aim else '~' if ratio <= aim else '!'} "

    def _aim(self, operation: str, system: str, peer: str) -> float | None:
        if system == "weir":
            return AIMS[peer].get(operation)
        return FAST_AIM if (system, peer) == ("weir-fast", "bindfs") else None

    def _tail(self, operation: str) -> str:
        row, peer = self._rows.get((operation, "weir")), self._rows.get((operation, "bindfs"))
        if row is None or operation not in (*COMMON, *SPECIAL):
            return ""
        least = COMMON_BOUND_US if operation in COMMON else SPECIAL_BOUND_US
        bound = max(least, 1.5 * peer["p99"] if peer else 0.0)
        if row["p99"] >= bound:
            self.slow.append(f"{operation} {row['p99']:.0f} >= {bound:.0f}")
        p99 = f"{row['p99']:,.1f}" if row["p99"] < 100 else f"{row['p99']:,.0f}"
        return f"{p99} ({bound:,.0f}) {'=' if row['p99'] < bound else '!'}"


def _number(row: Row | None) -> str:
    if row is None:
        return f"{'-':>11}"
    return f"{row['median']:>11,.1f}" if row["median"] < 100 else f"{row['median']:>11,.0f}"


def keep(rows: list[Row], home: Path, **more: Any) -> Row:
    """Write latest.json and return it."""
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()[0], "at": time.time()}
    report: Row = {"environment": machine | more, "figures": rows}
    target = home / "bench" / "fs"
    target.mkdir(parents=True, exist_ok=True)
    (target / "latest.json").write_text(json.dumps(report, indent=1))
    return report
