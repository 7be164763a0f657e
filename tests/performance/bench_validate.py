"""`make bench`, validations: 1, 100 and 1000 in flight, cached and not, beside a stock Celery task on the same Redis.

Against the gateway of WEIR_HOME if one runs, else it starts the Procfile's own redis, postgres, record, validate and
gateway in a folder of its own. "N in flight" is N calls that wait for an answer at any time, as connections x calls a
request; a call's latency is its whole request's. What each process used of the CPUs for a call stands below, the client
(this process) among them. Rounds are interleaved; each cell records its own decisions while it runs, and begins when
those of the one before it are stored. Writes WEIR_HOME/bench/validate/latest.json.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile

from app.gateway_socket import GatewayUnreachable, post
from config.settings import ROOT, Settings, load

sys.path.insert(0, str(ROOT))
from tests.performance.cpu_shares import CpuShares
from tests.performance.validate_load import Run, Shape, run_gateway, summary

NEEDED = ("redis", "postgres", "record", "validate", "gateway")
SHAPES = (Shape(1, 1), Shape(100, 1), Shape(4, 25), Shape(8, 125), Shape(1000, 1))
Cell = tuple[str, str, Shape]


def run_celery(flights: int, seconds: float) -> Run:
    """Bursts of `flights` tasks, each waited for, until `seconds` are over."""
    from tests.performance.stock_celery import judge

    latencies: list[float] = []
    started = time.perf_counter()
    call = {"tool": "Bash", "input": {"command": "git log -n 3 -- src/app.py"}, "agent": "bench", "cwd": "/srv/project"}
    while time.perf_counter() - started < seconds:
        sent: dict[str, float] = {}
        results = []
        for _ in range(flights):
            now = time.perf_counter()
            result = judge.delay(call)
            sent[result.id] = now
            results.append(result)
        # in the order of sending, which is the order of a solo worker
        for result in results:
            result.get(timeout=60)
            latencies.append(time.perf_counter() - sent[result.id])
        for result in results:
            result.forget()
    return summary(latencies, time.perf_counter() - started, 0)


@contextmanager
def processes(settings: Settings) -> Iterator[None]:
    """Run what a validation needs, as the Procfile says."""
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    logs = settings.home / "bench-logs"
    logs.mkdir(exist_ok=True)
    started = []
    try:
        for name in NEEDED:
            with (logs / f"{name}.log").open("wb") as log:
                started.append(subprocess.Popen(["sh", "-c", lines[name]], cwd=ROOT, stdout=log, stderr=log))
        yield
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def peer(settings: Settings) -> Iterator[None]:
    """Run the stock worker (solo: 2-3 times faster than prefork on so small a task)."""
    url = (
        settings.redis_url.replace("unix://", "redis+socket://")
        if settings.redis_url.startswith("unix")
        else settings.redis_url
    )
    os.environ["STOCK_CELERY_URL"] = url
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.performance.stock_celery",
        "worker",
        "--pool",
        "solo",
        "-l",
        "ERROR",
    ]
    worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(30)


def wait_for_workers(path: str) -> None:
    """Wait until a worker decides."""
    until = time.monotonic() + 60
    number = 0
    while time.monotonic() < until:
        number += 1
        body = json.dumps({"tool": "Bash", "input": {"command": f"ls {time.time_ns()}"}, "agent": "bench"}).encode()
        try:
            answer = post(path, "/v1/validate", body).json()
        except GatewayUnreachable:
            time.sleep(0.2)
            continue
        if answer.get("degraded") is False:
            return
        time.sleep(0.1)
    raise SystemExit("no validation worker answers; see `weir status`")


def wait_for_records(spools: Path, bytes_max: int = 9 * 1024 * 1024) -> float:
    """Wait until what was answered before is stored, but for the segment in use; return the seconds it took."""
    started = time.perf_counter()
    while sum(path.stat().st_size for path in spools.glob("*.ws") if path.exists()) > bytes_max:
        if time.perf_counter() - started > 60:
            raise SystemExit("the decisions of a run are not stored within a minute; see `weir status`")
        time.sleep(0.05)
    return time.perf_counter() - started


def loop_us() -> float:
    """Return microseconds of CPU for a fixed piece of Python: how fast this machine is just now."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for number in range(10_000):
            {"a": number}.get("a")
            f"{number}-x".split("-")
        best = min(best, time.process_time() - started)
    return round(best * 1e6 / 10_000, 3)


def idle_share(seconds: float = 1.0) -> float:
    """Return the share of CPU time that nobody used during `seconds`."""
    before = _cpu_times()
    time.sleep(seconds)
    spent = [after - earlier for earlier, after in zip(before, _cpu_times(), strict=True)]
    return (spent[3] + spent[4]) / max(sum(spent), 1)


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


class Measured:
    """The runs of each cell, and the CPU time of each process in them."""

    def __init__(self, path: str, gateway_pid: int, spools: Path) -> None:
        self.path = path
        self.spools = spools
        self.shares = CpuShares(gateway_pid)
        self.runs: dict[Cell, list[Run]] = {}
        self.used_us: dict[Cell, dict[str, float]] = {}

    def rounds(self, number: int, seconds: float) -> None:
        """Measure each cell `number` times, interleaved."""
        for _ in range(number):
            for shape in SHAPES:
                for kind in ("cached", "uncached"):
                    self._gateway(kind, shape, seconds)
                if shape.calls == 1:
                    self.runs.setdefault(("celery", "uncached", shape), []).append(run_celery(shape.flights, seconds))

    def _gateway(self, kind: str, shape: Shape, seconds: float) -> None:
        wait_for_records(self.spools)
        self.shares.start()
        run = run_gateway(self.path, shape, seconds, cached=kind == "cached")
        used = self.used_us.setdefault(("weir", kind, shape), {})
        for name, us in self.shares.take().items():
            used[name] = used.get(name, 0.0) + us
        self.runs.setdefault(("weir", kind, shape), []).append(run)

    def stock(self, shape: Shape) -> list[Run]:
        """Return the peer's runs with as many in flight."""
        return self.runs["celery", "uncached", next(s for s in SHAPES if s.calls == 1 and s.flights == shape.flights)]

    def per_call_us(self, cell: Cell) -> dict[str, float]:
        """Return microseconds of CPU a call by process, the largest first; `cpus` is how many were ours."""
        runs, used = self.runs[cell], self.used_us.get(cell, {})
        answers = sum(run.answers for run in runs)
        shares = {name: round(us / answers, 1) for name, us in sorted(used.items(), key=lambda item: -item[1])}
        cpus = sum(used.values()) / 1e6 / sum(run.seconds for run in runs)
        known = {name: us for name, us in shares.items() if us}
        return known | {"all": round(sum(used.values()) / answers, 1), "cpus": round(cpus, 2)}


def report(measured: Measured) -> list[dict[str, Any]]:
    """Return the figures: per cell, latency in ms and calls a second, medians over the runs, and the best run."""
    figures = []
    for cell, runs in measured.runs.items():
        system, kind, shape = cell
        stock = measured.stock(shape)
        answers = sum(r.answers for r in runs)
        best = max(runs, key=lambda run: run.per_second)
        shared = {
            "system": system,
            "runs": len(runs),
            "connections_x_calls": str(shape),
            "degraded_share": round(sum(r.degraded_share * r.answers for r in runs) / answers, 6),
        }
        name = f"validate {kind}, {shape.flights} in flight"
        p99, rate = _median(runs, "p99_ms"), _median(runs, "per_second")
        latency = {
            "figure": f"{name}: latency",
            "median": round(_median(runs, "p50_ms"), 3),
            "p99": round(p99, 3),
            "best_p99": round(min(r.p99_ms for r in runs), 3),
            "unit": "ms",
            "ratio_to": {"celery": round(p99 / _median(stock, "p99_ms"), 4)},
        }
        through = {
            "figure": f"{name}: rate",
            "median": round(rate),
            "p99": None,
            "best": round(best.per_second),
            "unit": "1/s",
            "ratio_to": {"celery": round(rate / _median(stock, "per_second"), 2)},
        }
        if system == "weir":
            through["cpu_us_per_call"] = measured.per_call_us(cell)
        figures += [latency | shared, through | shared]
    return figures


def _median(runs: list[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def show(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        p99 = "" if figure["p99"] is None else f"p99 {figure['p99']:9.2f} best {figure['best_p99']:8.2f}"
        best = p99 or f"{'':13} best {figure['best']:8g}"
        value = f"{figure['median']:10.2f} {figure['unit']:4}"
        shape, degraded = figure["connections_x_calls"], figure["degraded_share"]
        print(f"{figure['figure']:42} {shape:>8} {figure['system']:7} {value} {best:28} degraded {degraded:.3%}")
    print("\nCPU us a call, by process (all: their sum; cpus: how many were ours)")
    for figure in figures:
        if "cpu_us_per_call" in figure:
            shares = "  ".join(f"{name} {us:g}" for name, us in figure["cpu_us_per_call"].items())
            print(f"{figure['figure'].removesuffix(': rate'):36} {figure['connections_x_calls']:>8}  {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    environment = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "idle_share_before": round(idle_share(), 3),
        "load_average_before": os.getloadavg(),
        "loop_us_before": loop_us(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    settings = load()
    where = settings.run / "gateway.json"
    if where.exists():
        figures = bench(settings, options.rounds, options.seconds)
    else:
        with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
            os.environ.update({"WEIR_HOME": f"{folder}/h", "WEIR_GATEWAY_PORT": "0"})
            own = load()
            with processes(own):
                until = time.monotonic() + 60
                while not (own.run / "gateway.json").exists() and time.monotonic() < until:
                    time.sleep(0.1)
                figures = bench(own, options.rounds, options.seconds)
    environment["load_average_after"] = os.getloadavg()
    environment["loop_us_after"] = loop_us()
    target = settings.home / "bench" / "validate" / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"environment": environment, "figures": figures}, indent=1))
    show(figures)
    print(f"written to {target}")


def bench(settings: Settings, rounds: int, seconds: float) -> list[dict[str, Any]]:
    where = json.loads((settings.run / "gateway.json").read_text())
    wait_for_workers(where["socket"])
    measured = Measured(where["socket"], where["pid"], settings.home / "spool")
    with peer(settings):
        run_celery(1, 0.1)
        for kind in (True, False):
            run_gateway(where["socket"], Shape(100, 1), 0.5, cached=kind)
        measured.rounds(rounds, seconds)
        drained_s = wait_for_records(settings.home / "spool")
    figure = {"figure": "records stored after the last answer", "system": "weir", "median": round(drained_s, 2), "unit": "s"}
    shared = {"p99": None, "best": round(drained_s, 2), "runs": 1, "connections_x_calls": "", "degraded_share": 0.0}
    return [*report(measured), figure | shared]


if __name__ == "__main__":
    main()
