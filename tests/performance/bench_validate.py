"""`make bench-validate`: validations a second and their latency, beside stock Celery, dramatiq and two controls.

Against the gateway of WEIR_HOME if one runs, else it starts the Procfile's own redis, postgres, record, validate and
gateway in a folder of its own. "N in flight" is N calls that wait for an answer at any time, as connections x calls a
request; a call's latency is its whole request's. Cells are interleaved over the rounds; each begins when the answers of
the one before it are stored, with the idle share of the CPUs beside it. Figures of a gateway with its 45 ms deadline:
what no worker decided in time is `degraded`, and counted. Writes WEIR_HOME/bench/validate/latest.json.
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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from app import bootstrap
from app.gateway_socket import GatewayUnreachable, post
from config.secret_files import secret_text
from config.settings import ROOT, Settings, load

sys.path.insert(0, str(ROOT))
from tests.performance.validate_load import Door, Run, Shape, run_gateway
from tests.performance.validate_peers import (
    bare_server,
    run_celery,
    run_dramatiq,
    run_over_celery,
    run_over_list,
    stock_workers,
)
from tests.performance.validate_watch import Cost, Watch, environment, idle_share

NEEDED = ("redis", "postgres", "record", "validate", "gateway")
LONG_S = 60.0


class Cell(NamedTuple):
    """One thing that is measured. `kind`: cached, uncached, http (uncached over TCP), or a peer's name."""

    kind: str
    shape: Shape
    seconds: float = 0.0

    @property
    def name(self) -> str:
        lasts = f" for {self.seconds:g} s" if self.seconds else ""
        return f"{self.kind} {self.shape}{lasts}"


FLIGHTS = (1, 100, 1000)
CELLS = (
    *(Cell(kind, shape) for kind in ("cached", "uncached") for shape in (Shape(1, 1), Shape(100, 1), Shape(4, 25))),
    *(Cell(kind, shape) for kind in ("cached", "uncached") for shape in (Shape(8, 125), Shape(1000, 1))),
    Cell("uncached", Shape(40, 125)),
    Cell("uncached", Shape(40, 125, deadline_ms=500)),
    Cell("http", Shape(1000, 1)),
    Cell("uncached", Shape(200, 1, 5000)),
    Cell("bare", Shape(100, 1)),
    *(Cell(peer, Shape(flights, 1)) for peer in ("celery", "dramatiq") for flights in FLIGHTS),
    Cell("batches over celery", Shape(4, 250)),
    Cell("batches over a list", Shape(4, 250)),
    Cell("uncached", Shape(8, 125), LONG_S),
)
PEERS = ("celery", "dramatiq")


class Taken(NamedTuple):
    """A run of a cell with what stood beside it."""

    run: Run
    idle_share: float
    cost: Cost | None
    drained_s: float


@contextmanager
def processes(settings: Settings) -> Iterator[None]:
    """Run what a validation needs, as `make up` does: what works in the background yields."""
    programs = {program.name: program for program in bootstrap.programs()}
    logs = settings.home / "bench-logs"
    logs.mkdir(exist_ok=True)
    started = []
    try:
        for name in NEEDED:
            with (logs / f"{name}.log").open("wb") as log:
                command = ["nice", "-n", str(programs[name].nice), "sh", "-c", programs[name].command]
                started.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        yield
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_workers(path: str) -> None:
    """Wait until a worker decides."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
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


class Bench:
    """Runs cells against one gateway."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        where = json.loads((settings.run / "gateway.json").read_text())
        self._settings, self._seconds = settings, seconds
        self._near = Door(where["socket"])
        self._tcp = Door("", where["port"], secret_text(settings.secrets / "gateway.token"))
        wait_for_workers(where["socket"])
        self._watch = Watch(settings, where["socket"], where["pid"])
        self.taken: dict[Cell, list[Taken]] = {}

    def warm_up(self, cells: list[Cell]) -> None:
        for cached in (True, False):
            run_gateway(self._near, Shape(100, 1), 0.5, cached=cached)
        for kind in PEERS:
            if peer := next((self._peer(cell) for cell in cells if cell.kind == kind), None):
                peer(0.1)

    def close(self) -> None:
        """Let go of what listens."""
        self._watch.close()

    def take(self, cell: Cell) -> None:
        """Measure a cell once."""
        self._watch.wait_for_records()
        idle, seconds = idle_share(), cell.seconds or self._seconds
        peer = self._peer(cell)
        if peer is not None:
            self.taken.setdefault(cell, []).append(Taken(peer(seconds), idle, None, 0.0))
            return
        self._watch.begin()
        run = run_gateway(
            self._tcp if cell.kind == "http" else self._near, cell.shape, seconds, cached=cell.kind == "cached"
        )
        ended = time.perf_counter()
        cost = self._watch.end(run.answers)
        self._watch.wait_for_records()
        self.taken.setdefault(cell, []).append(Taken(run, idle, cost, time.perf_counter() - ended))

    def _peer(self, cell: Cell) -> Callable[[float], Run] | None:
        flights = cell.shape.flights
        peers: dict[str, Callable[[float], Run]] = {
            "celery": lambda seconds: run_celery(flights, seconds),
            "dramatiq": lambda seconds: run_dramatiq(flights, seconds),
            "batches over celery": lambda seconds: run_over_celery(self._settings, seconds),
            "batches over a list": lambda seconds: run_over_list(self._settings, seconds),
            "bare": lambda seconds: self._bare(cell.shape, seconds),
        }
        return peers.get(cell.kind)

    def _bare(self, shape: Shape, seconds: float) -> Run:
        with bare_server() as path:
            return run_gateway(Door(path), shape, seconds, cached=True)


def figures_of(taken: dict[Cell, list[Taken]]) -> list[dict[str, Any]]:
    """Return the figures: per cell medians over its runs of latency in ms and of calls a second, and what they cost."""
    rates = {cell: statistics.median(t.run.per_second for t in runs) for cell, runs in taken.items()}
    p99s = {cell: statistics.median(t.run.p99_ms for t in runs) for cell, runs in taken.items()}
    figures = []
    for cell, runs in taken.items():
        answers = sum(t.run.answers for t in runs)
        shared = {
            "system": cell.kind if _is_peer(cell) else "weir",
            "runs": len(runs),
            "shape": str(cell.shape),
            "degraded_share": round(sum(t.run.degraded_share * t.run.answers for t in runs) / answers, 6),
            "idle_share_before": [t.idle_share for t in runs],
        }
        latency = {
            "figure": f"{cell.name}: latency",
            "median": round(statistics.median(t.run.p50_ms for t in runs), 3),
            "p99": round(p99s[cell], 3),
            "best_p99": round(min(t.run.p99_ms for t in runs), 3),
            "unit": "ms",
            "ratio_to": {other: round(p99s[cell] / p99s[peer], 4) for other, peer in _beside(cell, taken)},
        }
        rate = {
            "figure": f"{cell.name}: rate",
            "median": round(rates[cell]),
            "p99": None,
            "best": round(max(t.run.per_second for t in runs)),
            "unit": "1/s",
            "ratio_to": {other: round(rates[cell] / rates[peer], 3) for other, peer in _beside(cell, taken)},
            **_costs(runs),
        }
        figures += [latency | shared, rate | shared]
    return figures


def _is_peer(cell: Cell) -> bool:
    return cell.kind not in {"cached", "uncached", "http"}


def _beside(cell: Cell, taken: dict[Cell, list[Taken]]) -> list[tuple[str, Cell]]:
    """Return what a cell is compared with."""
    others: list[tuple[str, Cell]] = []
    if not _is_peer(cell):
        flights = max((f for f in FLIGHTS if f <= cell.shape.flights), default=1)
        others += [(peer, Cell(peer, Shape(flights, 1))) for peer in PEERS]
    if cell == Cell("cached", Shape(100, 1)):
        others.append(("bare protocol", Cell("bare", Shape(100, 1))))
    if cell.kind == "batches over a list":
        others.append(("celery", Cell("batches over celery", Shape(4, 250))))
    return [(name, other) for name, other in others if other in taken]


def _costs(runs: list[Taken]) -> dict[str, Any]:
    costs = [(t.cost, t.run.answers) for t in runs if t.cost is not None]
    if not costs:
        return {}
    answers = sum(n for _, n in costs)
    names = {name for cost, _ in costs for name in cost.cpu_us}
    cpu = {name: sum(cost.cpu_us.get(name, 0.0) * n for cost, n in costs) / answers for name in names}
    layers = {name: sum(cost.layers_us[name] * n for cost, n in costs) / answers for name in costs[0][0].layers_us}
    return {
        "cpu_us_a_call": {
            name: round(us, 1) for name, us in sorted(cpu.items(), key=lambda item: -item[1]) if us >= 0.05
        }
        | {"all": round(sum(cpu.values()), 1)},
        "layers_us": {name: round(us, 2) for name, us in layers.items()},
        "judged_by_workers": sum(cost.judged for cost, _ in costs),
        "of_them_again": sum(cost.again for cost, _ in costs),
        "answered_by_workers": sum(t.run.answers - t.run.elsewhere for t in runs),
        "stored_after_s": round(max(t.drained_s for t in runs), 2),
    }


def show(figures: list[dict[str, Any]]) -> None:
    for latency, rate in zip(figures[::2], figures[1::2], strict=True):
        ratios = "  ".join(f"{value:g} x {name}" for name, value in rate["ratio_to"].items())
        print(
            f"{latency['figure'].removesuffix(': latency'):26} {rate['median']:7d}/s  p50 {latency['median']:8.2f}  "
            f"p99 {latency['p99']:8.2f} ms  degraded {rate['degraded_share']:7.3%}  "
            f"idle {statistics.median(rate['idle_share_before']):.2f}  {ratios}"
        )
    print("\nCPU us a call, by process; layers in us (a call's, and a batch's round trip); calls judged by workers")
    for figure in figures:
        if "cpu_us_a_call" in figure:
            cpu = "  ".join(f"{name} {us:g}" for name, us in figure["cpu_us_a_call"].items())
            layers = "  ".join(f"{name} {us:g}" for name, us in figure["layers_us"].items())
            print(f"{figure['figure'].removesuffix(': rate')}\n    cpu: {cpu}\n    layers: {layers}")
            judged, answered = figure["judged_by_workers"], figure["answered_by_workers"]
            again = figure["of_them_again"]
            stored = f"stored after {figure['stored_after_s']} s"
            print(f"    judged by workers {judged}, of them again {again}, answered by them {answered}; {stored}")


def bench(settings: Settings, cells: list[Cell], rounds: int, seconds: float) -> list[dict[str, Any]]:
    with closing(Bench(settings, seconds)) as run, stock_workers(settings):
        run.warm_up(cells)
        for number in range(rounds):
            for cell in cells:
                if not (number and cell.seconds):
                    run.take(cell)
        return figures_of(run.taken)


def chosen(words: list[str]) -> list[Cell]:
    """Return the cells whose names hold one of the words; all of them without any."""
    cells = [cell for cell in CELLS if not words or any(word in cell.name for word in words)]
    if not cells:
        raise SystemExit("no such cell; there are: " + ", ".join(cell.name for cell in CELLS))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cell", action="append", default=[], help="a part of a cell's name; may come several times")
    options = parser.parse_args()
    cells = chosen(options.cell)
    facts = {"python": platform.python_version(), "kernel": platform.release(), "before": environment()}
    settings = load()
    if (settings.run / "gateway.json").exists():
        figures = bench(settings, cells, options.rounds, options.seconds)
    else:
        with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
            os.environ.update({"WEIR_HOME": f"{folder}/h", "WEIR_GATEWAY_PORT": "0"})
            own = load()
            with processes(own):
                until = time.monotonic() + 60
                while not (own.run / "gateway.json").exists() and time.monotonic() < until:
                    time.sleep(0.1)
                figures = bench(own, cells, options.rounds, options.seconds)
    facts |= {"after": environment(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    target = settings.home / "bench" / "validate" / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"environment": facts, "figures": figures}, indent=1))
    show(figures)
    print(f"written to {target}")


if __name__ == "__main__":
    main()
