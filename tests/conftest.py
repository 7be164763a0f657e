"""Real servers and homes for tests: short paths, Unix sockets, own projects; whatever was mounted is unmounted.

`redis_server`, `postgres_server`: one of each a session; `own_redis`, `own_postgres`: for tests that kill or freeze.
`weir_home`: a fresh project on the session's servers, with the environment set for child processes.
A missing service fails under WEIR_REQUIRE_SERVICES=1, and skips without it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from app.adapters import servers
from app.adapters.postgres.migrate import migrate
from app.core.errors import SetupError
from config import settings as weir_settings

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parent.parent


class RedisServer:
    """A Redis of our own: `url`, `process`; kill, start again, stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.log = folder / "redis.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = servers.start_redis(self.folder / "redis", self.socket, log)
        servers.wait_redis(self.url, 20, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        servers.stop(self.process)


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
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        servers.stop(self.process)


class WeirHome(NamedTuple):
    """A fresh project: its settings and the environment for its processes."""

    settings: weir_settings.Settings
    environ: dict[str, str]


def _or_skip(start: Callable[[], T]) -> T:
    try:
        return start()
    except SetupError as error:
        if os.environ.get("WEIR_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(str(error))


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
    server = _or_skip(lambda: RedisServer(server_folder))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    server = _or_skip(lambda: PostgresServer(server_folder))
    yield server
    server.stop()


@pytest.fixture
def own_redis(short_path: Path) -> Iterator[RedisServer]:
    server = _or_skip(lambda: RedisServer(short_path))
    yield server
    server.stop()


@pytest.fixture
def own_postgres(short_path: Path) -> Iterator[PostgresServer]:
    server = _or_skip(lambda: PostgresServer(short_path))
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


class Stack(NamedTuple):
    """The whole Procfile, running: its environment, and what `weir up --json` said."""

    environ: dict[str, str]
    shown: dict[str, Any]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole Procfile with its own servers, mounted; everything is stopped and unmounted in the end."""
    folder = Path(tempfile.mkdtemp(prefix="wk-", dir="/tmp"))
    given = ("REDIS_URL", "DATABASE_URL", "WEIR_WRITER_URL", "WEIR_AGENT", "WEIR_SESSION", "WEIR_TOOL_CALL")
    environ = {name: value for name, value in os.environ.items() if name not in given}
    environ |= {"WEIR_HOME": str(folder / "h"), "WEIR_MOUNT": str(folder / "mnt")}
    environ |= {"WEIR_GATEWAY_PORT": "0", "WEIR_FLOWER_PORT": "0"}
    weir = str(Path(sys.executable).parent / "weir")
    try:
        ran = subprocess.run([weir, "up", "--json"], env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"weir up: {ran.stderr}\n{ran.stdout}"
        yield Stack(environ, json.loads(ran.stdout))
    finally:
        subprocess.run([weir, "down"], env=environ, check=False, capture_output=True)
        unmount_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
