"""What tells, from outside, that a program serves: cheap, without its client libraries; "" means it does."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from app.adapters.gateway_call import ask_gateway
from app.core.errors import Unavailable
from config.settings import Settings

Probe = Callable[[], str]
_READY_LINE: Final = re.compile(r"@\S+ ready\.\s*$", re.MULTILINE)


def probes(settings: Settings, log_starts: Mapping[str, int] | None) -> dict[str, Probe]:
    """Return the probes of the Procfile's programs: what speaks only through its log is read from `log_starts`
    (bytes) on, and left out where that is None (it was ready before).
    """
    outside = {
        "redis": lambda: _ready_file(settings.run / "redis.ready"),
        "postgres": lambda: _ready_file(settings.run / "postgres.ready"),
        "gateway": lambda: _connects(settings.gateway_socket),
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


def _ready_file(path: Path) -> str:
    try:
        alive = Path(f"/proc/{int(path.read_text())}").exists()
    except (FileNotFoundError, ValueError):
        alive = False
    return "" if alive else "starts and becomes ready"


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


def _connects(path: Path) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError as error:
            return f"listens on {path}: {error.strerror or error}"
    return ""


def _is_mounted(point: Path) -> str:
    return "" if mount_kind(point) else f"mounts at {point}"


def mount_kind(point: Path) -> str:
    """Return the filesystem type mounted at a folder, '' for none; never touches the folder itself."""
    wanted = os.fsencode(point)
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        place = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), before.split()[4])
        if place == wanted:
            return os.fsdecode(after.split()[0])
    return ""


def http_answers(url: str, timeout_s: float = 1.0) -> bool:
    """Tell whether something answers HTTP there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()  # noqa: S310  our own loopback URL
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def unmount(point: Path) -> bool:
    """Unmount a FUSE mount of ours if it is there, lazily where it is busy; return whether there was one."""
    if not mount_kind(point).startswith("fuse"):
        return False
    for argv in (["fusermount3", "-u"], ["fusermount", "-u"], ["umount"], ["umount", "-l"], ["fusermount3", "-uz"]):
        try:
            if subprocess.run([*argv, str(point)], capture_output=True, check=False).returncode == 0:
                return True
        except FileNotFoundError:
            continue
    return not mount_kind(point)
