"""What may be missing, each with its remedy: a list of small checks that read only.

A check returns Findings; it never raises, and none waits longer than a few seconds.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import SetupError, WeirError
from app.core.ids import SECTION_NAMES
from app.ports import LogReader, Supervisor
from app.services.alerts import Watched, alerts, put_aside
from app.services.status import ANSWER_S, mount_places, process_problems, read_object, read_within, together
from config import compiled
from config.settings import ROOT, SOCKET_PATH_MAX, Settings

DISK_MIN_BYTES: Final = 1024**3
JUDGES: Final = ("gateway", "validate")
LAG_BYTES: Final = 64 * 1024**2
PACKAGES: Final = "apt-get install build-essential pkg-config libfuse-dev python3-dev python3-venv fuse3"


class Finding(NamedTuple):
    """One thing looked at; `remedy` is a command or sentence, empty where it is well."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Outside(NamedTuple):
    """What the checks ask of adapters."""

    servers: Callable[[], Iterable[tuple[str, str]]]
    mount_kind: Callable[[Path], str]
    supervisor: Supervisor
    probes: Mapping[str, Callable[[], str]]
    reader: Callable[[], LogReader]
    watched: Watched


def examine(settings: Settings, outside: Outside) -> list[Finding]:
    """Return all findings, what stands below first."""
    running = outside.supervisor.alive()
    return [
        *_machine(),
        *_environment(),
        *_servers(settings, outside),
        *_places(settings),
        *_mounts(settings, outside),
        *_processes(outside),
        *_judging(outside),
        *(_store(outside) if running else ()),
        *_journals(settings),
        *_alerts(settings, outside),
    ]


def _finding(name: str, detail: str, remedy: str, *, ok: bool) -> Finding:
    return Finding(name, ok, detail, "" if ok else remedy)


def missing_for_mounts() -> list[Finding]:
    """Return what a mount would fail for on this machine, before anything is started."""
    return [finding for finding in _machine() if not finding.ok and "fuse" in finding.name]


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _machine() -> Iterable[Finding]:
    fuse = Path("/dev/fuse")
    sudo = "sudo " if os.geteuid() else ""
    remedy = f"{sudo}modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
    yield _finding("/dev/fuse", "there" if fuse.exists() else "missing", remedy, ok=fuse.exists())
    if fuse.exists():
        usable = _opens(fuse)
        words = "may be opened" if usable else "may not be opened"
        yield _finding("/dev/fuse access", words, f"{sudo}chmod 666 /dev/fuse", ok=usable)
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    needed = os.geteuid() != 0
    yield _finding("fusermount", helper or "missing", f"{sudo}apt-get install -y fuse3", ok=bool(helper) or not needed)
    if needed:
        return
    namespaces = shutil.which("unshare") or shutil.which("setpriv")
    yield _finding("unshare or setpriv", namespaces or "missing", "apt-get install util-linux", ok=bool(namespaces))


def _environment() -> Iterable[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    remedy = "python 3.11 or newer: WEIR_PYTHON=/path/to/python3 make setup"
    yield _finding("python", version, remedy, ok=sys.version_info >= (3, 11))
    loads = subprocess.run([sys.executable, "-c", "import llfuse"], capture_output=True, text=True, check=False)
    words = "loads" if loads.returncode == 0 else loads.stderr.strip().rpartition("\n")[2]
    yield _finding("llfuse", words, f"{PACKAGES}; rm -r .venv; make setup", ok=loads.returncode == 0)
    stamp = ROOT / ".venv" / ".weir-set-up"
    fresh = stamp.exists() and stamp.stat().st_mtime >= (ROOT / "requirements.lock").stat().st_mtime
    yield _finding("packages", "as locked" if fresh else "older than requirements.lock", "make setup", ok=fresh)


def _servers(settings: Settings, outside: Outside) -> Iterable[Finding]:
    try:
        for name, detail in outside.servers():
            yield Finding(name, ok=True, detail=detail)
    except SetupError as error:
        yield Finding("servers", ok=False, detail=error.what, remedy=error.remedy)
    if settings.database_given:
        given = bool(os.environ.get("WEIR_WRITER_URL"))
        remedy = "set WEIR_WRITER_URL, and WEIR_ADMIN_URL once for the schema, beside DATABASE_URL"
        yield _finding("WEIR_WRITER_URL", "given" if given else "missing", remedy, ok=given)


def _places(settings: Settings) -> Iterable[Finding]:
    free = shutil.disk_usage(settings.home).free
    words = f"{free // 1024**2} MiB free at {settings.home}"
    yield _finding("disk", words, "free some space: journals stop at ENOSPC", ok=free >= DISK_MIN_BYTES)
    longest = len(f"{settings.sockets}/.s.PGSQL.5432")
    remedy = "set XDG_RUNTIME_DIR or TMPDIR to a shorter folder"
    yield _finding("socket path", f"{longest} bytes: {settings.sockets}", remedy, ok=longest <= SOCKET_PATH_MAX + 7)
    private = settings.home.stat().st_mode & 0o077 == 0
    words = "private" if private else "others may look in"
    yield _finding("WEIR_HOME", words, f"chmod 700 {settings.home}", ok=private)
    for name, port in (("gateway port", settings.gateway_port), ("Flower port", settings.flower_port)):
        yield _port(settings, name, port)


def _port(settings: Settings, name: str, port: int) -> Finding:
    known = read_object(settings.run / ("gateway.json" if name.startswith("gateway") else "flower.json"))
    if known.get("port") and Path(f"/proc/{known.get('pid')}").exists():
        return Finding(name, ok=True, detail=str(known["port"]))
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0 if port else False
    return Finding(name, ok=True, detail=f"{port} is taken, the next free one will do" if taken else f"{port} is free")


def _mounts(settings: Settings, outside: Outside) -> Iterable[Finding]:
    running = outside.supervisor.alive()
    for place in mount_places(settings):
        kind = outside.mount_kind(Path(place.path))
        for alert in put_aside(Path(place.path)):
            yield Finding(f"alert: {alert.name}", ok=False, detail=alert.detail, remedy=alert.remedy)
        if not kind:
            words, remedy = "not mounted", "weir up" if place.name == "main" else f"weir mount {place.path}"
            if foreign := _first_name(Path(place.path)):
                words, remedy = f"{place.path} is not empty ({foreign})", f"move away what is in it; {remedy}"
            yield _finding(f"mount {place.name}", words, remedy, ok=not running)
            continue
        answers = read_within(Path(place.path) / "debug" / "position", 2.0) is not None
        words = "answers" if answers else "is mounted, and does not answer (stale)"
        remedy = f"umount -l {place.path}; weir up"
        yield _finding(f"mount {place.name}", f"{place.path} {words}", remedy, ok=answers)


def _first_name(folder: Path) -> str:
    """A name in a folder that nothing is mounted on, but for those that a mount has: they are put aside."""
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError:  # not there, or not for this user to look at: the mount's own words say more
        return ""
    return min(names - SECTION_NAMES, default="")


def _processes(outside: Outside) -> Iterable[Finding]:
    states = outside.supervisor.states()
    if not states:
        yield Finding("processes", ok=True, detail="nothing runs; `weir up` starts everything")
        return
    problems = process_problems(states, together(outside.probes, time.monotonic() + ANSWER_S))
    for problem in problems:
        yield Finding("process", ok=False, detail=problem.what, remedy=problem.remedy)
    if not problems:
        yield Finding("processes", ok=True, detail=f"{len(states)} run")


def _judging(outside: Outside) -> Iterable[Finding]:
    """Well in any form: compiled code is speed, and the answers are the same."""
    judging = {state.name: compiled.runs_in(state.pid) for state in outside.supervisor.states() if state.name in JUDGES}
    words = [f"{name} by {'compiled code' if runs else 'the sources'}" for name, runs in judging.items()]
    yield Finding("judging", ok=True, detail="; ".join([*words, f"who starts now by {compiled.standing()}"]))


def _store(outside: Outside) -> Iterable[Finding]:
    try:
        with closing(outside.reader()) as reader:
            heads = reader.heads()
    except WeirError as error:
        yield Finding("event store", ok=False, detail=str(error), remedy="weir logs postgres; weir logs store")
        return
    words = ", ".join(f"{log} at position {head.position}" for log, head in heads.items()) or "empty"
    yield Finding("event store", ok=True, detail=f"schema and reading role are there; {words}")


def _journals(settings: Settings) -> Iterable[Finding]:
    for folder in sorted(settings.mounts.glob("*")):
        waiting = sum(file.stat().st_size for file in (folder / "journal").glob("*.wj"))
        courier = read_object(folder / "courier.json")
        error = str(courier.get("error") or courier.get("problem") or "")
        words = f"{waiting} bytes in the journal" + (f"; its courier: {error}" if error else "")
        remedy = f"weir up ships it; weir logs courier (folder {folder})"
        yield _finding(f"journal {folder.name}", words, remedy, ok=waiting < LAG_BYTES and not error)


def _alerts(settings: Settings, outside: Outside) -> Iterable[Finding]:
    for alert in alerts(settings.home, outside.watched):
        yield Finding(f"alert: {alert.name}", ok=False, detail=alert.detail, remedy=alert.remedy)
