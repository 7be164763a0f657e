"""What tells, from outside, that a program serves: cheap, without its client libraries; "" means it does."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from app.adapters.gateway_call import ask_gateway, gateway_is_ready
from app.adapters.mount_points import mount_kind
from app.adapters.redis.connection import connect, redis_errors
from app.core.errors import BrokerUnavailable, Unavailable
from config.settings import Settings

Probe = Callable[[], str]
_READY_LINE: Final = re.compile(r"@\S+ ready\.\s*$", re.MULTILINE)


def probes(settings: Settings, log_starts: Mapping[str, int] | None) -> dict[str, Probe]:
    """Return the probes of the Procfile's programs: what speaks only through its log is read from `log_starts`
    (bytes) on, and left out where that is None (it was ready before).
    """
    outside = {
        "redis": lambda: _serves(settings.run / "redis.ready") or _pings(settings.redis_url),
        "postgres": lambda: _serves(settings.run / "postgres.ready"),
        "gateway": lambda: _is_ready(settings.gateway_socket),
        "mount": lambda: _is_mounted(settings.mount_point),
        "flower": lambda: _announced(settings.run / "flower.json"),
    }
    if log_starts is None:
        return outside
    starts = log_starts

    def said(name: str, pattern: re.Pattern[str]) -> Probe:
        log = settings.logs / f"{name}.log"
        return lambda: _log_says(log, starts.get(name, 0), pattern)

    workers = {name: said(name, _READY_LINE) for name in ("store", "record", "experts", "maintenance")}
    return outside | workers | {
        "validate": lambda: _decides(settings.gateway_socket),
        "beat": said("beat", re.compile(r"beat: Starting")),
    }  # fmt: skip


def server_probes(settings: Settings) -> dict[str, Probe]:
    """Return what tells whether the two servers answer, whoever started them."""
    return {
        "Redis": lambda: _frozen(settings.run / "redis.ready") or _pings(settings.redis_url),
        "Postgres": lambda: _frozen(settings.run / "postgres.ready") or _takes_connections(settings.reader_url),
    }


def _frozen(ready: Path) -> str:
    return _serves(ready) if ready.exists() else ""


def _takes_connections(url: str) -> str:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.Error as error:
        return f"takes no connection ({str(error).splitlines()[0]})"
    return ""


def _serves(ready: Path) -> str:
    """Tell whether the process that a ready file names lives and none of its servers is frozen (kill -STOP)."""
    try:
        pid = int(ready.read_text())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ValueError):
        return "starts and becomes ready"
    frozen = [child for child in children if _state(child) == "T"]
    return f"is stopped by a signal (kill -CONT {' '.join(frozen)})" if frozen else ""


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _pings(url: str) -> str:
    try:
        with redis_errors(), closing(connect(url, connections=1)) as client:
            client.ping()
    except BrokerUnavailable as error:
        return f"does not answer a ping ({error})"
    return ""


def _decides(gateway: Path) -> str:
    """Tell whether workers decide: an answer that is not the gateway's own."""
    call = {"tool": "Bash", "input": {"command": f"ls -la {time.monotonic_ns()}"}, "agent": "weir-up", "dry_run": True}
    try:
        degraded = ask_gateway(gateway, "/v1/validate", call, 2.0).get("degraded", True)
    except Unavailable:
        return "waits for the gateway"
    return "connects" if degraded else ""


def _announced(path: Path) -> str:
    """Tell whether the file names a living process."""
    try:
        alive = Path(f"/proc/{json.loads(path.read_bytes())['pid']}").exists()
    except (FileNotFoundError, ValueError, KeyError):
        alive = False
    return "" if alive else "listens"


def _log_says(log: Path, start: int, pattern: re.Pattern[str]) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start if start <= log.stat().st_size else 0)
            found = pattern.search(file.read().decode(errors="replace"))
    except FileNotFoundError:
        found = None
    return "" if found else "connects"


def _is_ready(path: Path) -> str:
    try:
        ready = gateway_is_ready(path, 1.0)
    except Unavailable as error:
        return f"listens ({error})"
    return "" if ready else "cannot record its answers (a full disk?)"


def _is_mounted(point: Path) -> str:
    return "" if mount_kind(point) else f"mounts at {point}"


def http_answers(url: str, timeout_s: float = 1.0) -> bool:
    """Tell whether something answers HTTP there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()  # noqa: S310  our own loopback URL
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
