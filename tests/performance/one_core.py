"""Client and filesystem on one core, so that a ratio tells what they cost and not on how many cores they happened to be.

The kernel places the two anew all the time: together, a call and its answer are two switches; apart, each wakes an idle
core, which takes twice as long here. Which of it a round gets is chance for every system, and hides what the systems differ in.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def servers_of(folder: Path) -> set[int]:
    """Return the processes that serve the FUSE connection below which a folder lies; none for other filesystems."""
    wanted = f"fuse_connection:\t{os.minor(folder.stat().st_dev)}"
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) == "/dev/fuse":
                process = descriptor.parents[1]
                if wanted in (process / "fdinfo" / descriptor.name).read_text():
                    found.add(int(process.name))
        except OSError:  # it has ended
            continue
    return found


@contextmanager
def on_one_core(folders: Iterable[Path]) -> Iterator[int]:
    """Keep this process, its children and the servers of the folders on one core meanwhile; lend its number."""
    cores = os.sched_getaffinity(0)
    one = max(cores)
    pids = {pid for folder in folders for pid in servers_of(folder)} | {os.getpid()}
    try:
        for pid in pids:
            _keep_on(pid, {one})
        yield one
    finally:
        for pid in pids:
            _keep_on(pid, cores)


def _keep_on(pid: int, cores: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:
            continue
