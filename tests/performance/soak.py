"""Ten minutes of mixed work by four clients on a running stack, after five to warm up: does anything grow, is anything
lost?

usage: soak.py [--operations 810000] [--seconds 900] [--warm-up 300] [--clients 4]
Needs a running stack (WEIR_HOME, default .weir). Works in a folder of its own below current/, and removes it.
Writes $WEIR_HOME/bench/soak/latest.json: the mix, every sample, and of each program the slope of its resident memory with its
95 % interval. Exit code 1: a program of Weir's grows, or the tree is not what returned calls left.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from report import environment
from soak_client import MIX, run
from soak_growth import MIB, Watch

WEIR = str(Path(sys.executable).parent / "weir")
LOOK_EVERY_S, SAY_EVERY_S, SETTLED_WITHIN_S = 2.0, 15.0, 120.0
# what holds the data itself grows with it
HELD = frozenset({"redis", "postgres", "flower"})


class Failed(Exception):
    """The soak cannot be judged, or what it found is wrong."""


def asked(*words: str) -> dict[str, Any]:
    done = subprocess.run([WEIR, *words, "--json"], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        raise Failed(f"weir {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Soak:
    """Clients at work, and who looks at the stack meanwhile."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        status = asked("status")
        if not status["ready"]:
            raise Failed(f"the stack is not ready: {status['problems']}")
        self.mount = Path(status["mounts"][0]["path"])
        self.programs = {one["name"]: one["pid"] for one in status["processes"]}
        self.wanted, self.watch = wanted, Watch()
        self.name = f"soak-{os.getpid()}"
        self.counts = [0] * wanted.clients
        self.mix: Counter[str] = Counter()
        self.pipes: list[Connection] = []
        self.working: list[multiprocessing.process.BaseProcess] = []
        self.longest_backlog = 0

    def begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        for number in range(self.wanted.clients):
            mine, theirs = context.Pipe()
            share = self.wanted.operations // self.wanted.clients
            folder = self.mount / "current" / self.name / f"c{number}"
            process = context.Process(target=run, args=(folder, number, share, self.wanted.seconds, theirs), daemon=True)
            process.start()
            self.pipes.append(mine)
            self.working.append(process)
        self.begun_s = time.monotonic()

    def work(self) -> None:
        """Look at the stack until every client is done."""
        say_s = SAY_EVERY_S
        while sum(self._hear(number) for number in range(len(self.pipes))):
            time.sleep(LOOK_EVERY_S)
            passed_s = time.monotonic() - self.begun_s
            self.watch.look(passed_s, self.programs)
            position = json.loads((self.mount / "debug" / "position").read_text())
            backlog = position["sequence"] - position["acked"]
            self.longest_backlog = max(self.longest_backlog, backlog)
            if passed_s > say_s:
                say_s += SAY_EVERY_S
                mount = self.watch.resident["mount"][-1] / MIB
                print(f"{passed_s:4.0f} s, {sum(map(abs, self.counts))} operations, {backlog} events wait, mount {mount:.1f} MiB", flush=True)
        self.took_s = time.monotonic() - self.begun_s

    def _hear(self, number: int) -> bool:
        """Take in what a client said; tell whether it is still at work."""
        pipe = self.pipes[number]
        while pipe.poll():
            said = pipe.recv()
            if isinstance(said, BaseException):
                raise Failed(f"client {number}: {said!r}")
            if isinstance(said, dict):
                self.mix.update(said)
                self.counts[number] = -sum(said.values())
            else:
                self.counts[number] = said
        if not self.working[number].is_alive():
            raise Failed(f"client {number} ended")
        return self.counts[number] >= 0

    def compare(self) -> int:
        """Compare the mount with the clients' models, then what the store gives out."""
        end = time.monotonic() + SETTLED_WITHIN_S
        while (at := json.loads((self.mount / "debug" / "position").read_text()))["acked"] < at["sequence"]:
            if time.monotonic() > end:
                raise Failed(f"not in the store after {SETTLED_WITHIN_S} s: {at}")
            time.sleep(0.2)
        names = self._compared(self.mount / "current" / self.name)
        with tempfile.TemporaryDirectory() as folder:
            asked("export", f"{folder}/out")
            self._compared(Path(folder) / "out" / self.name)
        return names

    def _compared(self, root: Path) -> int:
        for number, pipe in enumerate(self.pipes):
            pipe.send(root / f"c{number}")
        found = [pipe.recv() for pipe in self.pipes]
        if wrong := [one for one in found if not isinstance(one, int)]:
            raise Failed(f"the tree is not the model: {wrong}")
        return sum(found)

    def end(self) -> None:
        for process in self.working:
            process.terminate()
            process.join()
        shutil.rmtree(self.mount / "current" / self.name, ignore_errors=True)


def judged(soak: Soak, after_s: float) -> tuple[dict[str, Any], list[str]]:
    """Return each program's figures, and what grows."""
    figures, wrong = {}, []
    for name in soak.programs:
        slope, leaks = soak.watch.slope(name, after_s), soak.watch.descriptors_grow(name, after_s)
        last = soak.watch.resident[name][-1] / MIB, soak.watch.descriptors[name][-1]
        figures[name] = slope._asdict() | {"last_mib": round(last[0], 1), "descriptors": last[1], "descriptors_grow": leaks}
        print(f"{name:14} {last[0]:8.1f} MiB  {slope.mib_h:8.2f} MiB/h [{slope.low_mib_h:.2f}, {slope.high_mib_h:.2f}]  {last[1]} descriptors")
        if name not in HELD and slope.grows:
            wrong.append(f"{name} grows by {slope.mib_h} MiB an hour")
        if name not in HELD and leaks:
            wrong.append(f"{name} has more and more descriptors open")
    return figures, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=810_000)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--warm-up", type=float, default=300)
    parser.add_argument("--clients", type=int, default=4)
    wanted, begun = parser.parse_args(), environment()
    soak = Soak(wanted)
    soak.begin()
    try:
        soak.work()
        names = soak.compare()
    finally:
        soak.end()
    figures, wrong = judged(soak, wanted.warm_up)
    done = sum(soak.mix.values())
    result = {
        "environment": begun, "operations": done, "seconds": round(soak.took_s, 1), "mix": soak.mix, "mix_asked_percent": MIX,
        "clients": wanted.clients, "warm_up_s": wanted.warm_up, "names_compared": names, "longest_backlog_events": soak.longest_backlog,
        "programs": figures, "wrong": wrong,
        "samples": {"at_s": soak.watch.at_s, "resident": soak.watch.resident, "descriptors": soak.watch.descriptors},
    }  # fmt: skip
    target = Path(os.environ.get("WEIR_HOME") or ".weir") / "bench" / "soak" / "latest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result))
    print(f"{done} operations in {soak.took_s:.0f} s: {dict(soak.mix)}; {names} names on the mount and in an export are the model's")
    print("\n".join(wrong) or "nothing grows")
    return bool(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"soak: {failure}", file=sys.stderr)
        sys.exit(1)
