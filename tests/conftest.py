"""Real servers and homes for tests: short paths, Unix sockets, own projects; whatever was mounted is unmounted.

`redis_server`, `postgres_server`: one of each a session; `own_redis`, `own_postgres`: for tests that kill or freeze.
`weir_home`: a fresh project on the session's servers, with the environment set for child processes.
`stack`: the whole Procfile, one a session; `own_stack`: one for a test that kills.
A missing service fails; nothing is skipped.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from app.adapters import servers
from app.adapters.postgres.migrate import migrate
from config import settings as weir_settings
from config.flags import load_flags

REPOSITORY = Path(__file__).resolve().parent.parent


class RedisServer:
    """A Redis of our own: `url`, `process`; kill, start again, stop."""

    def __init__(self, folder: Path, *, logged: bool = False) -> None:
        self.folder = folder
        self.logged = logged
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.log = folder / "redis.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = servers.start_redis(self.folder / "redis", self.socket, log, logged=self.logged)
        servers.wait_redis(self.url, 20, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        servers.stop(self.process)


def _runs(pid: int) -> bool:
    """Tell whether a process still does something: nobody may be there to reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class PostgresServer:
    """A Postgres of our own, migrated: `admin_url`, `writer_url`, `reader_url`, `process`; kill, start again, stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = folder
        self.secrets = folder / "secrets"
        self.log = folder / "postgres.log"
        self.start()
        migrate(
            self.admin_url,
            writer_password=servers.password(self.secrets, servers.WRITER),
            reader_password=servers.password(self.secrets, servers.READER),
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = servers.start_postgres(self.folder / "postgres", self.sockets, self.secrets, log)
        first = servers.postgres_url(self.sockets, self.secrets, servers.ADMIN, "postgres")
        servers.wait_postgres(first, 20, self.process)

    @property
    def admin_url(self) -> str:
        return servers.postgres_url(self.sockets, self.secrets, servers.ADMIN)

    @property
    def writer_url(self) -> str:
        return servers.postgres_url(self.sockets, self.secrets, servers.WRITER)

    @property
    def reader_url(self) -> str:
        return servers.postgres_url(self.sockets, self.secrets, servers.READER)

    def kill(self) -> None:
        """End the postmaster and wait for its backends: each leaves when it notices, and answers until then."""
        backends = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        self.process.wait()
        give_up = time.monotonic() + 20
        while any(_runs(int(pid)) for pid in backends):
            assert time.monotonic() < give_up, "a backend outlives its postmaster"
            time.sleep(0.01)

    def stop(self) -> None:
        servers.stop(self.process)


class WeirHome(NamedTuple):
    """A fresh project: its settings and the environment for its processes."""

    settings: weir_settings.Settings
    environ: dict[str, str]


def unmount_all(below: Path) -> None:
    """Unmount whatever is mounted below a folder, innermost first."""
    mounted = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((m for m in mounted if m.startswith(f"{below}/")), key=len, reverse=True):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    yield folder
    unmount_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ws-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(server_folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_folder)
    yield server
    server.stop()


@pytest.fixture
def own_redis(short_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(short_path)
    yield server
    server.stop()


@pytest.fixture
def own_postgres(short_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(short_path)
    yield server
    server.stop()


def home_environ(home: Path, redis_url: str, reader_url: str, writer_url: str) -> dict[str, str]:
    """Return the environment of a project in `home` on given servers."""
    return {
        "WEIR_HOME": str(home),
        "REDIS_URL": redis_url,
        "DATABASE_URL": reader_url,
        "WEIR_WRITER_URL": writer_url,
        "WEIR_MOUNT": str(home.parent / "mnt"),
        "WEIR_GATEWAY_PORT": "0",
        "WEIR_FLOWER_PORT": "0",
    }


@pytest.fixture
def weir_home(
    short_path: Path, redis_server: RedisServer, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> WeirHome:
    given = home_environ(short_path / "h", redis_server.url, postgres_server.reader_url, postgres_server.writer_url)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environ = dict(os.environ)
    return WeirHome(weir_settings.load(environ), environ)


class Stack:
    """The whole Procfile, running: `mount` and `gateway` paths, `reader_url`, what `weir up --json` said; pids, kill."""

    def __init__(self, folder: Path, flags: str = "") -> None:
        self.folder = folder
        self.mount = folder / "mnt"
        own = {
            "WEIR_HOME": str(folder / "h"),
            "WEIR_MOUNT": str(self.mount),
            "WEIR_GATEWAY_PORT": "0",
            "WEIR_FLOWER_PORT": "0",
            "WEIR_FLAGS": flags,
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
            [str(Path(sys.executable).parent / "weir"), *words],
            cwd=REPOSITORY,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def up(self) -> None:
        done = self.weir("up", "--json", timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        self.shown = json.loads(done.stdout)

    def down(self) -> None:
        self.weir("down", timeout=180)

    def status(self) -> dict:
        return json.loads(self.weir("status", "--json").stdout)

    def pid(self, name: str) -> int:
        return next(p["pid"] for p in self.status()["processes"] if p["name"] == name)

    def ready(self) -> bool:
        return bool(self.status()["ready"])

    def position(self, log: str = "files") -> int:
        """The log's head; a busy machine's store may miss the second that `weir status` gives it."""
        give_up = time.monotonic() + 20
        while log not in (logs := self.status()["logs"]):
            assert time.monotonic() < give_up, f"weir status shows no position of {log}"
        return int(logs[log]["position"])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


@contextmanager
def running(folder: Path, flags: str = "") -> Iterator[Stack]:
    made = Stack(folder, flags)
    try:
        made.up()
        yield made
    finally:
        made.down()
        unmount_all(folder)


@pytest.fixture
def own_stack(short_path: Path) -> Iterator[Stack]:
    """A stack that a test may kill."""
    with running(short_path) as made:
        yield made


@pytest.fixture
def plain_stack(short_path: Path) -> Iterator[Stack]:
    """A stack of its own whose every optimisation is off."""
    with running(short_path, ",".join(f"{name}=off" for name in load_flags({}))) as made:
        yield made


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack of the session: whoever uses it leaves it running."""
    folder = Path(tempfile.mkdtemp(prefix="wk-", dir="/tmp"))
    with running(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)
