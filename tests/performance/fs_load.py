"""Work that keeps the whole pipeline busy while something else is measured: journal, courier, store worker, Postgres, feed.

A process writes, rewrites, renames and removes small files in a mount, as fast as it may while fewer than HIGH events wait
for the store, and rests above that: so there is always something to drain, and never so much that writers are held up.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fs_operations import mount_of

LOW, HIGH = 1000, 4000
RAMP_S = 20.0


def waiting(mount: Path) -> tuple[int, int]:
    """Return how many events of a mount the store has, and how many it does not have yet."""
    said = json.loads((mount / "debug" / "position").read_bytes())
    return said["acked"], said["sequence"] - said["acked"]


@contextmanager
def draining(folder: Path) -> Iterator[dict[str, Any]]:
    """Keep a backlog while the block runs; afterwards the dictionary says what was drained, and how often there was any."""
    folder.mkdir()
    mount, stop = mount_of(folder), multiprocessing.Event()
    seen = multiprocessing.Array("l", [0, 0])
    writer = multiprocessing.Process(target=_write, args=(folder, mount, stop, seen))
    writer.start()
    said: dict[str, Any] = {}
    try:
        end_s = time.monotonic() + RAMP_S
        while waiting(mount)[1] < LOW and time.monotonic() < end_s:
            time.sleep(0.05)
        (first, _), began_s, seen[0], seen[1] = waiting(mount), time.monotonic(), 0, 0
        yield said
        said["drained_events_a_second"] = round((waiting(mount)[0] - first) / (time.monotonic() - began_s))
        said["looks"], said["looks_without_backlog"] = seen[0], seen[1]
    finally:
        stop.set()
        writer.join()


def _write(folder: Path, mount: Path, stop: Any, seen: Any) -> None:
    number, data = 0, os.urandom(4096)
    while not stop.is_set():
        behind = waiting(mount)[1]
        seen[0] += 1
        seen[1] += behind == 0
        if behind > HIGH:
            time.sleep(0.01)
            continue
        for number in range(number, number + 20):  # noqa: B020, PLW2901 - goes on where it was
            path = folder / f"{number % 500}"
            path.write_bytes(number.to_bytes(8, "big") + data)
            if number % 3 == 0:
                path.rename(folder / f"{number % 500}.moved")
            elif number % 3 == 1:
                path.unlink()
        number += 1
