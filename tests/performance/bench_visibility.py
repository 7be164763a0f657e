"""How long after a close on one mount another one shows the new content, and whether it ever shows an older one again.

usage: bench_visibility.py [--versions 10000] [--gap-ms 8] [--rest-ms 0.3] [--at-most-s 95] [--stages]
Needs a running stack (WEIR_HOME, default .weir); mounts the project a second time meanwhile. One process rewrites a file on
the first mount and notes when each close has returned; another one opens and reads it on the second, with
short rests, and notes when each version was there first. `--stages` also prints where the time goes (a gap of 40 ms lets
versions stand alone). Stale: older than what a read before it showed, or not there a second after the close.
Writes $WEIR_HOME/bench/visibility/latest.json. Exit code 1: something was stale; 3: over 3 ms (p50) or 15 ms (p99).
"""

import argparse
import json
import mmap
import multiprocessing
import os
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from report import environment, figure, write
from visibility_stages import Moments, Overheard, print_stages

from config.settings import load

WEIR = str(Path(sys.executable).parent / "weir")
P50_MS, P99_MS, LATE_NS = 3.0, 15.0, 1_000_000_000
BODY_BYTES = 4096


class Clock:
    """Nanoseconds by version, in memory that two processes share."""

    def __init__(self, versions: int) -> None:
        self._room = mmap.mmap(-1, 8 * (versions + 2))

    def note(self, version: int, at_ns: int) -> None:
        struct.pack_into("q", self._room, 8 * version, at_ns)

    def at_ns(self, version: int) -> int:
        return struct.unpack_from("q", self._room, 8 * version)[0]


class Seen(NamedTuple):
    """What the reader has to say: how often it read, what went back, what came late; of versions that were seen, how long
    after the close, and when what.
    """

    reads: int
    went_back: int
    late: int
    delays_ns: list[int]
    moments: list[Moments]


def rewrite(path: Path, versions: int, gap_s: float, begun: Clock, closed: Clock, until_s: float) -> None:
    """Rewrite a file again and again; version 0 in the clock is the last one."""
    for version in range(1, versions + 1):
        time.sleep(gap_s)
        descriptor = os.open(path, os.O_WRONLY)
        os.write(descriptor, b"%-4096d" % version)
        begun.note(version, time.monotonic_ns())
        os.close(descriptor)
        closed.note(version, time.monotonic_ns())
        if time.monotonic() > until_s:
            break
    closed.note(0, version)


def read(path: Path, begun: Clock, closed: Clock, versions: int, rest_s: float) -> Seen:
    """Read until the last version is there, or should be."""
    last = back = late = reads = 0
    newest, delays, moments = 0, [], []
    while True:
        time.sleep(rest_s)  # a reader that never rests takes a processor from those whom it waits for
        began = time.monotonic_ns()
        descriptor = os.open(path, os.O_RDONLY)
        shown = int(os.read(descriptor, BODY_BYTES) or b"0")
        os.close(descriptor)
        now = time.monotonic_ns()
        reads += 1
        back += shown < last
        while newest < versions and 0 < closed.at_ns(newest + 1) < began - LATE_NS:
            newest += 1
        late += shown < newest
        if shown > last:
            last = shown
            while not closed.at_ns(shown):  # the other process has not got round to noting it
                time.sleep(0.0001)
            delays.append(max(now - closed.at_ns(shown), 0))
            moments.append(Moments(begun.at_ns(shown), began, now))
        end = closed.at_ns(0)
        if end and (last >= end or now - closed.at_ns(end) > 5 * LATE_NS):
            return Seen(reads, back, late + (last < end), delays, moments)


def measured(here: Path, there: Path, wanted: argparse.Namespace) -> Seen:
    name = f"seen-{os.getpid()}"
    (here / name).write_bytes(b"%-4096d" % 0)
    while not (there / name).exists() or (there / name).stat().st_size != BODY_BYTES:
        time.sleep(0.01)
    begun, closed, until_s = Clock(wanted.versions), Clock(wanted.versions), time.monotonic() + wanted.at_most_s
    context = multiprocessing.get_context("fork")
    rewriting = (here / name, wanted.versions, wanted.gap_ms / 1000, begun, closed, until_s)
    writer = context.Process(target=rewrite, args=rewriting)
    writer.start()
    try:
        return read(there / name, begun, closed, wanted.versions, wanted.rest_ms / 1000)
    finally:
        writer.terminate()
        writer.join()
        (here / name).unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--gap-ms", type=float, default=8)
    parser.add_argument("--rest-ms", type=float, default=0.3)
    parser.add_argument("--at-most-s", type=float, default=95)
    parser.add_argument("--stages", action="store_true")
    wanted, begun = parser.parse_args(), environment()
    status = json.loads(subprocess.run([WEIR, "status", "--json"], capture_output=True, check=False).stdout)
    here = Path(status["mounts"][0]["path"]) / "current"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "second"
        subprocess.run([WEIR, "mount", str(place)], check=True, stdout=subprocess.DEVNULL)
        try:
            with Overheard(load()) if wanted.stages else nullcontext() as overheard:
                seen = measured(here, place / "current", wanted)
        finally:
            subprocess.run([WEIR, "umount", str(place)], check=True, stdout=subprocess.DEVNULL)
    delays_ms = sorted(delay / 1e6 for delay in seen.delays_ns)
    p50, p99 = delays_ms[len(delays_ms) // 2], delays_ms[int(len(delays_ms) * 0.99)]
    more = {"reads": seen.reads, "versions_seen": len(delays_ms), "went_back": seen.went_back, "late": seen.late}
    more |= {"p90": round(delays_ms[int(len(delays_ms) * 0.9)], 3), "worst": round(delays_ms[-1], 3)}
    if overheard is not None:
        print_stages(overheard.commands, seen.moments)
    write("visibility", begun, [figure("close on one mount to content on another", "weir", p50, p99, "ms", [], **more)])
    print(", ".join(f"{name} {value}" for name, value in more.items()))
    if seen.went_back or seen.late:
        return 1
    return 3 if p50 >= P50_MS or p99 >= P99_MS else 0


if __name__ == "__main__":
    sys.exit(main())
