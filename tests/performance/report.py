"""What every benchmark leaves behind: where it ran, and its figures in one form."""

import json
import os
import platform
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return {
        "cpus": os.cpu_count(),
        "cpu": model,
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def figure(
    name: str, system: str, median: float, p99: float | None, unit: str, runs: list[float], **more: Any
) -> dict[str, Any]:
    """Return one figure; `degraded_share` is of decisions, so 0 where nothing was asked of a gateway."""
    said = {"figure": name, "system": system, "median": round(median, 3), "p99": None if p99 is None else round(p99, 3)}
    return said | {"unit": unit, "runs": [round(run, 3) for run in runs], "degraded_share": 0.0, "ratio_to": {}} | more


def ratios(figures: list[dict[str, Any]]) -> None:
    """Fill in, for each figure of ours, how many times each peer's median is as large."""
    for ours in (one for one in figures if one["system"] == "weir" and one["median"]):
        for peer in figures:
            if peer["figure"] == ours["figure"] and peer is not ours:
                ours["ratio_to"][peer["system"]] = round(peer["median"] / ours["median"], 2)


def write(name: str, begun: dict[str, Any], figures: list[dict[str, Any]]) -> Path:
    """Write $WEIR_HOME/bench/<name>/latest.json and print it as a table; `begun`: environment() at the start."""
    target = Path(os.environ.get("WEIR_HOME") or ".weir") / "bench" / name / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"environment": begun, "figures": figures}, indent=1))
    for one in figures:
        p99 = "" if one["p99"] is None else one["p99"]
        beside = ", ".join(f"{peer} {ratio}x" for peer, ratio in one["ratio_to"].items())
        print(f"{one['figure']:52} {one['system']:24} {one['median']:>10} {p99!s:>10} {one['unit']:22} {beside}")
    return target
