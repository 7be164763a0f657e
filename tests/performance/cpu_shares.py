"""CPU time of each process of a running project, by name, from /proc: what a decision costs whom."""

import os
import re
from pathlib import Path

_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
_NAMES = (
    (re.compile(r"-n (\w+)@"), None),
    (re.compile(r"\bcelery\b.* (beat)\b"), None),
    (re.compile(r"valkey-server|redis-server|servers redis"), "redis"),
    (re.compile(r"postgres"), "postgres"),
    (re.compile(r"app\.entry\.(\w+)"), None),
    (re.compile(r"\b(fuse_mount)\b"), None),
    (re.compile(r"workers\.(\w+)"), None),
    (re.compile(r"supervisord"), "supervisord"),
)


class CpuShares:
    """`start`, then `take`: microseconds of CPU a name since then, of all below the parent of `gateway_pid`."""

    def __init__(self, gateway_pid: int) -> None:
        self._root = _parent(gateway_pid)
        self._before: dict[int, float] = {}

    def start(self) -> None:
        self._before = {pid: self._used(pid) for pid in self._pids()}

    def take(self) -> dict[str, float]:
        spent: dict[str, float] = {}
        for pid in self._pids():
            used = self._used(pid) - self._before.get(pid, 0.0)
            name = "client" if pid == os.getpid() else _name(pid)
            spent[name] = spent.get(name, 0.0) + used
        return spent

    @staticmethod
    def _used(pid: int) -> float:
        if pid != os.getpid():
            return _cpu_us(pid)
        spent = os.times()  # the callers are a program that this one waited for
        return sum(spent[:4]) * 1e6

    def _pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                children.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
        found, level = {self._root, os.getpid()}, [self._root]
        while level:
            level = [child for pid in level for child in children.get(pid, [])]
            found.update(level)
        return sorted(found)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _cpu_us(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK_US if fields else 0.0


def _name(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "ended"
    for pattern, name in _NAMES:
        if (found := pattern.search(command)) is not None:
            return name or found[1]
    return "other"
