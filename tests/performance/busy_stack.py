"""A running stack kept busy while something else is measured: 1,000 calls in flight, and two writers in its mount."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from validate_load import Door, Run, Shape, program, run_gateway

from config.settings import Settings

FLIGHTS = Shape(8, 125)
WRITERS = 2
_WRITER = """
import itertools, os, sys
for number in itertools.count():
    name = os.path.join(sys.argv[1], f"{os.getpid()}-{number % 200}")
    with open(name, "wb") as file:
        file.write(os.urandom(4096))
    with open(name, "rb") as file:
        file.read()
"""


def running(settings: Settings) -> tuple[Door, Path] | None:
    """Return the gateway and the mount of a stack that runs, None where either is away."""
    with suppress(OSError, ValueError, KeyError):
        door = Door(json.loads((settings.run / "gateway.json").read_text())["socket"])
        current = settings.mount_point / "current"
        if Path(door.path).is_socket() and current.is_dir():
            return door, current
    return None


@contextmanager
def busy(door: Door, current: Path, seconds: float) -> Iterator[list[Run]]:
    """Keep the stack busy for `seconds`, which the block should last; what the callers had is in the list afterwards."""
    had: list[Run] = []
    program()  # compiled before the time begins
    asking = threading.Thread(target=lambda: had.append(run_gateway(door, FLIGHTS, seconds, cached=False)))
    with tempfile.TemporaryDirectory(prefix="busy-", dir=current) as folder:
        writers = [subprocess.Popen([sys.executable, "-c", _WRITER, folder]) for _ in range(WRITERS)]
        try:
            asking.start()
            yield had
            asking.join()
            if not had or any(writer.poll() is not None for writer in writers):
                raise SystemExit("the stack was not kept busy: its callers or writers ended; see `weir status`")
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()
