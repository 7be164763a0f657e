"""supervisord as the Supervisor: its configuration is written from programs, its control is XML-RPC over a Unix socket.

Stop order is reverse priority, each waited for. supervisord looks at its children once a second unless a request
wakes it, so whoever waits here asks often. Each program dies with supervisord (setpriv --pdeathsig): a killed
supervisor leaves nothing behind that the next start would meet.
"""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

from app.core.errors import SetupError
from app.ports import Program, ProgramState
from config.settings import ROOT, Settings

STOP_WAIT_S: Final = 30
_POLL_S: Final = 0.05
_TIMEOUT_S: Final = 10.0
_RETRIES: Final = 1_000_000  # it never gives up, it only slows down (backoff.py)
# an agent may have called; and compiling every module anew costs each start a second
_NOT_HANDED_ON: Final = ("WEIR_AGENT", "WEIR_SESSION", "WEIR_TOOL_CALL", "PYTHONDONTWRITEBYTECODE")
_BLANK: Final = "WEIR_BLANK"
_DOWN: Final = (OSError, http.client.HTTPException)
_NO_SUCH: Final = {"BAD_NAME", "NOT_RUNNING"}
_KILLED: Final = re.compile(r"WARN killing '([^']+)' \(\d+\) with SIGKILL")
_SPAWNED: Final = re.compile(r"INFO spawned: '([^']+)'")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        del host
        return _UnixConnection(self._path)


class Supervisord:
    """See Supervisor."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket = settings.sockets / "supervisor.sock"
        self._configuration = settings.run / "supervisord.conf"
        self._added = settings.run / "programs"
        self._log = settings.logs / "supervisord.log"

    def alive(self) -> bool:
        try:
            return int(self._call("getState")["statecode"]) >= 0
        except _DOWN:
            return False

    def launch(self, programs: Sequence[Program]) -> None:
        for folder in (self._settings.run, self._settings.logs, self._added):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self._configuration.write_text(self._head() + "".join(self._sections(programs)))
        argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        environ = _environment(self._settings)
        ran = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SetupError(f"supervisord: {(ran.stderr or ran.stdout).strip()}")
        _until(self.alive, 10, "supervisord did not answer on its socket; see its log in WEIR_HOME/logs")

    def states(self) -> list[ProgramState]:
        try:
            known = self._call("getAllProcessInfo")
        except _DOWN:
            return []
        order = {info["name"]: int(info["process_prio"]) for info in self._call("getAllConfigInfo")}
        spawned = self._spawned()
        ordered = sorted(known, key=lambda info: order.get(info["name"], 999))
        return [_state(info, spawned.get(str(info["name"]), 1)) for info in ordered]

    def add(self, programs: Sequence[Program]) -> None:
        for program, text in zip(programs, self._sections(programs, first=500), strict=True):
            (self._added / f"{program.name}.conf").write_text(text)
        self._call("reloadConfig")
        for program in programs:
            self._call("addProcessGroup", program.name, allowed={"ALREADY_ADDED"})

    def start(self, name: str) -> None:
        self._call("startProcess", name, False, allowed={"ALREADY_STARTED"})

    def stop(self, names: Sequence[str], timeout_s: float) -> list[str]:
        said = len(_KILLED.findall(self._log_text()))
        for name in names:
            self._call("stopProcess", name, False, allowed=_NO_SUCH)
        late = f"{', '.join(names)} did not stop within {timeout_s:g} s"
        _until(lambda: all(self._is_still(name) for name in names), timeout_s, late)
        killed = set(_KILLED.findall(self._log_text())[said:])
        return [name for name in names if name in killed]

    def remove(self, name: str) -> None:
        (self._added / f"{name}.conf").unlink(missing_ok=True)
        self._call("removeProcessGroup", name, allowed=_NO_SUCH)
        self._call("reloadConfig")

    def end(self, timeout_s: float) -> None:
        pid = self._pid()
        with contextlib.suppress(*_DOWN):
            self._call("shutdown", allowed={"SHUTDOWN_STATE"})
        _until(lambda: not self.alive() and not _is_there(pid), timeout_s, "supervisord did not end")

    def _pid(self) -> int:
        with contextlib.suppress(*_DOWN):
            return int(self._call("getPID"))
        return 0

    def _is_still(self, name: str) -> bool:
        info = self._call("getProcessInfo", name, allowed=_NO_SUCH)
        return info is None or info["statename"] in {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}

    def _call(self, method: str, *arguments: Any, allowed: Iterable[str] = ()) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(str(self._socket)))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if any(fault.faultString.startswith(word) for word in allowed):
                return None
            raise SetupError(f"supervisord refused {method}{arguments}: {fault.faultString}") from fault

    def _head(self) -> str:
        user = "user=root\n" if os.geteuid() == 0 else ""
        return f"""[unix_http_server]
file={_plain(self._socket)}
chmod=0600

[supervisord]
{user}logfile={_plain(self._log)}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={_plain(self._settings.run / "supervisord.pid")}
childlogdir={_plain(self._settings.logs)}
directory={_plain(ROOT)}
minfds=1024
umask=077

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:backoff]
supervisor.rpcinterface_factory=app.adapters.backoff:bound

[include]
files=programs/*.conf

"""

    def _sections(self, programs: Sequence[Program], first: int = 10) -> list[str]:
        return [self._section(program, first + 10 * index) for index, program in enumerate(programs)]

    def _section(self, program: Program, priority: int) -> str:
        dying = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        yielding = ["nice", "-n", str(program.nice)] if program.nice else []
        command = " ".join([*dying, *yielding, "sh", "-c", _quoted(program.command)])
        return f"""[program:{program.name}]
command={_plain(command)}
priority={priority}
autorestart=true
startsecs=1
startretries={_RETRIES}
stopsignal=TERM
stopwaitsecs={STOP_WAIT_S}
killasgroup=true
redirect_stderr=true
stdout_logfile={_plain(self._settings.logs / f"{program.name}.log")}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3

"""

    def _spawned(self) -> dict[str, int]:
        """Count starts since supervisord started."""
        counts: dict[str, int] = {}
        for name in _SPAWNED.findall(self._log_text()):
            counts[name] = counts.get(name, 0) + 1
        return counts

    def _log_text(self) -> str:
        """What it said since it started."""
        if not self._log.exists():
            return ""
        return self._log.read_text(errors="replace").rsplit("supervisord started", 1)[-1]


def procfile(text: str) -> list[Program]:
    """Return the programs of a Procfile in its order."""
    from honcho.environ import parse_procfile  # type: ignore[import-untyped]

    lines = cast("dict[str, str]", parse_procfile(text).processes)
    return [Program(name, command) for name, command in lines.items()]


def _state(info: dict[str, Any], spawned: int) -> ProgramState:
    running = info["statename"] == "RUNNING"
    return ProgramState(
        name=str(info["name"]),
        state=str(info["statename"]).lower(),
        pid=int(info["pid"]),
        uptime_s=int(info["now"]) - int(info["start"]) if running else 0,
        restarts=max(spawned - 1, 0),
        log=str(info["stdout_logfile"]),
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Return the caller's environment with complete places, and without what must not reach the programs."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
    places = {"WEIR_HOME": str(settings.home), "WEIR_MOUNT": str(settings.mount_point), "PYTHONUNBUFFERED": "1"}
    return kept | places | {_BLANK: " "}


def _until(true: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    give_up = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > give_up:
            raise SetupError(otherwise)
        time.sleep(_POLL_S)


def _is_there(pid: int) -> bool:
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _plain(value: object) -> str:
    """Return text that supervisord's parser leaves alone: % is its expansion sign, a blank before ; or # begins a
    comment that no sign escapes; what comes of an expansion is not looked at again.
    """
    return re.sub(r" (?=[;#])", f"%(ENV_{_BLANK})s", str(value).replace("%", "%%"))


def _quoted(command: str) -> str:
    return '"' + command.replace("\\", "\\\\").replace('"', '\\"') + '"'
