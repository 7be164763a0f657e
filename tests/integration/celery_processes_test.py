"""The pool of validate workers and Flower, as processes of their own."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from app import bootstrap
from app.core.messages import encode
from app.services.escalation import EscalationRequest
from config.settings import load

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environ(server_folder: Path, redis_server, postgres_server) -> dict[str, str]:
    return os.environ | {
        "WEIR_HOME": str(server_folder / "processes-home"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "WEIR_FLOWER_PORT": "0",
        "PYTHONUNBUFFERED": "1",
    }


def until(condition, timeout_s: float = 40, log: Path | None = None) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else "too late"
        time.sleep(0.05)


def launch(request, environ, log: Path, *words: str) -> subprocess.Popen:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=REPOSITORY,
            env=environ,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    request.addfinalizer(lambda: process.poll() is None and (process.terminate(), process.wait(60)))
    return process


def children_of(pid: int) -> set[int]:
    place = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in place.read_text().split()} if place.exists() else set()


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def ready(log: Path) -> int:
    return log.read_text().count(" ready.")


@pytest.fixture(scope="module")
def pool(request, environ, server_folder):
    log = server_folder / "pool.log"
    process = launch(request, environ, log, "workers.pool", "--workers", "2", "--loglevel", "INFO")
    until(lambda: ready(log) == 2, 90, log)
    return process, log


def test_a_dead_validate_worker_is_started_again_and_the_others_go_on(pool) -> None:
    process, log = pool
    before = children_of(process.pid)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    until(lambda: ready(log) == 3, 90, log)
    after = children_of(process.pid)
    assert len(after) == 2
    assert max(before) in after
    assert min(before) not in after


def test_sigterm_to_the_pool_ends_every_worker_in_order(pool) -> None:
    process, _ = pool
    children = children_of(process.pid)
    process.terminate()
    assert process.wait(60) == 0
    assert not any(alive(child) for child in children)


def test_workers_end_with_a_pool_that_was_killed(request, environ, server_folder) -> None:
    log = server_folder / "killed-pool.log"
    process = launch(request, environ, log, "workers.pool", "--workers", "1")
    until(lambda: ready(log) == 1, 90, log)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    until(lambda: not any(alive(child) for child in children))


def ask(url: str, method: str = "GET", credentials: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, data=b"{}" if method in {"POST", "PUT"} else None)
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def flower(request, environ, server_folder):
    settings = load(environ)
    log = server_folder / "flower.log"
    launch(request, environ, log, "workers.flower")
    place = settings.run / "flower.json"
    until(place.exists, 90, log)
    about = json.loads(place.read_text())
    return about["url"], f"{about['user']}:{(settings.secrets / 'flower').read_text()}"


ROUTES = ["/", "/workers", "/tasks", "/broker", "/metrics", "/healthcheck", "/api/workers", "/api/tasks", "/nothing"]


@pytest.mark.parametrize("route", [*ROUTES, "/static/css/flower.css", "/login", "/task/x", "/worker/x", "//metrics"])
def test_flower_shows_nothing_without_the_password(flower, route) -> None:
    url, _ = flower
    wrong = ["", "weir:", "weir:wrong", ":"]
    assert {ask(url + route, credentials=offered) for offered in wrong} == {(401, "password required")}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_flower_obeys_nobody_without_the_password(flower, method) -> None:
    url, _ = flower
    assert ask(f"{url}/api/task/send-task/weir.heartbeat", method)[0] == 401


def test_flower_with_the_password_shows_but_steers_nothing(flower) -> None:
    url, credentials = flower
    assert ask(url, credentials=credentials)[0] == 200
    assert ask(f"{url}/metrics", credentials=credentials)[0] == 200
    assert ask(f"{url}/api/worker/shutdown/x", "POST", credentials)[0] == 403


def test_flower_shows_a_worker_online_and_its_summaries(flower, environ, start_worker) -> None:
    url, credentials = flower
    start_worker(environ, "experts,maintenance", "--pool", "solo", name="seen")
    settings = load(environ)
    tasks, box = bootstrap.tasks(settings), bootstrap.reply_box(settings)
    now_ms = time.time_ns() // 1_000_000
    asked = EscalationRequest(
        1, settings.project, "e1", box.address, now_ms, now_ms + 3_600_000, "a", "", "", "Bash", "/", b"{}", (), "", "v1"
    )
    sealed = bootstrap.seal(settings).sign(b"weir.escalate", encode(asked))
    task = tasks.send("weir.escalate", sealed, "experts")
    until(lambda: "SUCCESS" in ask(f"{url}/api/task/info/{task}", credentials=credentials)[1])
    shown = json.loads(ask(f"{url}/api/task/info/{task}", credentials=credentials)[1])
    assert shown["result"] == "{'ticket': 'e1', 'state': 'waiting'}"
    assert shown["args"].endswith(" bytes>")
    statuses = json.loads(ask(f"{url}/api/workers?status=1", credentials=credentials)[1])
    assert [online for name, online in statuses.items() if name.startswith("seen@")] == [True]
    tasks.close()
    box.close()


def test_the_password_is_private_and_not_beside_the_url(flower, environ) -> None:
    settings = load(environ)
    assert (settings.secrets / "flower").stat().st_mode & 0o777 == 0o600
    assert (settings.secrets / "flower").read_text() not in (settings.run / "flower.json").read_text()


def test_a_second_flower_takes_the_next_free_port(flower, request, environ, server_folder) -> None:
    taken = int(flower[0].rsplit(":", 1)[1])
    log = server_folder / "flower-2.log"
    home = str(server_folder / "second-home")
    launch(request, environ | {"WEIR_HOME": home, "WEIR_FLOWER_PORT": str(taken)}, log, "workers.flower")
    place = load({"WEIR_HOME": home}).run / "flower.json"
    until(place.exists, 90, log)
    assert taken < json.loads(place.read_text())["port"] < taken + 50
