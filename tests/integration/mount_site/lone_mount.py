"""Starts alone.py: a real mount on /dev/fuse, real journal, store in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


class LoneMount:
    """`root` is mounted, `tree` is its current/; `ask` talks to the store behind it."""

    def __init__(self, folder: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.root = folder / "m"
        self.tree = self.root / "current"
        self.log = folder / "mount.log"
        self.options = options
        self.environ = environ or {}
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self, within_s: float = 20) -> None:
        mounted = self._mounted_lines()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(HERE / "alone.py"),
                    str(self.root),
                    "--mount",
                    str(self.folder / "home"),
                    *self.options,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(HERE.parents[2]), **self.environ},
            )
        deadline = time.monotonic() + within_s
        while self._mounted_lines() == mounted:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def _mounted_lines(self) -> int:
        return self.log.read_text().count("mounted /") if self.log.exists() else 0

    def ask(self, *command: object) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def settle(self, position: int = 0, within_s: float = 10) -> int:
        """Wait until everything returned is committed, applied, and told to the kernel."""
        deadline = time.monotonic() + within_s
        while True:
            head, applied, delivered = self.ask("position")
            if head == applied == delivered >= position and not self.ask("figures")["pending"]:
                return head
            assert time.monotonic() < deadline, (head, applied, delivered, self.ask("figures"))
            time.sleep(0.005)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        for _ in ("mount", "cover"):  # both stay where it was killed
            subprocess.run(["umount", "-l", str(self.root)], check=False, capture_output=True)
        self._close()
        return self.process.returncode

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
