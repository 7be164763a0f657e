"""The caller of bench_validate: closed loops of keep-alive connections, and a fixed schedule of arrivals.

It shares the cores with what it measures, so it is a program in C (callers.c): the same loop in Python cost as much CPU
as half of the gateway, which no caller of a real gateway takes from it.
"""

import atexit
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

_BEFORE = '{"tool":"Bash","input":{"command":"git log -n '
_AFTER = ' -- src/app.py"},"agent":"bench","cwd":"/srv/project"'
_DISTINCT_CACHED = 50


class Shape(NamedTuple):
    """`connections` requests at a time, each with `calls` calls; with `rate`, single calls at so many a second.
    `deadline_ms` is what the calls state.
    """

    connections: int
    calls: int
    rate: int = 0
    deadline_ms: int = 0

    @property
    def flights(self) -> int:
        return self.connections * self.calls

    def __str__(self) -> str:
        shape = f"{self.rate}/s" if self.rate else f"{self.connections} x {self.calls}"
        return f"{shape}, {self.deadline_ms} ms" if self.deadline_ms else shape


class Door(NamedTuple):
    """Where to knock: a Unix socket, or a TCP port with a token; `head` stands before the Content-Length."""

    path: str
    port: int = 0
    token: str = ""

    @property
    def place(self) -> str:
        return str(self.port) if self.port else self.path

    @property
    def head(self) -> str:
        given = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
        return f"POST /v1/validate HTTP/1.1\r\n{given if self.port else 'Host: l' + chr(13) + chr(10)}"


class Run(NamedTuple):
    """One measured cell: latencies of calls in ms, calls a second, share answered without a worker."""

    p50_ms: float
    p99_ms: float
    per_second: float
    degraded_share: float
    answers: int
    seconds: float
    elsewhere: int = 0
    """Answers that no worker gave: degraded ones, and those from the local cache."""


def summary(latencies: list[float], seconds: float, degraded: int, calls: int = 1) -> Run:
    """Each request counts as `calls` calls of its latency."""
    ordered = sorted(latencies)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    answers = len(ordered) * calls
    return Run(ordered[len(ordered) // 2] * 1e3, p99 * 1e3, answers / seconds, degraded / answers, answers, seconds)


def run_gateway(door: Door, shape: Shape, seconds: float, *, cached: bool) -> Run:
    """Ask for `seconds`; `cached` repeats 50 calls, else no call comes twice."""
    after = _AFTER + (f',"deadline_ms":{shape.deadline_ms}' if shape.deadline_ms else "") + "}"
    numbers = [shape.connections, shape.calls, shape.rate, seconds, time.time_ns() // 1000]
    words = [door.place, *numbers, _DISTINCT_CACHED if cached else 0, _BEFORE, after]
    command = [program(), *map(str, words)]
    said = subprocess.run(command, input=door.head.encode(), stdout=subprocess.PIPE, check=True).stdout
    requests, took_ns, p50_ns, p99_ns, degraded, local = map(int, said.split())
    answers, took_s = requests * shape.calls, took_ns / 1e9
    return Run(p50_ns / 1e6, p99_ns / 1e6, answers / took_s, degraded / answers, answers, took_s, degraded + local)


@cache
def program() -> str:
    """Compile the callers once a run."""
    folder = tempfile.mkdtemp(prefix="wcallers-", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = Path(folder) / "callers"
    subprocess.run(["cc", "-O2", "-Wall", "-o", built, Path(__file__).with_name("callers.c")], check=True)
    return str(built)
