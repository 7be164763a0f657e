"""The servers that Weir starts for itself: found (system, then wheels), initialised, started on Unix sockets only.

A started server dies with the process that started it (parent-death signal), and holds an inherited lock on its
folder for as long as any of its processes lives, so that a quick restart never meets the old one on the same data.
Postgres refuses root: as root it runs in a user namespace, or, where there is none (chroot), as `nobody`.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import pwd
import secrets as randomness
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import psycopg
import redis

from app.adapters import left_servers
from app.adapters.binaries import PostgresBinaries, data_major, find_postgres, find_redis
from app.adapters.postgres.migrate import migrate
from app.adapters.redis.key_types import KeyTypes
from app.core.errors import BrokerUnavailable, SetupError, StoreUnavailable, Unavailable
from config.settings import own_postgres_url

ADMIN: Final = "weir_admin"
WRITER: Final = "weir_writer"
READER: Final = "weir_reader"
DATABASE: Final = "weir"
REDIS_SOCKET: Final = "redis.sock"
REDIS_LOG_MIB: Final = 1024
"""Of a busy server with a file; in quiet moments maintenance asks for less (redis/own_log.py)."""
_PR_SET_PDEATHSIG: Final = 1
_LOCK_WAIT_S: Final = 20.0


def start_redis(
    folder: Path, socket: Path, log: IO[bytes] | None = None, *, memory_mib: int = 512, logged: bool = False
) -> subprocess.Popen[bytes]:
    """Start Redis on `socket` only, with its files in `folder`; does not wait until it answers. `logged`: it appends
    all that passes through to a file, and has it again after a restart.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not logged:  # of a start with a file: up to 1 GiB, and too old to be read again
        shutil.rmtree(folder / "appendonlydir", ignore_errors=True)
    options = {
        "port": "0",  # no TCP: the socket's folder is the wall
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(folder),
        "daemonize": "no",
        # journal and spool re-drive what is lost; the file was a third of the server's CPU, and rewriting it a fork
        "appendonly": "yes" if logged else "no",
        # a flush a second of all that passed through makes every writer to that disk wait, the spool too, and buys
        # nothing that re-driving does not: a kill loses nothing of the page cache
        "appendfsync": "no",
        "auto-aof-rewrite-min-size": f"{REDIS_LOG_MIB}mb",
        "save": "",  # snapshots would fork beside it
        "maxmemory": f"{memory_mib}mb",
        "maxmemory-policy": "noeviction",  # it is the broker: a full server refuses, it never drops a message
        "timeout": "0",
        "tcp-keepalive": "60",
    }
    argv = [str(find_redis().path), *(part for key, value in options.items() for part in (f"--{key}", value))]
    return _spawn(argv, folder, signal.SIGTERM, log)


def start_postgres(data: Path, sockets: Path, secrets: Path, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Initialise `data` if needed and start Postgres in `sockets` only; does not wait until it answers.

    Creates admin.pgpass, writer.pgpass and reader.pgpass (libpq format, 0600) in `secrets`.
    """
    binaries = find_postgres(data)
    _write_passwords(secrets)
    if data_major(data) is None:
        _initialise(binaries, data, secrets)
    options = {
        "listen_addresses": "",  # no TCP
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0600",
        "password_encryption": "scram-sha-256",
        "max_connections": "80",
        "shared_buffers": "128MB",
        "wal_compression": "off",  # content arrives compressed
        "max_wal_size": "1GB",
        "jit": "off",  # short statements: compiling them costs more than running them
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u ",
    }
    argv = [str(binaries.folder / "postgres"), "-D", str(data)]
    argv += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return _spawn(_unprivileged(data, *argv), data.parent, signal.SIGINT, log, lock=f"{data.name}.lock")


def _initialise(binaries: PostgresBinaries, data: Path, secrets: Path) -> None:
    """Run initdb in a temporary name and rename it: an interrupted initdb leaves nothing that looks whole."""
    data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    argv = [str(binaries.folder / "initdb"), "-D", str(fresh), "-U", ADMIN, "--encoding=UTF8", "--locale=C"]
    argv += ["--auth-local=scram-sha-256", "--auth-host=reject", "--pwfile=/dev/stdin", "--no-instructions"]
    ran = subprocess.run(
        _unprivileged(fresh, *argv), input=password(secrets, ADMIN) + "\n", capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SetupError(f"initdb failed: {(ran.stderr or ran.stdout).strip()}")
    fresh.rename(data)


def _unprivileged(owned: Path, *argv: str) -> list[str]:
    """Return `argv` so that it does not see itself as root; makes `owned` the folder of who it runs as."""
    if os.geteuid() != 0:
        return list(argv)
    nobody = pwd.getpwnam("nobody")
    if user_namespaces():
        _give(owned, 0, 0)
        return ["unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--", *argv]
    _give(owned, nobody.pw_uid, nobody.pw_gid)
    return [
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
        # it must pass our 0700 folders: the one capability for that, and the bit without which access(2) ignores it
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup",
        "--bounding-set=-all,+dac_override", "--pdeathsig=INT", "--", *argv,
    ]  # fmt: skip


def _give(owned: Path, uid: int, gid: int) -> None:
    """Make a folder and all in it somebody's, unless it is already."""
    if owned.stat().st_uid == uid:
        return
    for folder, _, files in os.walk(owned):
        for path in [folder, *(str(Path(folder) / name) for name in files)]:
            os.lchown(path, uid, gid)


@functools.cache
def user_namespaces() -> bool:
    """Tell whether root may map itself to another user here (not inside a chroot)."""
    try:
        argv = ["unshare", "--user", "--map-user=65534", "--", "true"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _spawn(
    argv: Sequence[str], folder: Path, parent_death: signal.Signals, log: IO[bytes] | None, lock: str = "server.lock"
) -> subprocess.Popen[bytes]:
    held = _locked(folder / lock)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=[held],
            preexec_fn=_dies_with_parent(parent_death),  # noqa: PLW1509  it only calls prctl
            start_new_session=True,
        )
        left_servers.write_down(held, process.pid)
    finally:
        os.close(held)
    return process


def _locked(path: Path) -> int:
    """Return a locked descriptor for the server to inherit; raises SetupError while an old server lives on."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(descriptor)
                raise SetupError(f"another server still runs on {path.parent}; end it, or `weir down`") from None
            time.sleep(0.05)
        else:
            return descriptor


def _dies_with_parent(death: signal.Signals) -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death))
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _write_passwords(secrets: Path) -> None:
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    for role in (ADMIN, WRITER, READER):
        path = passfile(secrets, role)
        if path.exists():
            continue
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"*:*:*:{role}:{randomness.token_hex(24)}\n")
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()


def passfile(secrets: Path, role: str) -> Path:
    """Return where the password of `role` is kept, in libpq's passfile format."""
    return secrets / f"{role.removeprefix('weir_')}.pgpass"


def password(secrets: Path, role: str) -> str:
    """Return the generated password of `role`; raises SetupError where there is none."""
    try:
        return passfile(secrets, role).read_text().strip().rsplit(":", 1)[1]
    except FileNotFoundError:
        raise SetupError(f"{passfile(secrets, role)} is missing; run `weir doctor`") from None


def postgres_url(sockets: Path, secrets: Path, role: str, database: str = DATABASE) -> str:
    """Return the URL of `role` on the Postgres that Weir starts."""
    return own_postgres_url(role, sockets, passfile(secrets, role), database)


def wait_redis(url: str, timeout_s: float, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return once Redis answers PING (loading ended); raises BrokerUnavailable after `timeout_s`, or when it ended."""

    def trouble() -> redis.RedisError | None:
        try:
            client = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
            with contextlib.closing(client):
                client.ping()
        except redis.RedisError as error:
            return error
        return None

    _wait("Redis", trouble, BrokerUnavailable, timeout_s, process)


def wait_postgres(url: str, timeout_s: float, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return once Postgres lets the role of `url` in; raises StoreUnavailable after `timeout_s`, or when it ended."""

    def trouble() -> psycopg.Error | None:
        try:
            psycopg.connect(url, connect_timeout=2, autocommit=True).close()
        except psycopg.Error as error:
            return error
        return None

    _wait("Postgres", trouble, StoreUnavailable, timeout_s, process)


def _wait(
    name: str,
    trouble: Callable[[], Exception | None],
    kind: type[Unavailable],
    timeout_s: float,
    process: subprocess.Popen[bytes] | None,
) -> None:
    give_up = time.monotonic() + timeout_s
    while (last := trouble()) is not None:
        if process is not None and process.poll() is not None:
            raise kind(f"{name} ended with code {process.returncode} while starting") from last
        if time.monotonic() > give_up:
            raise kind(f"{name} did not answer within {timeout_s:g} s: {last}") from last
        time.sleep(0.03)


def stop(process: subprocess.Popen[bytes], timeout_s: float = 25.0) -> None:
    """Ask a server to stop (Postgres: fast shutdown, clients are cut) and wait; kills it only after `timeout_s`."""
    if process.poll() is None:
        argv = process.args if isinstance(process.args, list) else []
        fast = any(str(part).endswith("/postgres") for part in argv)
        process.send_signal(signal.SIGINT if fast else signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class OwnRedis:
    """See Server: the Redis that Weir starts, with its output on ours. `kinds`: the type that a key must have."""

    def __init__(self, folder: Path, socket: Path, url: str, kinds: Mapping[str, str], *, logged: bool) -> None:
        self._folder, self._socket, self._url, self._logged = folder, socket, url, logged
        self._types = KeyTypes(url, kinds)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        self._process = start_redis(self._folder, self._socket, logged=self._logged)
        wait_redis(self._url, 60, self._process)
        return f"{self._process.args[0] if isinstance(self._process.args, list) else 'redis'} on {self._socket}"

    def ended(self) -> int | None:
        return self._process.poll() if self._process else None

    def mend(self) -> Sequence[str]:
        try:
            return self._types.mend()
        except BrokerUnavailable:  # busy or frozen: the next look comes
            return ()

    def stop(self) -> None:
        self._types.close()
        if self._process:
            stop(self._process)


class OwnPostgres:
    """See Server: the Postgres that Weir starts and migrates, with its output on ours."""

    def __init__(self, data: Path, sockets: Path, secrets: Path) -> None:
        self._data, self._sockets, self._secrets = data, sockets, secrets
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        self._process = start_postgres(self._data, self._sockets, self._secrets)
        wait_postgres(postgres_url(self._sockets, self._secrets, ADMIN, "postgres"), 60, self._process)
        applied = migrate(
            postgres_url(self._sockets, self._secrets, ADMIN),
            writer_password=password(self._secrets, WRITER),
            reader_password=password(self._secrets, READER),
        )
        return f"Postgres {data_major(self._data)} in {self._sockets}, migrations applied now: {len(applied)}"

    def ended(self) -> int | None:
        return self._process.poll() if self._process else None

    def mend(self) -> Sequence[str]:
        return ()

    def stop(self) -> None:
        if self._process:
            stop(self._process)
