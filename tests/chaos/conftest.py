"""A whole stack of our own: the Procfile under its supervisor, in its own WEIR_HOME with its own mount point."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import settings as weir_settings

ROOT = Path(__file__).resolve().parents[2]
WEIR = Path(sys.executable).parent / "weir"


class Stack:
    """A running Weir: `mount` and `gateway` paths, `reader_url`, pids, kill, status."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mount = folder / "mnt"
        own = {
            "WEIR_HOME": str(folder / "h"),
            "WEIR_MOUNT": str(self.mount),
            "WEIR_GATEWAY_PORT": "0",
            "WEIR_FLOWER_PORT": "0",
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WEIR_", "REDIS_URL", "DATABASE_URL"))
        }
        self.environ = kept | own
        self.settings = weir_settings.load(dict(self.environ))
        self.reader_url = self.settings.reader_url
        self.gateway = self.settings.gateway_socket
        self.current = self.mount / "current"

    def weir(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(WEIR), *words], cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=timeout
        )

    def up(self) -> None:
        done = self.weir("up", timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        self.weir("down", timeout=180)

    def status(self) -> dict:
        return json.loads(self.weir("status", "--json").stdout)

    def pid(self, name: str) -> int:
        return next(p["pid"] for p in self.status()["processes"] if p["name"] == name)

    def ready(self) -> bool:
        return bool(self.status()["ready"])

    def position(self, log: str = "files") -> int:
        return int(self.status()["logs"][log]["position"])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def stack(short_path: Path) -> Iterator[Stack]:
    made = Stack(short_path)
    made.up()
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def witness():
    """The outside witnesses (tests are collected by path, so modules beside them come as fixtures)."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("witness", Path(__file__).with_name("witness.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["witness"] = module
    spec.loader.exec_module(module)
    return module
