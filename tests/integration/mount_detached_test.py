"""`weir mount` where no supervisor runs: its mount brings a courier of its own, and no end of it leaves that behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WEIR = str(Path(sys.executable).parent / "weir")


class Detached:
    """A project on the session's servers, or on none."""

    def __init__(self, home: Path, environ: dict[str, str], end_broker: Callable[[], None] = lambda: None) -> None:
        self.home = home
        self.end_broker = end_broker
        self.environ = {**os.environ, **environ}

    def weir(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([WEIR, *words], env=self.environ, capture_output=True, text=True, check=False, timeout=90)

    def couriers(self) -> list[int]:
        """Those of this home, by its path in their environment."""
        home = f"WEIR_HOME={self.home}\0".encode()
        found = [p.parent for p in Path("/proc").glob("[0-9]*/cmdline") if b"app.entry.courier" in _bytes(p)]
        return [int(process.name) for process in found if home in _bytes(process / "environ")]

    def mount_pid(self, name: str) -> int:
        return int(json.loads((self.home / "run" / "mounts" / f"{name}.json").read_bytes())["pid"])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def eventually(holds: Callable[[], bool], within_s: float) -> None:
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.fixture
def detached(weir_home, own_redis, start_worker) -> Iterator[Detached]:
    environ = weir_home.environ | {"REDIS_URL": own_redis.url}
    worker = start_worker(environ, "files", "--pool", "solo", name="detached")
    yield Detached(weir_home.settings.home, environ, own_redis.kill)
    worker.process.kill()


def test_an_unmount_ends_mount_and_courier(detached: Detached, short_path: Path) -> None:
    assert detached.weir("mount", str(short_path / "orderly")).returncode == 0
    assert len(detached.couriers()) == 1
    assert detached.weir("umount", str(short_path / "orderly")).returncode == 0
    assert detached.couriers() == []


def test_a_courier_whose_mount_was_killed_ends_with_the_unmount_though_it_cannot_ship(
    detached: Detached, short_path: Path
) -> None:
    place = short_path / "killed"
    assert detached.weir("mount", str(place)).returncode == 0
    detached.end_broker()
    (place / "current" / "kept").write_text("in the journal: nobody takes it")
    os.kill(detached.mount_pid("killed"), signal.SIGKILL)
    time.sleep(1.5)
    assert len(detached.couriers()) == 1  # it still tries
    assert detached.weir("umount", str(place)).returncode == 0
    assert detached.couriers() == []
    assert list((detached.home / "mounts" / "killed" / "journal").iterdir())


def test_a_courier_whose_mount_was_killed_ends_by_itself_once_all_is_shipped(
    detached: Detached, short_path: Path
) -> None:
    assert detached.weir("mount", str(short_path / "idle")).returncode == 0
    os.kill(detached.mount_pid("idle"), signal.SIGKILL)
    eventually(lambda: detached.couriers() == [], 10)


def test_a_mount_that_is_stopped_before_it_serves_leaves_no_courier(short_path: Path) -> None:
    """No server is there: the mount waits for the store, its courier for Redis."""
    environ = {
        "WEIR_HOME": str(short_path / "home"),
        "REDIS_URL": f"unix://{short_path}/none.sock",
        "DATABASE_URL": f"postgresql://weir@/weir?host={short_path}",
    }
    nothing = Detached(short_path / "home", environ)
    argv = [sys.executable, "-m", "fuse_mount", str(short_path / "m"), "--mount", "early"]
    mount = subprocess.Popen(argv, env=nothing.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: len(nothing.couriers()) == 1, 20)
    mount.terminate()
    mount.wait(10)
    eventually(lambda: nothing.couriers() == [], 15)


def test_a_mount_that_is_refused_leaves_no_folder(short_path: Path) -> None:
    environ = {"WEIR_HOME": str(short_path / "home"), "DATABASE_URL": f"postgresql://weir@/weir?host={short_path}"}
    nothing = Detached(short_path / "home", environ)
    refused = nothing.weir("mount", str(short_path / "a" / "b"))
    assert refused.returncode == 1, refused.stdout
    assert not (short_path / "a").exists()
