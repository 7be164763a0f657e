"""The caller of bench_validate: a closed loop of keep-alive connections, each with one request of one or many calls.

It shares the cores with what it measures, so bodies are joined from encoded pieces, and of an answer only status, length
and the counts of `degraded` and of verdicts are looked at.
"""

import asyncio
import time
from typing import Any, NamedTuple

import uvloop

_ONE = b'{"tool":"Bash","input":{"command":"git log -n %d -- src/app.py"},"agent":"bench","cwd":"/srv/project"}'
_DISTINCT_CACHED = 50


class Shape(NamedTuple):
    """`connections` requests at a time, each with `calls` calls."""

    connections: int
    calls: int

    @property
    def flights(self) -> int:
        return self.connections * self.calls

    def __str__(self) -> str:
        return f"{self.connections} x {self.calls}"


class Run(NamedTuple):
    """One measured cell: latencies of calls in ms, calls a second, share answered without a worker."""

    p50_ms: float
    p99_ms: float
    per_second: float
    degraded_share: float
    answers: int
    seconds: float


class Caller(asyncio.Protocol):
    """One connection with one request in flight."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.parts: list[bytes] = []
        self.missing = 0
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
        if not self.missing:
            if self.parts:
                data = b"".join(self.parts) + data
                self.parts.clear()
            split = data.find(b"\r\n\r\n")
            if split < 0:
                self.parts.append(data)
                return
            start = data.find(b"Content-Length: ") + 16
            self.missing = split + 4 + int(data[start : data.find(b"\r", start)])
        self.parts.append(data)
        self.missing -= len(data)
        if not self.missing:
            self.whole()

    def whole(self) -> None:
        answer = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        seconds = time.perf_counter() - self.sent
        if not answer.startswith(b"HTTP/1.1 200") or answer.count(b'"degraded":') != self.load.shape.calls:
            raise RuntimeError(answer[:400].decode())
        if self.load.answered(seconds, answer.count(b'"degraded":true')):
            self.ask()
        else:
            self.transport.close()


class Load:
    """A closed loop for `seconds`; `cached` repeats 50 calls, else no call comes twice."""

    def __init__(self, path: str, shape: Shape, seconds: float, *, cached: bool) -> None:
        self.path, self.shape, self.seconds, self.cached = path, shape, seconds, cached
        self.number = time.time_ns() // 1000
        self.latencies: list[float] = []
        self.degraded = 0
        self.open = 0

    def next_body(self) -> bytes:
        first, self.number = self.number, self.number + self.shape.calls
        numbers = range(first, self.number)
        pieces = [_ONE % (n % _DISTINCT_CACHED) for n in numbers] if self.cached else [_ONE % n for n in numbers]
        return pieces[0] if self.shape.calls == 1 else b'{"calls":[%b]}' % b",".join(pieces)

    def answered(self, seconds: float, degraded: int) -> bool:
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
        for _ in range(self.shape.connections):
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
        return summary(self.latencies, time.perf_counter() - started, self.degraded, self.shape.calls)


def summary(latencies: list[float], seconds: float, degraded: int, calls: int = 1) -> Run:
    """Each request counts as `calls` calls of its latency."""
    ordered = sorted(latencies)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    answers = len(ordered) * calls
    return Run(ordered[len(ordered) // 2] * 1e3, p99 * 1e3, answers / seconds, degraded / answers, answers, seconds)


def run_gateway(path: str, shape: Shape, seconds: float, *, cached: bool) -> Run:
    return uvloop.run(Load(path, shape, seconds, cached=cached).run())
