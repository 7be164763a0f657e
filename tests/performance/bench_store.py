"""Appends to the event store beside the eventsourcing library, in one run, on one Postgres of their own.

usage: bench_store.py [--runs 5] [--scale 1.0] [--batches 1,10,100,1000] [--writers 1,4] [--workload work,mixed,names] [--json]

Weir appends as its store worker does: decoded, digested and checked requests, gapless positions, hash chain,
idempotence, current and historical tree, search, feed messages built. The peer stores the same bytes, content included,
as event state with its application recorder (its default, safe way). Each run is one warm connection a writer, all
writers start together; systems take turns. CPU is of the writers and of their backends.

`work` has the shares that a traced git clone, edits, commits, checkout, compileall, tar and venv had: of 16 events 4
create, 4 write 400 fresh bytes, 4 setattr, 2 unlink, 1 rename, 1 mkdir. `mixed` is heavier: every second event
brings fresh content (create, write, setattr, write). `names` has none (create, setattr, rename, unlink).
From 1 KiB a write on, four peers at batch 1000 wait for each other for ever (lock held, pipeline not flushed).
Writes $WEIR_HOME/bench/store/latest.json.
"""

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from report import environment

from app.adapters import servers
from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.migrate import migrate
from app.core.chunks import chunk_hash, project_key
from app.core.ids import first_inode
from app.core.messages import FORMAT, ChunkData, PersistBatch
from app.core.operations import (
    ChunkRef,
    Content,
    FileOperationRequest,
    Make,
    Rename,
    SetAttr,
    Unlink,
    encode_request,
    kind_of,
)

APPENDS = {1: 1200, 10: 800, 100: 160, 1000: 24}


class Timings(NamedTuple):
    """One writer's run: began and ended (monotonic), seconds of each append, CPU seconds of itself and its backend."""

    began: float
    ended: float
    latencies: list[float]
    client_s: float
    backend_s: float


class Stream:
    """One origin's requests, made ahead of the clock: a folder of its own, then cycles of four operations."""

    def __init__(self, project: str, origin: str, incarnation: int, workload: str) -> None:
        self.project, self.origin, self.incarnation = project, origin, incarnation
        self.folder = self.inode = first_inode(incarnation)  # type: ignore[arg-type]
        self.key = project_key(project)
        self.cycle, self.length = {
            "work": (self._work, 16), "mixed": (self._mixed, 4), "names": (self._names, 4)
        }[workload]  # fmt: skip
        self.sequence = 0

    def first(self) -> PersistBatch:
        return self._packed([Make(1, b"folder%d" % self.incarnation, self.folder, 0o40755, 0, 0)], [])

    def batch(self, size: int) -> PersistBatch:
        operations, chunks = [], []
        for index in range(size):
            operation, brought = self.cycle((self.sequence + index - 1) % self.length, self.sequence + index + 1)
            operations.append(operation)
            chunks.extend(brought)
        return self._packed(operations, chunks)

    def _work(self, step: int, sequence: int) -> tuple[Any, list[ChunkData]]:
        if step == 0:
            self.inode += 1
            self.inside = self.inode
            return Make(self.folder, b"package_%d" % self.inode, self.inside, 0o40755, 1000, 1000), []
        if step == 10:
            names = b"module_%d.py" % self.inode, b"renamed_%d.py" % self.inode
            return Rename(self.inside, names[0], self.inode, self.inside, names[1]), []
        if step >= 14:
            inode = self.inode - 14 + step - 1
            return Unlink(self.inside, b"module_%d.py" % inode if step == 15 else b"renamed_%d.py" % inode, inode), []
        kind = (step - 1) % 3 if step < 10 else (step - 11) % 3
        if kind == 0:
            return self._create(self.inside)
        return (self._write(400, sequence), self._attributes())[kind - 1]

    def _mixed(self, step: int, sequence: int) -> tuple[Any, list[ChunkData]]:
        return (
            self._create(self.folder) if step == 0 else self._attributes() if step == 2 else self._write(200, sequence)
        )

    def _create(self, folder: int) -> tuple[Any, list[ChunkData]]:
        self.inode += 1
        self.version = (0, 0)
        return Make(folder, b"module_%d.py" % self.inode, self.inode, 0o100644, 1000, 1000), []

    def _attributes(self) -> tuple[Any, list[ChunkData]]:
        return SetAttr(self.inode, mode=0o100600, mtime_ns=time.time_ns()), []

    def _write(self, size: int, sequence: int) -> tuple[Any, list[ChunkData]]:
        data = os.urandom(size // 2) * 2
        chunk = ChunkData(chunk_hash(self.key, data), size, "raw", data)
        base, self.version = self.version, (self.incarnation, sequence)
        return Content(self.inode, base, size, time.time_ns(), chunks=(ChunkRef(0, chunk.hash, size),)), [chunk]

    def _names(self, step: int, _sequence: int) -> tuple[Any, list[ChunkData]]:
        if step == 0:
            self.inode += 1
            return Make(self.folder, b"module_%d.py" % self.inode, self.inode, 0o100644, 1000, 1000), []
        if step == 1:
            return SetAttr(self.inode, mode=0o600), []
        old, new = b"module_%d.py" % self.inode, b"renamed_%d.py" % self.inode
        if step == 2:
            return Rename(self.folder, old, self.inode, self.folder, new), []
        return Unlink(self.folder, new, self.inode), []

    def _packed(self, operations: list[Any], chunks: list[ChunkData]) -> PersistBatch:
        requests = []
        for operation in operations:
            self.sequence += 1
            request = FileOperationRequest(
                self.sequence,
                time.time_ns(),
                kind_of(operation),
                b"src/module.py",
                "agent-1",
                "session-1",
                "tool-1",
                operation,
            )
            requests.append(encode_request(request))
        return PersistBatch(
            FORMAT,
            self.project,
            self.origin,
            "bench",
            self.incarnation,
            uuid.uuid4().hex,
            "r",
            tuple(requests),
            tuple(chunks),
        )


def run_weir(
    place: dict[str, str], project: str, workload: str, size: int, count: int, start: Callable[[], None]
) -> Timings:
    writer = PostgresFileWriter(open_pool(place["writer"], 1, writing=True))
    origin = uuid.uuid4().hex
    stream = Stream(project, origin, writer.register_incarnation(project, origin, "bench", origin), workload)
    task = uuid.uuid4().hex
    writer.append(stream.first(), task)
    batches = [stream.batch(size) for _ in range(count + 2)]
    for batch in batches[:2]:
        writer.append(batch, task)

    def append(batch: PersistBatch) -> None:
        reply, feed = writer.append(batch, task)
        assert reply.acked == batch.requests.__len__() + before[0], reply
        assert not reply.rejected and feed, reply
        before[0] = reply.acked

    before = [1 + 2 * size]
    try:
        number = writer._project(project)

        def settle() -> None:
            """Put into the tables what waits: it belongs to these appends."""
            with writer._pool.connection() as connection:
                connection.execute("select settle_tree(%s, true)", (number,))

        return _timed(start, append, batches[2:], _backend_of(writer._pool.connection), settle)
    finally:
        writer.close()


def open_peer(place: dict[str, str]) -> tuple[Any, Any]:
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

    store = PostgresDatastore("peer", place["host"], "5432", servers.ADMIN, place["password"], pool_size=1)
    return store, PostgresApplicationRecorder(store, events_table_name="bench_events")


def run_peer(
    place: dict[str, str], _project: str, workload: str, size: int, count: int, start: Callable[[], None]
) -> Timings:
    from eventsourcing.persistence import StoredEvent

    store, recorder = open_peer(place)
    stream = Stream(uuid.uuid4().hex, uuid.uuid4().hex, 1, workload)
    stream.first()
    originator = uuid.uuid4()

    def converted(batch: PersistBatch, version: int) -> list[StoredEvent]:
        extra = iter(batch.chunks)
        states = [r + (next(extra).data if b"content" in r else b"") for r in batch.requests]
        return [StoredEvent(originator, version + i, "app.events:Changed", state) for i, state in enumerate(states)]

    batches = [converted(stream.batch(size), i * size) for i in range(count + 2)]
    for batch in batches[:2]:
        recorder.insert_events(batch)
    try:
        return _timed(start, recorder.insert_events, batches[2:], _backend_of(store.get_connection))
    finally:
        store.close()


class Sample(NamedTuple):
    """One run of all writers together: events a second, each append's seconds, CPU microseconds an event."""

    rate: float
    latencies: list[float]
    client_us: float
    backend_us: float


def _backend_of(connection: Callable[[], Any]) -> int:
    with connection() as lent:
        return int(lent.info.backend_pid)


def _backend_cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _timed(
    start: Callable[[], None],
    append: Callable[[Any], Any],
    batches: list[Any],
    backend: int,
    finish: Callable[[], None] = lambda: None,
) -> Timings:
    start()
    latencies = []
    client_s, backend_s, began = time.process_time(), _backend_cpu_s(backend), time.monotonic()
    for batch in batches:
        before = time.perf_counter()
        append(batch)
        latencies.append(time.perf_counter() - before)
    finish()
    ended = time.monotonic()
    return Timings(began, ended, latencies, time.process_time() - client_s, _backend_cpu_s(backend) - backend_s)


SYSTEMS = {"weir": run_weir, "eventsourcing": run_peer}


def child(system: str, arguments: tuple[Any, ...], barrier: Any, results: Any) -> None:
    gc.freeze()  # as the store's worker processes do (workers/process.py); the peer profits as well
    gc.set_threshold(50_000, 20, 100)
    results.put(SYSTEMS[system](*arguments, lambda: barrier.wait(60)))


def measure(system: str, place: dict[str, str], workload: str, size: int, writers: int, scale: float) -> Sample:
    """Run one point once."""
    context = multiprocessing.get_context("spawn")
    count = max(4, int(APPENDS[size] * scale / (writers if size > 1 else writers / 2)))
    barrier, results = context.Barrier(writers), context.Queue()
    arguments = (place, uuid.uuid4().hex, workload, size, count)
    processes = [context.Process(target=child, args=(system, arguments, barrier, results)) for _ in range(writers)]
    for process in processes:
        process.start()
    timings = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    span = max(t.ended for t in timings) - min(t.began for t in timings)
    events = writers * count * size
    cpu_us = [
        1e6 * sum(seconds) / events for seconds in ([t.client_s for t in timings], [t.backend_s for t in timings])
    ]
    return Sample(events / span, [latency for t in timings for latency in t.latencies], *cpu_us)


def figures(
    samples: dict[tuple[str, str, int, int], list[Sample]],
) -> list[dict[str, Any]]:
    table = []
    for (system, workload, size, writers), runs in samples.items():
        latencies = sorted(latency for run in runs for latency in run.latencies)
        figure = {
            "figure": f"append {workload} batch {size} writers {writers}",
            "system": system,
            "median": round(statistics.median(run.rate for run in runs), 1),
            "p99": round(latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))] * 1000, 3),
            "unit": "events/s; p99 in ms an append",
            "runs": [round(run.rate, 1) for run in runs],
            "client_us": round(statistics.median(run.client_us for run in runs), 1),
            "backend_us": round(statistics.median(run.backend_us for run in runs), 1),
            "degraded_share": 0.0,
            "ratio_to": {},
        }
        if system == "weir":
            peers = samples[("eventsourcing", workload, size, writers)]
            ratios = [ours.rate / theirs.rate for ours, theirs in zip(runs, peers, strict=True)]
            figure["ratio_to"] = {"eventsourcing": round(statistics.median(ratios), 2)}
        table.append(figure)
    return table


def start_server(folder: Path) -> tuple[Any, dict[str, str]]:
    secrets = folder / "secrets"
    process = servers.start_postgres(folder / "postgres", folder, secrets, (folder / "log").open("ab"))
    servers.wait_postgres(servers.postgres_url(folder, secrets, servers.ADMIN, "postgres"), 30, process)
    with psycopg.connect(
        servers.postgres_url(folder, secrets, servers.ADMIN, "postgres"), autocommit=True
    ) as connection:
        connection.execute("create database peer")
    words = {
        f"{role.removeprefix('weir_')}_password": servers.password(secrets, role)
        for role in (servers.WRITER, servers.READER)
    }
    migrate(servers.postgres_url(folder, secrets, servers.ADMIN), **words)
    place = {
        "writer": servers.postgres_url(folder, secrets, servers.WRITER),
        "host": str(folder),
        "password": servers.password(secrets, servers.ADMIN),
    }
    store, recorder = open_peer(place)
    recorder.create_table()  # once: two at a time fail on "tuple concurrently updated"
    store.close()
    return process, place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--batches", default="1,10,100,1000")
    parser.add_argument("--writers", default="1,4")
    parser.add_argument("--workload", default="work,mixed")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    process, place = start_server(folder)
    samples: dict[tuple[str, str, int, int], list[Sample]] = {}
    points = [
        (workload, int(size), int(writers))
        for workload in wanted.workload.split(",")
        for size in wanted.batches.split(",")
        for writers in wanted.writers.split(",")
    ]
    try:
        for _ in range(wanted.runs):
            for workload, size, writers in points:
                for system in SYSTEMS:
                    sample = measure(system, place, workload, size, writers, wanted.scale)
                    print(
                        f"{system} {workload} batch {size} writers {writers}: {sample.rate:.0f} events/s,"
                        f" CPU us an event: client {sample.client_us:.1f}, backend {sample.backend_us:.1f}",
                        file=sys.stderr,
                        flush=True,
                    )
                    samples.setdefault((system, workload, size, writers), []).append(sample)
    finally:
        servers.stop(process)
        shutil.rmtree(folder, ignore_errors=True)
    report = {"environment": environment(), "figures": figures(samples)}
    target = Path(os.environ.get("WEIR_HOME") or ".weir") / "bench" / "store" / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=1))
    if wanted.json:
        print(json.dumps(report, indent=1))
        return 0
    print(
        f"{'append':38} {'system':14} {'events/s':>10} {'p99 ms':>9} {'client':>8} {'backend':>8} {'ratio':>6}   runs"
    )
    for figure in report["figures"]:
        ratio = figure["ratio_to"].get("eventsourcing", "")
        numbers = f"{figure['median']:10} {figure['p99']:9} {figure['client_us']:8} {figure['backend_us']:8} {ratio!s:>6}   {figure['runs']}"
        print(f"{figure['figure']:38} {figure['system']:14} {numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
