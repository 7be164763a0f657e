"""Real worker processes for integration tests, as pytest-celery nodes without Docker.

`start_worker(environ, queues, ...)` starts `celery -A workers worker` and waits until it is ready; `celery_cluster`
wires one into pytest-celery's `celery_setup`. A local process stands in for pytest-celery's container.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from pytest_celery import (
    CeleryBrokerCluster,
    CeleryTestWorker,
    CeleryWorkerCluster,
    CeleryWorkerContainer,
    RedisContainer,
    RedisTestBroker,
)

from config.celery import worker_configuration
from config.settings import load

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def mount(short_path: Path) -> Iterator[LoneMount]:
    """A mount of its own that must live through the test and end well."""
    one = LoneMount(short_path / "one")
    yield one
    assert one.process.poll() is None, f"the mount ended: {one.log.read_text()}"
    assert one.stop() == 0, one.log.read_text()


class LocalProcess:
    """What pytest-celery asks of a Docker container, done by a process of this machine."""

    def __init__(self, argv: list[str], name: str, folder: Path, environ: dict[str, str]) -> None:
        self.argv, self.name, self.folder, self.environ = argv, name, folder, environ
        self.id = uuid.uuid4().hex
        self.log = folder / f"{name}.log"
        self.attrs = {
            "Config": {"Hostname": os.uname().nodename, "Env": [f"{k}={v}" for k, v in environ.items()]},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=REPOSITORY, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def status(self) -> str:
        return "running" if self.process.poll() is None else "exited"

    def reload(self) -> None:
        """A container's state is asked for; a process's is always known."""

    def logs(self, **_: object) -> bytes:
        return self.log.read_bytes()

    def kill(self, signal: str | int | None = None) -> None:  # noqa: A002  # Docker's name
        number = _signal(signal)
        if self.status == "running":
            (os.killpg if number == _signal(None) else os.kill)(self.process.pid, number)
            self.process.wait(60)

    def restart(self, timeout: float = 60) -> None:
        self.stop(timeout)
        self.start()

    def stop(self, timeout: float = 60) -> None:
        if self.status == "running":
            self.process.terminate()
            self.process.wait(timeout)

    def exec_run(self, command: str | list[str], **_: object) -> tuple[int, bytes]:
        argv = shlex.split(command) if isinstance(command, str) else command
        done = subprocess.run(
            [sys.executable if argv[0] == "python" else argv[0], *argv[1:]],
            check=False,
            env=self.environ,
            capture_output=True,
        )
        return done.returncode, done.stdout


def _signal(name: str | int | None) -> signal.Signals:
    return signal.SIGKILL if name is None else signal.Signals[name] if isinstance(name, str) else signal.Signals(name)


class LocalRedis(RedisContainer):
    """The session's own Redis on its Unix socket."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def celeryconfig(self) -> dict:
        return {"url": self._url, "host_url": self._url}

    def ready(self, *_: object, **__: object) -> bool:
        return True


class LocalWorker(CeleryWorkerContainer):
    """One `celery -A workers worker` as the Procfile starts it."""

    def __init__(self, environ: dict[str, str], folder: Path, queues: str, name: str, options: tuple[str, ...]) -> None:
        self.queues, self.node, self.environ = queues, name, environ
        words = ["celery", "-A", "workers", "worker", "-n", f"{name}@%h", "-Q", queues]
        words += ["-E", "--without-gossip", "--without-mingle", "-l", "INFO", *options]
        super().__init__(LocalProcess([sys.executable, "-m", *words], name, folder, environ))

    def worker_name(self) -> str:
        return self.node

    def worker_queue(self) -> str:
        return self.queues

    @property
    def process(self) -> LocalProcess:
        return self._container

    def start(self) -> None:
        if self.process.status != "running":
            self.process.start()
        self.wait_ready()

    def wait_ready(self, timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        while b" ready." not in self.process.logs():
            assert time.monotonic() < deadline, self.process.logs().decode()
            assert self.process.status == "running", self.process.logs().decode()
            time.sleep(0.05)

    def teardown(self) -> None:
        """The node outlives a test."""


@pytest.fixture(scope="module")
def start_worker(server_folder: Path) -> Iterator[Callable[..., LocalWorker]]:
    """Start a worker of `queues` for a project's environment; all are stopped at the end of the module."""
    started: list[LocalWorker] = []

    def start(environ: dict[str, str], queues: str, *options: str, name: str = "") -> LocalWorker:
        worker = LocalWorker(environ, server_folder, queues, name or f"test-{queues.replace(',', '-')}", options)
        started.append(worker)
        worker.wait_ready()
        return worker

    yield start
    for worker in started:
        worker.process.stop()


@pytest.fixture
def celery_broker_cluster(redis_server) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(RedisTestBroker(LocalRedis(redis_server.url)))


@pytest.fixture
def celery_backend_cluster() -> None:
    """Results are ignored; there is no backend."""
    return


@pytest.fixture
def celery_setup_app(worker_node: LocalWorker, monkeypatch: pytest.MonkeyPatch) -> Celery:
    for name in ("WEIR_HOME", "REDIS_URL"):
        monkeypatch.setenv(name, worker_node.environ[name])
    from workers.celery import app

    app.conf.update(worker_configuration(load(worker_node.environ)))
    return app


@pytest.fixture
def celery_worker_cluster(worker_node: LocalWorker, celery_setup_app: Celery) -> CeleryWorkerCluster:
    """`worker_node` is defined by the module that tests it."""
    worker_node.start()
    return CeleryWorkerCluster(CeleryTestWorker(worker_node, celery_setup_app))
