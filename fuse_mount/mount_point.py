"""The directory to mount on: made, and freed of what a killed mount left there. The only code that looks at it."""

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from app.core.errors import SetupError
from fuse_mount.watchdog import abort, connection_of

LOOK_S: Final = 2.0


def prepare(directory: Path) -> None:
    """Make the directory usable as a mount point; raises SetupError with the remedy where it is not."""
    connection = connection_of(directory)
    if connection:
        _free(directory, connection)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{directory} cannot be a mount point: {error.strerror}; choose another directory") from error
    if any(directory.iterdir()):
        raise SetupError(f"{directory} is not empty; choose an empty directory to mount on")
    if not Path("/dev/fuse").exists():
        raise SetupError("/dev/fuse is missing: load the fuse module, or give the container the device")


def _free(directory: Path, connection: str) -> None:
    """Detach a dead mount; a living one is refused. Asked by another process: a hung mount would hold this one. Asked
    for its room (-f): attributes the kernel answers for 300 s by itself, whoever has died.
    """
    look = ["stat", "-f", str(directory)]
    try:
        alive = subprocess.run(look, check=False, capture_output=True, timeout=LOOK_S).returncode == 0
    except subprocess.TimeoutExpired:
        abort(connection)
        alive = False
    if alive:
        raise SetupError(f"{directory} is mounted already; unmount it first: weir umount {directory}")
    detach(directory)


def detach(directory: Path) -> None:
    """Unmount lazily, whoever uses it; umount itself looks at the mount, which may not answer."""
    command = ["umount", "-l"] if os.getuid() == 0 else [shutil.which("fusermount3") or "fusermount", "-uz"]
    try:
        done = subprocess.run([*command, str(directory)], check=False, capture_output=True, text=True, timeout=LOOK_S)
        problem = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"{command[0]} did not end within {LOOK_S:.0f} s"
    if problem and connection_of(directory):
        raise SetupError(f"{directory}: {os.strerror(errno.ENOTCONN)}, and {problem}; unmount it by hand")
