"""`make bench`, validations: 1, 100 and 1000 in flight, cached and not, beside a stock Celery task on the same Redis.

Against the gateway of WEIR_HOME if one runs, else it starts the Procfile's own redis, postgres, record, validate and
gateway in a folder of its own. Each caller has its own connection and one call in flight; every answer is parsed as far
as its status, layer and `degraded`. Rounds are interleaved. Writes WEIR_HOME/bench/validate/latest.json.
"""

import argparse
import asyncio
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
from typing import Any, NamedTuple

import uvloop
from honcho.environ import parse_procfile

from app.client import GatewayUnreachable, post
from config.settings import ROOT, Settings, load

NEEDED = ("redis", "postgres", "record", "validate", "gateway")
FLIGHTS = (1, 100, 1000)


class Run(NamedTuple):
    """One measured cell: latencies in ms, answers a second, share of answers without a worker."""

    p50_ms: float
    p99_ms: float
    per_second: float
    degraded_share: float
    answers: int


class Caller(asyncio.Protocol):
    """One connection with one call in flight."""

    def __init__(self, load_: "Load") -> None:
        self.load = load_
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(exc)

    def ask(self) -> None:
        body = self.load.next_body()
        self.sent = time.perf_counter()
        self.transport.write(
            b"POST /v1/validate HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        split = buffer.find(b"\r\n\r\n")
        start = buffer.find(b"Content-Length: ") + 16
        end = -1 if split < 0 else split + 4 + int(buffer[start : buffer.find(b"\r", start)])
        if split < 0 or len(buffer) < end:
            self.buffer = buffer
            return
        self.buffer = b""
        if not buffer.startswith(b"HTTP/1.1 200") or b'"verdict":' not in buffer:
            raise RuntimeError(buffer.decode())
        if self.load.answered(time.perf_counter() - self.sent, b'"degraded":true' in buffer):
            self.ask()
        else:
            self.transport.close()


class Load:
    """A closed loop of callers for `seconds`."""

    def __init__(self, path: str, flights: int, seconds: float, *, cached: bool) -> None:
        self.path, self.flights, self.seconds, self.cached = path, flights, seconds, cached
        self.number = time.time_ns() // 1000
        self.latencies: list[float] = []
        self.degraded = 0
        self.open = 0

    def next_body(self) -> bytes:
        self.number += 1
        number = self.number % 50 if self.cached else self.number
        return (
            b'{"tool":"Bash","input":{"command":"git log -n %d -- src/app.py"},"agent":"bench","cwd":"/srv/project"}'
            % number
        )

    def answered(self, seconds: float, degraded: bool) -> bool:  # noqa: FBT001 - called once
        self.latencies.append(seconds)
        self.degraded += degraded
        return time.perf_counter() < self.until

    def lost(self, error: Exception | None) -> None:
        self.open -= 1
        if error is not None:
            self.failed = error
        if not self.open:
            self.over.set()

    async def run(self) -> Run:
        loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        self.failed: Exception | None = None
        callers = []
        for _ in range(self.flights):
            _, caller = await loop.create_unix_connection(lambda: Caller(self), self.path)
            callers.append(caller)
        self.open = len(callers)
        started = time.perf_counter()
        self.until = started + self.seconds
        for caller in callers:
            caller.ask()
        await self.over.wait()
        if self.failed is not None:
            raise self.failed
        return summary(self.latencies, time.perf_counter() - started, self.degraded)


def summary(latencies: list[float], seconds: float, degraded: int) -> Run:
    ordered = sorted(latencies)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return Run(
        ordered[len(ordered) // 2] * 1e3, p99 * 1e3, len(ordered) / seconds, degraded / len(ordered), len(ordered)
    )


def run_gateway(path: str, flights: int, seconds: float, *, cached: bool) -> Run:
    return uvloop.run(Load(path, flights, seconds, cached=cached).run())


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
    sys.path.insert(0, str(ROOT))
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


def idle_share(seconds: float = 1.0) -> float:
    """Return the share of CPU time that nobody used during `seconds`."""
    before = _cpu_times()
    time.sleep(seconds)
    spent = [after - earlier for earlier, after in zip(before, _cpu_times(), strict=True)]
    return (spent[3] + spent[4]) / max(sum(spent), 1)


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def measure(path: str, rounds: int, seconds: float) -> dict[tuple[str, str, int], list[Run]]:
    """Return the runs of each (system, kind, in flight), interleaved."""
    cells: dict[tuple[str, str, int], list[Run]] = {}
    for _ in range(rounds):
        for flights in FLIGHTS:
            for kind in ("cached", "uncached"):
                run = run_gateway(path, flights, seconds, cached=kind == "cached")
                cells.setdefault(("weir", kind, flights), []).append(run)
            cells.setdefault(("celery", "uncached", flights), []).append(run_celery(flights, seconds))
    return cells


def report(cells: dict[tuple[str, str, int], list[Run]]) -> list[dict[str, Any]]:
    """Return the figures: per cell, latency in ms and answers a second; medians over the runs."""
    figures = []
    for (system, kind, flights), runs in cells.items():
        stock = cells[("celery", "uncached", flights)]
        latency, rate = _median(runs, "p50_ms"), _median(runs, "per_second")
        shared = {
            "system": system,
            "runs": len(runs),
            "degraded_share": round(sum(r.degraded_share * r.answers for r in runs) / sum(r.answers for r in runs), 6),
        }
        name = f"validate {kind}, {flights} in flight"
        p99 = _median(runs, "p99_ms")
        ratio = {"celery": round(p99 / _median(stock, "p99_ms"), 4)}
        figures.append(
            {
                "figure": f"{name}: latency",
                "median": round(latency, 3),
                "p99": round(p99, 3),
                "unit": "ms",
                "ratio_to": ratio,
                **shared,
            }
        )
        ratio = {"celery": round(rate / _median(stock, "per_second"), 2)}
        figures.append(
            {"figure": f"{name}: rate", "median": round(rate), "p99": None, "unit": "1/s", "ratio_to": ratio, **shared}
        )
    return figures


def _median(runs: list[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def show(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        p99 = "" if figure["p99"] is None else f"p99 {figure['p99']:10.3f}"
        degraded = f"degraded {figure['degraded_share']:.4%}"
        value = f"{figure['median']:10.3f} {figure['unit']:4}"
        print(f"{figure['figure']:42} {figure['system']:7} {value} {p99:15} {degraded}")


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
        "load_average": os.getloadavg(),
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
    target = settings.home / "bench" / "validate" / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"environment": environment, "figures": figures}, indent=1))
    show(figures)
    print(f"written to {target}")


def bench(settings: Settings, rounds: int, seconds: float) -> list[dict[str, Any]]:
    path = json.loads((settings.run / "gateway.json").read_text())["socket"]
    wait_for_workers(path)
    with peer(settings):
        run_celery(1, 0.1)
        for kind in (True, False):
            run_gateway(path, 100, 0.5, cached=kind)
        return report(measure(path, rounds, seconds))


if __name__ == "__main__":
    main()
