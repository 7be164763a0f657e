"""Outside witnesses of a running stack: writers and validators that remember only what returned, and the check of the store.

Nothing here trusts Weir: files are written with plain system calls, calls go over the plain socket, and the store is read with SQL.
"""

import http.client
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("weir", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(gateway: Path, body: bytes, path: str = "/v1/validate", timeout: float = 5.0) -> tuple[int, dict]:
    connection = UnixConnection(gateway, timeout)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@dataclass
class Returned:
    """What came back: paths with their last returned content, renames, and answered decision ids."""

    contents: dict[str, bytes] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    unsure: set[str] = field(default_factory=set)


def write_whole(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        done = 0
        while done < len(data):
            done += os.write(descriptor, data[done:])
    finally:
        os.close(descriptor)


def keep_writing(folder: Path, name: str, seen: Returned, stop: threading.Event) -> None:
    """Create files with their own content; every third is renamed. A call that fails is retried under a new name."""
    number = 0
    while not stop.is_set():
        number += 1
        path, data = folder / f"{name}-{number}", f"{name} {number} ".encode() * (1 + number % 700)
        try:
            write_whole(path, data)
        except OSError as error:
            seen.refused[f"write errno {error.errno}"] += 1
            seen.unsure.add(path.name)
            time.sleep(0.05)
            continue
        seen.created.append(path.name)
        if number % 3 == 0:
            target = folder / f"{name}-{number}-moved"
            try:
                os.rename(path, target)
            except OSError as error:
                seen.refused[f"rename errno {error.errno}"] += 1
                seen.unsure.update({path.name, target.name})
                continue
            seen.renamed.append((path.name, target.name))
            path = target
        seen.contents[path.name] = data
        time.sleep(0.02)


def keep_asking(gateway: Path, name: str, seen: Returned, stop: threading.Event) -> None:
    """Ask about distinct and repeated commands; remember each answered id."""
    number = 0
    while not stop.is_set():
        number += 1
        command = f"ls -la {name}-{number if number % 2 else 0}"
        body = json.dumps({"tool": "Bash", "input": {"command": command}, "agent": name, "cwd": "/"}).encode()
        try:
            status, answer = ask(gateway, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            seen.refused[f"ask {type(error).__name__}"] += 1
            time.sleep(0.05)
            continue
        if status == 200:
            seen.decisions.append(answer["id"])
        else:
            seen.refused[f"ask {status}"] += 1
        time.sleep(0.02)


@contextmanager
def witnesses(folder: Path, gateway: Path, writers: int = 2, askers: int = 2) -> Iterator[Returned]:
    """Run writers and validators while the block runs; yield what returned."""
    stop, total = threading.Event(), Returned()
    parts = [Returned() for _ in range(writers + askers)]
    jobs: list[tuple[Callable[..., None], Path, str]] = [(keep_writing, folder, f"w{i}") for i in range(writers)]
    jobs += [(keep_asking, gateway, f"v{i}") for i in range(askers)]
    threads = [
        threading.Thread(target=run, args=(place, name, seen, stop))
        for (run, place, name), seen in zip(jobs, parts, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield total
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        for part in parts:
            total.contents |= part.contents
            total.created += part.created
            total.renamed += part.renamed
            total.decisions += part.decisions
            total.refused += part.refused
            total.unsure |= part.unsure


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for `holds`; return the seconds it took; fail by name after `seconds`."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        try:
            if holds():
                return time.monotonic() - start
        except (OSError, psycopg.Error, http.client.HTTPException, ValueError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def rows(url: str, query: str, *values: object) -> list[tuple]:
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute(query, values).fetchall()


def file_events(url: str) -> list[tuple[int, str, int, int, bytes]]:
    """Return (position, kind, incarnation, sequence, path) of every file event, in order."""
    return rows(url, "SELECT position, kind, incarnation, sequence, path FROM file_events ORDER BY position")


def gaps(url: str) -> list[str]:
    """Return what is not gapless: positions of the files log, sequences of each incarnation."""
    events = file_events(url)
    found = [f"position {i} holds {e[0]}" for i, e in enumerate(events, 1) if e[0] != i][:1]
    for incarnation in {e[2] for e in events}:
        sequences = [e[3] for e in events if e[2] == incarnation]
        if sequences != list(range(1, len(sequences) + 1)):
            found.append(f"incarnation {incarnation}: sequences are not 1..{len(sequences)}")
    return found
