"""What a cell of bench_validate cost whom: CPU by process, the gateway's own figures, what the workers say they judged."""

import ast
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from celery import Celery

from config.celery import worker_configuration
from config.settings import Settings
from tests.performance.cpu_shares import CpuShares

_A_CALL = {
    "arrival to answer": "weir_decision_duration_us_sum",
    "in its worker": "weir_batch_worker_us_sum",
    "spool": "weir_spool_append_us_sum",
}
_ROUND_TRIP = "weir_batch_round_trip_us_sum"
_BATCHES = "weir_batch_round_trip_us_count"
_ASKED_AGAIN = "weir_degraded_rechecked_total"
_WAITING = "weir_records_waiting"


class Cost(NamedTuple):
    """`cpu_us` by process and `layers_us` a call; how many calls the workers judged, and how many batches that were."""

    cpu_us: dict[str, float]
    layers_us: dict[str, float]
    judged: int
    again: int
    batches: int


class WorkerCounts:
    """Sums the calls that weir.validate's summaries name, as the workers' events bring them."""

    def __init__(self, settings: Settings) -> None:
        self.calls = 0
        self._app = Celery("weir-bench", set_as_current=False)
        self._app.conf.update(worker_configuration(settings))
        self._connection = self._app.connection_for_read()
        self._receiver = self._app.events.Receiver(self._connection, handlers={"task-succeeded": self._add})
        self._thread = threading.Thread(target=self._listen, name="worker-counts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread before the servers end."""
        self._receiver.should_stop = True
        self._thread.join(5)
        self._connection.release()

    def _listen(self) -> None:
        self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def _add(self, event: dict[str, Any]) -> None:
        if (found := re.search(r"\{'calls': .*\}", str(event.get("result")))) is not None:
            self.calls += int(ast.literal_eval(found[0])["calls"])


class Watch:
    """`begin` and `end` around a cell."""

    def __init__(self, settings: Settings, socket: str, gateway_pid: int) -> None:
        self._socket = socket
        self._shares = CpuShares(gateway_pid)
        self._counts = WorkerCounts(settings)
        self._before: dict[str, float] = {}
        self._judged = 0

    def close(self) -> None:
        """Listen no longer."""
        self._counts.close()

    def begin(self) -> None:
        self._judged = self._counts.calls
        self._before = self.figures()
        self._shares.start()

    def end(self, answers: int) -> Cost:
        cpu = {name: us / answers for name, us in self._shares.take().items()}
        time.sleep(1.2)  # events come twice a second, and what was answered here is judged by workers afterwards
        now = self.figures()
        spent = {name: now.get(name, 0.0) - self._before.get(name, 0.0) for name in now}
        layers = {meaning: spent.get(name, 0.0) / answers for meaning, name in _A_CALL.items()}
        layers["a batch's round trip"] = spent.get(_ROUND_TRIP, 0.0) / max(spent.get(_BATCHES, 0.0), 1.0)
        judged = self._counts.calls - self._judged
        return Cost(cpu, layers, judged, int(spent.get(_ASKED_AGAIN, 0)), int(spent.get(_BATCHES, 0)))

    def figures(self) -> dict[str, float]:
        """Return the gateway's figures without labels."""
        lines = _metrics(self._socket).splitlines()
        pairs = [line.split(" ") for line in lines if not line.startswith("#") and "{" not in line]
        return {name: float(value) for name, value in pairs}

    def wait_for_records(self, seconds: float = 60.0) -> float:
        """Wait until the store has every answer; return the seconds that it took."""
        started = time.perf_counter()
        while self.figures()[_WAITING]:
            if time.perf_counter() - started > seconds:
                raise SystemExit(f"the decisions of a run are not stored within {seconds:g} s; see `weir status`")
            time.sleep(0.05)
        return time.perf_counter() - started


def _metrics(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(path)
        line.sendall(b"GET /metrics HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n")
        parts = []
        while part := line.recv(1 << 16):
            parts.append(part)
    return b"".join(parts).decode().partition("\r\n\r\n")[2]


def idle_share(seconds: float = 0.3) -> float:
    """Return the share of CPU time that nobody used during `seconds`."""
    before = _cpu_times()
    time.sleep(seconds)
    spent = [after - earlier for earlier, after in zip(before, _cpu_times(), strict=True)]
    return round((spent[3] + spent[4]) / max(sum(spent), 1), 3)


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


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


def environment() -> dict[str, Any]:
    """Return what a reader must know of the machine."""
    return {"cpus": os.cpu_count(), "load_average": os.getloadavg(), "loop_us": loop_us(), "idle_share": idle_share()}
