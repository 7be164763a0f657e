"""The gateway's life: lock, listen, serve, drain.

Start: one gateway a WEIR_HOME (flock). Stop, on SIGTERM: no new connections, callers under way are answered, then the
spool is shipped within a bound; what is not shipped stays on disk for the next start. A background thread that dies
ends the process: the supervisor starts it again, healthy.
"""

import asyncio
import fcntl
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from app import bootstrap
from app.bootstrap import heap
from app.bootstrap.rules import explaining
from app.entry.gateway import access, openapi
from app.entry.gateway.connection import HttpConnection
from app.entry.gateway.doors import Door, NearDoor, free_port
from app.entry.gateway.explaining import Explainer
from app.entry.gateway.periodic import Heartbeat, Periodic, RulesWatch
from app.entry.gateway.pressure import Pressure
from app.entry.gateway.site import BARRED_MAX, CONNECTIONS_MAX, GatewaySite
from app.services.escalation_desk import EscalationDesk
from app.services.task_line import TaskLine
from app.services.validation import Validation
from app.telemetry.metrics import Metrics
from config.flags import load_flags
from config.secret_files import secret_text
from config.settings import Settings

ANSWER_S: Final = 3.0
SHIP_S: Final = 10.0
BACKLOG_MAX: Final = 100_000
"""Records that may wait on disk while the gateway is crowded: some seconds of shipping when it no longer is."""
HEARTBEAT_S: Final = 0.5
RULES_S: Final = 0.02
CACHE_S: Final = 5.0
_SWEEP_S: Final = 1.0


class Where(msgspec.Struct, frozen=True):
    """What run/gateway.json says."""

    pid: int
    socket: str
    host: str
    port: int
    url: str


def run(settings: Settings) -> int:
    """Run until a signal; returns the exit code."""
    settings.run.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(settings.run / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"a gateway of {settings.home} runs already; `weir down` stops it", file=sys.stderr)
        return 1
    _raise_file_limit()
    # a thread that wakes with a reply waits this long at most for the loop to let go of the interpreter (default 5 ms)
    sys.setswitchinterval(0.0005)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Gateway(settings).serve())
    finally:
        os.close(lock)


def _calm_the_collector() -> None:
    # decisions make no cycles, but many objects: collecting them was 20 of 45 us of an uncached call
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    heap.keep_tidy()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + BARRED_MAX + 256
    if soft < wanted and hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class Gateway:
    """The parts of one gateway process, and their order of start and stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._code = 0
        self._metrics = Metrics()
        self._policy = bootstrap.policy(settings)
        self._scripts = bootstrap.stored_scripts(settings)
        self._spool = bootstrap.decision_spool(settings)
        self._reader = bootstrap.file_event_reader(settings)
        self._shipper = bootstrap.spool_shipper(settings)
        token = secret_text(settings.secrets / "gateway.token")
        self._gate = access.Gate({token: access.ALL_SCOPES})

    async def serve(self) -> int:
        """Serve until a signal or the death of a thread, then drain."""
        loop = asyncio.get_running_loop()
        line, slow_line = self._line(), self._line()
        validation = self._validation(line)
        desk = self._desk(slow_line, validation)
        explainer = Explainer(explaining(self._policy, self._scripts))
        site = GatewaySite(validation, desk, self._metrics, self._gate, openapi.encode(), explainer)
        beside = self._beside(validation, lambda name: loop.call_soon_threadsafe(self._died, name))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        line.start(validation.on_reply, validation.on_failure)
        slow_line.start(desk.on_reply, desk.on_failure)
        validation.sweep()
        desk.look()
        self._shipper.start(
            [self._spool.spool],
            lambda: validation.crowded and self._backlog() < BACKLOG_MAX,
            lambda name: loop.call_soon_threadsafe(self._died, name),
        )
        for periodic in beside:
            periodic.start()
        self._metrics.gauge("weir_records_waiting", "Answers that the store has yet to confirm.", self._backlog)
        near, far = self._listen(site)
        Pressure(site.connections, lambda: self._spool.filled, self._metrics).tick()
        sweep = loop.create_task(_look_around(site, near))
        _calm_the_collector()
        print(f"gateway listens on {self._settings.gateway_socket} and 127.0.0.1:{self._gate.port}", flush=True)
        await self._stopping.wait()
        sweep.cancel()
        desk.close()
        await self._drain(near, far, site, validation)
        for periodic in beside:
            periodic.stop(1)
        explainer.close()
        line.stop(2)
        slow_line.stop(2)
        self._shipper.stop(drain_s=SHIP_S)
        self._spool.close()
        self._reader.close()
        self._scripts.close()
        return self._code

    def _backlog(self) -> int:
        return self._spool.next_sequence - 1 - self._shipper.acked.get(self._spool.spool, 0)

    def _beside(self, validation: Validation, died: Callable[[str], object]) -> list[Periodic]:
        publisher = bootstrap.feed_publisher(self._settings)
        heartbeat = Heartbeat(self._settings.project, self._reader, publisher)
        rules = RulesWatch(self._policy)
        return [
            Periodic("heartbeat", HEARTBEAT_S, heartbeat.beat, died),
            Periodic("rules", RULES_S, rules.look, died),
            Periodic("cache", CACHE_S, validation.clean, died),
        ]

    def _line(self) -> TaskLine:
        loop = asyncio.get_running_loop()
        return TaskLine(
            bootstrap.tasks(self._settings),
            bootstrap.reply_box(self._settings),
            loop.call_soon_threadsafe,
            lambda name: loop.call_soon_threadsafe(self._died, name),
        )

    def _desk(self, line: TaskLine, validation: Validation) -> EscalationDesk:
        return EscalationDesk(
            self._settings.project,
            line,
            bootstrap.seal(self._settings),
            validation.settle,
            self._metrics,
            patience_ms=self._settings.escalation_s * 1000,
        )

    def _validation(self, line: TaskLine) -> Validation:
        return Validation(
            self._settings.project,
            self._policy,
            self._spool,
            line,
            self._metrics,
            workers=self._settings.validate_workers,
            deadline_ms=self._settings.deadline_ms,
            flags=load_flags(),
        )

    def _died(self, name: str) -> None:
        print(f"the thread {name!r} ended; the gateway stops to be started again", file=sys.stderr, flush=True)
        self._code = 1
        self._stopping.set()

    def _listen(self, site: GatewaySite) -> tuple[NearDoor, Door]:
        loop = asyncio.get_running_loop()
        path = self._settings.gateway_socket
        near = NearDoor(loop, path, lambda: HttpConnection(site, over_tcp=False), lambda: site.full)
        listener = free_port(self._settings.gateway_port)
        far = Door(loop, listener, lambda: HttpConnection(site, over_tcp=True), lambda: site.full)
        self._gate.port = listener.getsockname()[1]
        where = Where(os.getpid(), str(path), "127.0.0.1", self._gate.port, f"http://127.0.0.1:{self._gate.port}")
        write_whole(self._settings.run / "gateway.json", msgspec.json.encode(where))
        return near, far

    async def _drain(self, near: NearDoor, far: Door, site: GatewaySite, validation: Validation) -> None:
        site.draining = True
        far.close()
        near.close()
        (self._settings.run / "gateway.json").unlink(missing_ok=True)
        for connection in list(site.connections):
            connection.close_when_answered()
        until = time.monotonic() + ANSWER_S
        # busy is the sum of many parts, so the end of a life polls
        while (validation.busy or any(c.owes for c in site.connections)) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in list(site.connections):
            connection.transport.close()


async def _look_around(site: GatewaySite, near: NearDoor) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        near.look()
        now = time.monotonic_ns()
        for connection in list(site.connections):
            if connection.is_stale(now):
                connection.give_up()


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that a reader sees the old or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)
