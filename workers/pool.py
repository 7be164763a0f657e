"""Runs WEIR_VALIDATE_WORKERS solo workers of the validate queue, and keeps them running: `python -m workers.pool`.

Solo beats every Celery pool two to three times on tasks of microseconds, so validation scales by processes. A dead
one is started again with back-off; SIGTERM and SIGINT reach all and are waited for. Children die with
this process, whatever ends it (PR_SET_PDEATHSIG), so that a restart never doubles them. Children that began before the
code that judges was compiled begin anew when it is, one after the other.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from config import compiled
from config.settings import load

PAUSE_MIN_S: Final = 0.2
PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 10.0
STOP_S: Final = 25.0
TICK_S: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """One solo worker: its process, when it started, and how long to wait before it is started again."""

    name: str
    queue: str
    loglevel: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_s: float = PAUSE_MIN_S
    starts: int = 0

    def tend(self, now: float) -> None:
        """Start the process if it does not run and its pause is over."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            self._bury(now)
        if now >= self.start_at:
            command = _command(self.name, self.queue, self.loglevel)
            self.process = subprocess.Popen(command, preexec_fn=_DieWith(os.getpid()))  # noqa: PLW1509  # one thread
            self.started_at = now
            self.starts += 1

    def settled(self, now: float) -> bool:
        """Tell whether the process has run for so long that it takes tasks."""
        return self.process is not None and self.process.poll() is None and now - self.started_at > STEADY_S

    def begin_anew(self) -> None:
        """Let the process end its tasks and end; `tend` starts another."""
        if self.process is not None:
            self.process.terminate()

    def _bury(self, now: float) -> None:
        assert self.process is not None
        self.pause_s = PAUSE_MIN_S if now - self.started_at > STEADY_S else min(self.pause_s * 2, PAUSE_MAX_S)
        self.start_at = now + self.pause_s
        print(f"pool: {self.name} ended with {self.process.returncode}, again in {self.pause_s:.1f} s", flush=True)
        self.process = None


@dataclass
class Pool:
    """The children; `stopping` is set by a signal."""

    children: list[Child]
    stopping: bool = field(default=False)
    awaited: Path | None = None
    """Where compiled code will lie that the children do not have yet."""
    behind: list[Child] = field(default_factory=list)

    def run(self) -> None:
        """Tend the children until a signal comes, then stop them."""
        while not self.stopping:
            now = time.monotonic()
            for child in self.children:
                child.tend(now)
            self._renew(now)
            time.sleep(TICK_S)  # a signal ends the sleep early
        self.stop()

    def _renew(self, now: float) -> None:
        if self.awaited is not None and self.awaited.is_dir():
            print("pool: what judges was compiled; the workers begin anew", flush=True)
            self.awaited, self.behind = None, list(self.children)
        if self.behind and all(child.settled(now) for child in self.children):
            self.behind.pop().begin_anew()

    def stop(self) -> None:
        """Send TERM to all, wait for their tasks to end, kill who is left after 25 s."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(arguments: list[str] | None = None) -> None:
    """Run the pool until SIGTERM or SIGINT."""
    about = "Solo Celery workers of one queue, kept running."
    parser = argparse.ArgumentParser(prog="python -m workers.pool", description=about)
    parser.add_argument("--queue", default="validate")
    parser.add_argument("--loglevel", default="INFO")
    parser.add_argument("--workers", type=int, default=load().validate_workers, help="default: WEIR_VALIDATE_WORKERS")
    given = parser.parse_args(arguments)
    pool = Pool([Child(f"{given.queue}{index + 1}", given.queue, given.loglevel) for index in range(given.workers)])
    pool.awaited = compiled.awaited()

    def stop(_number: int, _frame: object) -> None:
        pool.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pool.run()


def _command(name: str, queue: str, loglevel: str) -> list[str]:
    options = ["--pool", "solo", "-E", "--without-gossip", "--without-mingle", "--loglevel", loglevel]
    return [sys.executable, "-m", "celery", "-A", "workers", "worker", "-Q", queue, "-n", f"{name}@%h", *options]


class _DieWith:
    """Runs in the child before exec: SIGTERM when the parent dies; ends at once if it is dead already."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __call__(self) -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != self._parent:
            os._exit(1)


if __name__ == "__main__":
    main()
