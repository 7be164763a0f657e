"""The caller of bench_validate: closed loops of keep-alive connections, and a fixed schedule of arrivals.

It shares the cores with what it measures, so bodies are joined from encoded pieces, and of an answer only status, length
and the counts of `degraded` and of verdicts are looked at.
"""

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple

import uvloop

_ONE = b'{"tool":"Bash","input":{"command":"git log -n %d -- src/app.py"},"agent":"bench","cwd":"/srv/project"}'
_DISTINCT_CACHED = 50
_TICK_S = 0.001


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
    def head(self) -> bytes:
        given = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
        return f"POST /v1/validate HTTP/1.1\r\n{given if self.port else 'Host: l' + chr(13) + chr(10)}".encode()


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

    def ask(self, since: float) -> None:
        """Send the next request; its latency counts from `since`."""
        body = self.load.next_body()
        self.sent = since
        self.transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (self.load.head, len(body), body))

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
        now = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200") or answer.count(b'"degraded":') != self.load.shape.calls:
            raise RuntimeError(answer[:400].decode())
        local = answer.count(b'"layer":"local-cache"') if self.load.cached else 0
        self.load.answered(self, now, answer.count(b'"degraded":true'), local)


class Load:
    """A closed loop for `seconds`; `cached` repeats 50 calls, else no call comes twice."""

    def __init__(self, door: Door, shape: Shape, seconds: float, *, cached: bool) -> None:
        self.door, self.shape, self.seconds, self.cached = door, shape, seconds, cached
        self.head = door.head
        self.one = _ONE[:-1] + b',"deadline_ms":%d}' % shape.deadline_ms if shape.deadline_ms else _ONE
        self.number = time.time_ns() // 1000
        self.latencies: list[float] = []
        self.degraded = self.local = 0
        self.open = 0
        self.failed: Exception | None = None
        self.callers: list[Caller] = []

    def next_body(self) -> bytes:
        first, self.number = self.number, self.number + self.shape.calls
        numbers = range(first, self.number)
        one = self.one
        pieces = [one % (n % _DISTINCT_CACHED) for n in numbers] if self.cached else [one % n for n in numbers]
        return pieces[0] if self.shape.calls == 1 else b'{"calls":[%b]}' % b",".join(pieces)

    def answered(self, caller: Caller, now: float, degraded: int, local: int) -> None:
        self.count(now - caller.sent, degraded, local)
        if now < self.until:
            caller.ask(time.perf_counter())
        else:
            caller.transport.close()

    def count(self, seconds: float, degraded: int, local: int) -> None:
        self.latencies.append(seconds)
        self.degraded += degraded
        self.local += local

    def lost(self, error: Exception | None) -> None:
        self.open -= 1
        self.failed = error or self.failed
        if not self.open:
            self.over.set()

    async def run(self) -> Run:
        loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        for _ in range(self.shape.connections):
            if self.door.port:
                _, caller = await loop.create_connection(lambda: Caller(self), "127.0.0.1", self.door.port)
            else:
                _, caller = await loop.create_unix_connection(lambda: Caller(self), self.door.path)
            self.callers.append(caller)
        self.open = len(self.callers)
        started = time.perf_counter()
        self.until = started + self.seconds
        self.begin()
        await self.over.wait()
        if self.failed is not None:
            raise self.failed
        run = summary(self.latencies, time.perf_counter() - started, self.degraded, self.shape.calls)
        return run._replace(elsewhere=self.degraded + self.local)

    def begin(self) -> None:
        for caller in self.callers:
            caller.ask(time.perf_counter())


class Arrivals(Load):
    """`shape.rate` calls a second come when they are due, whatever became of those before; each takes a free
    connection, or waits for one, and its latency counts from the moment when it was due.
    """

    def begin(self) -> None:
        self.started = time.perf_counter()
        self.due = self.busy = 0
        self.late: deque[float] = deque()
        self.free = list(self.callers)
        self.tick()

    def tick(self) -> None:
        now = time.perf_counter()
        until = min(now, self.until)
        while (at := self.started + self.due / self.shape.rate) <= until:
            self.due += 1
            self.late.append(at)
        while self.late and self.free:
            self.free.pop().ask(self.late.popleft())
        if now < self.until:
            asyncio.get_running_loop().call_later(_TICK_S, self.tick)
        else:
            self.close_free()

    def answered(self, caller: Caller, now: float, degraded: int, local: int) -> None:
        self.count(now - caller.sent, degraded, local)
        if self.late:
            caller.ask(self.late.popleft())
            return
        self.free.append(caller)
        if now >= self.until:
            self.close_free()

    def close_free(self) -> None:
        while self.free and not self.late:
            self.free.pop().transport.close()


def summary(latencies: list[float], seconds: float, degraded: int, calls: int = 1) -> Run:
    """Each request counts as `calls` calls of its latency."""
    ordered = sorted(latencies)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    answers = len(ordered) * calls
    return Run(ordered[len(ordered) // 2] * 1e3, p99 * 1e3, answers / seconds, degraded / answers, answers, seconds)


def run_gateway(door: Door, shape: Shape, seconds: float, *, cached: bool) -> Run:
    kind = Arrivals if shape.rate else Load
    return uvloop.run(kind(door, shape, seconds, cached=cached).run())
