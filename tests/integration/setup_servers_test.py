"""The servers of the provider chain: real ones, on sockets only, gone with their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from app import bootstrap
from app.adapters import servers
from app.adapters.binaries import find_postgres
from app.adapters.redis.own_log import RedisLog
from app.core.errors import SetupError
from app.entry.servers import MEND_EVERY_S
from config.celery import broker_prefix
from config.settings import Settings, load
from tests.conftest import RedisServer


@pytest.fixture
def logged_redis(short_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(short_path, logged=True)
    yield server
    server.stop()


def test_a_killed_redis_with_a_file_keeps_what_was_queued_and_one_without_forgets_it_for_good(logged_redis):
    client = redis.Redis.from_url(logged_redis.url)
    client.lpush("queue", b"work")
    logged_redis.kill()
    logged_redis.start()
    assert redis.Redis.from_url(logged_redis.url).lrange("queue", 0, -1) == [b"work"]
    for logged in (False, True):
        logged_redis.kill()
        logged_redis.logged = logged
        logged_redis.start()
        assert redis.Redis.from_url(logged_redis.url).keys() == [], "work of long ago would be done again"


def test_the_redis_of_a_project_writes_no_file_unless_the_flag_says_so(short_path, monkeypatch):
    for flags, written in (("", "no"), ("unlogged_redis=off", "yes")):
        monkeypatch.setenv("WEIR_FLAGS", flags)
        settings = load({"WEIR_HOME": str(short_path / "h")})
        server = bootstrap.server(settings, "redis")
        server.start()
        try:
            assert redis.Redis.from_url(settings.redis_url).config_get("appendonly") == {"appendonly": written}
        finally:
            server.stop()


def test_redis_makes_its_file_short_only_while_little_passes_through(logged_redis, request):
    client, log = redis.Redis.from_url(logged_redis.url), RedisLog(logged_redis.url, log_bytes=900_000)
    request.addfinalizer(log.close)
    client.set("kept", b"x")
    until = time.monotonic() + 30
    while client.info("stats")["instantaneous_input_kbps"] < 2048 and time.monotonic() < until:
        client.set("passes", bytes(1_000_000))
    assert log.trim(0) == 0, "callers would wait for it"
    client.delete("passes")
    while not log.trim(0) and time.monotonic() < until:
        time.sleep(0.1)
    while client.info("persistence")["aof_current_size"] > 1000 and time.monotonic() < until:
        time.sleep(0.02)
    assert client.info("persistence")["aof_current_size"] <= 1000
    logged_redis.kill()
    logged_redis.start()
    assert redis.Redis.from_url(logged_redis.url).get("kept") == b"x"


@pytest.fixture
def serving(short_path, own_redis) -> Iterator[Callable[[bool], tuple[Settings, redis.Redis, Path]]]:
    """Have `app.entry.servers redis` serve a Redis of its own, or watch one that is given."""
    ran: list[subprocess.Popen] = []

    def serve(given: bool) -> tuple[Settings, redis.Redis, Path]:
        environ = {k: v for k, v in os.environ.items() if k != "REDIS_URL"} | {"WEIR_HOME": str(short_path / "h")}
        environ |= {"REDIS_URL": own_redis.url} if given else {}
        settings, log = load(environ), short_path / "served.log"
        with log.open("wb") as file:
            ran.append(subprocess.Popen([sys.executable, "-m", "app.entry.servers", "redis"], env=environ, stdout=file, stderr=file))
        until((settings.run / "redis.ready").exists)
        return settings, redis.Redis.from_url(settings.redis_url), log

    yield serve
    for process in ran:
        process.terminate()
        process.wait(30)


def until(condition: Callable[[], object], within_s: float = 20) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "too late"
        time.sleep(0.05)


def test_a_queue_whose_key_was_made_another_thing_serves_again_by_itself(serving, start_worker):
    """One SET stopped a queue until a person deleted its key: for `files`, nothing that was written came to the store."""
    settings, client, log = serving(given=False)
    prefix = broker_prefix(settings)
    start_worker(os.environ | {"WEIR_HOME": str(settings.home), "REDIS_URL": settings.redis_url}, "record", "--pool", "solo", name="mended")
    client.lpush(f"{prefix}files", b"waits")
    client.set("another's", b"x")
    client.set(f"{prefix}record", b"x")
    client.sadd(f"{settings.key_prefix}decision-index", b"x")
    until(lambda: log.read_text().count("deleted\n") == 2)
    assert "record was a string" in log.read_text()
    assert "decision-index was a set" in log.read_text()
    client.lpush(f"{prefix}record", b"no message, so that it is dropped")
    until(lambda: not client.exists(f"{prefix}record"))
    assert client.lrange(f"{prefix}files", 0, -1) == [b"waits"]
    assert client.get("another's") == b"x"


def test_nothing_is_deleted_from_a_redis_that_somebody_else_runs(serving):
    settings, client, log = serving(given=True)
    client.set(f"{broker_prefix(settings)}record", b"x")
    time.sleep(2 * MEND_EVERY_S)
    assert client.get(f"{broker_prefix(settings)}record") == b"x"
    assert "deleted" not in log.read_text()


def test_servers_listen_on_no_tcp_port(own_redis, own_postgres):
    assert redis.Redis.from_url(own_redis.url).config_get("port") == {"port": "0"}
    with psycopg.connect(own_postgres.admin_url) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)


def test_a_wrong_password_is_refused_and_passwords_are_private(own_postgres):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://weir_admin:wrong@/weir?host={own_postgres.sockets}")
    for role in (servers.ADMIN, servers.WRITER, servers.READER):
        assert servers.passfile(own_postgres.secrets, role).stat().st_mode & 0o777 == 0o600


def test_data_of_another_major_version_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(SetupError, match="made by Postgres 9"):
        find_postgres(tmp_path)


def test_postgres_runs_as_root_where_user_namespaces_are_forbidden(short_path, monkeypatch):
    monkeypatch.setattr(servers, "user_namespaces", lambda: False)
    process = servers.start_postgres(short_path / "postgres", short_path, short_path / "secrets")
    try:
        servers.wait_postgres(servers.postgres_url(short_path, short_path / "secrets", servers.ADMIN, "postgres"), 20)
    finally:
        servers.stop(process)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_another_user_it_still_finds_binaries_in_a_private_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "user_namespaces", lambda: False)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "data").mkdir()
    (private / "tool").write_text("#!/bin/sh\nid -un\n")
    (private / "tool").chmod(0o755)
    argv = servers._unprivileged(private / "data", "sh", "-c", f"test -x {private}/tool && exec {private}/tool")
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "nobody"


def test_a_killed_parent_takes_its_servers_along(short_path):
    script = (
        "import sys,time,pathlib; from app.adapters import servers as s; f=pathlib.Path(sys.argv[1]);"
        "l=open(f/'log','ab');"
        "r=s.start_redis(f/'redis', f/'r.sock', l); p=s.start_postgres(f/'postgres', f, f/'secrets', l);"
        "s.wait_redis(f'unix://{f}/r.sock',20,r);"
        "s.wait_postgres(s.postgres_url(f,f/'secrets',s.ADMIN,'postgres'),20,p);"
        "print(r.pid,p.pid,flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(short_path)], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    give_up = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < give_up, "a server outlived its parent"
        time.sleep(0.05)


@pytest.fixture
def left_behind(short_path) -> Iterator[Callable[[str], Settings]]:
    """Freeze a server and the program that started it, then kill that one, as a `weir down` does in the end."""
    environ = {k: v for k, v in os.environ.items() if k not in {"REDIS_URL", "DATABASE_URL"}}
    environ |= {"WEIR_HOME": str(short_path / "h")}
    started: list[subprocess.Popen] = []

    def leave(name: str) -> Settings:
        settings = load(environ)
        starter = subprocess.Popen([sys.executable, "-m", "app.entry.servers", name], env=environ, stdout=subprocess.DEVNULL)
        started.append(starter)
        until((settings.run / f"{name}.ready").exists, 60)
        for pid in family(starter.pid):
            os.kill(pid, signal.SIGSTOP)
        return settings

    yield leave
    for starter in started:
        for pid in (*family(starter.pid), starter.pid):
            os.kill(pid, signal.SIGCONT)
        starter.kill()
        starter.wait()


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in family(int(child)))]


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_down_ends_a_frozen_server_whose_starter_was_killed_and_no_other(left_behind, name):
    settings = left_behind(name)
    lock = settings.home / ("redis/server.lock" if name == "redis" else "postgres.lock")
    server, started, starter = (int(word) for word in lock.read_text().split())
    assert bootstrap.end_left_servers(settings) == {}, "its starter lives"
    os.kill(starter, signal.SIGKILL)
    until(lambda: f"PPid:\t{starter}" not in Path(f"/proc/{server}/status").read_text())
    lock.write_text(f"{server} {started - 1} {starter}")
    assert bootstrap.end_left_servers(settings) == {}, "the number is another process's"
    lock.write_text(f"{server} {started} {starter}")
    down = [str(Path(sys.executable).parent / "weir"), "down"]
    environ = os.environ | {"WEIR_HOME": str(settings.home), "WEIR_MOUNT": str(settings.home / "mnt")}
    ran = subprocess.run(down, env=environ, capture_output=True, text=True, check=True)
    assert f"{name}: its server ran on by itself, and has ended now" in ran.stdout + ran.stderr
    about = Path(f"/proc/{server}/stat")
    assert not about.exists() or about.read_text().rpartition(") ")[2][0] == "Z"
    again = bootstrap.server(settings, name)
    again.start()
    again.stop()


def test_where_nothing_runs_each_command_says_so_in_one_line_with_the_remedy(short_path):
    weir = Path(sys.executable).parent / "weir"
    environ = {k: v for k, v in os.environ.items() if k not in {"REDIS_URL", "DATABASE_URL", "WEIR_WRITER_URL"}}
    environ |= {"WEIR_HOME": str(short_path / "h"), "WEIR_MOUNT": str(short_path / "mnt")}
    (short_path / "docs").mkdir()
    commands = [["log"], ["approvals"], ["mount", "second"], ["import", "docs"], ["export", "out"]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    asked = [subprocess.Popen([weir, *words], cwd=short_path, env=environ, **pipes) for words in commands]
    for process in asked:
        out, said = process.communicate(timeout=25)
        *waited, last = said.splitlines()
        assert (process.returncode, out) == (1, ""), said
        assert all(line.startswith("waiting: ") for line in waited), said
        assert len(waited) <= (1 if "import" in process.args else 0), said
        assert "`weir up`" in last


@pytest.mark.parametrize(
    ("name", "variable", "url", "said"),
    [
        ("redis", "REDIS_URL", "redis://:hush@127.0.0.1:1/0", "127.0.0.1:1"),
        ("postgres", "DATABASE_URL", "postgresql://u:hush@127.0.0.1:1/x", "u@127.0.0.1:1/x"),
    ],
)
def test_an_address_that_nothing_answers_at_is_named_and_waiting_for_it_ends_when_asked(tmp_path, name, variable, url, said):
    environ = os.environ | {"WEIR_HOME": str(tmp_path), variable: url}
    argv = [sys.executable, "-m", "app.entry.servers", name]
    with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        process.terminate()
        assert process.wait(5) == 0
    assert variable in line
    assert said in line
    assert "hush" not in line


def test_an_address_of_nothing_is_one_sentence(tmp_path):
    environ = os.environ | {"WEIR_HOME": str(tmp_path), "REDIS_URL": "foo://bar"}
    argv = [sys.executable, "-m", "app.entry.servers", "redis"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith("redis: REDIS_URL is no address of a Redis")
