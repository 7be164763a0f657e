"""The directory to mount on: made, and freed of what a killed mount left there. The only code that looks at it."""

import errno
import itertools
import logging
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from app.bootstrap.covers import cover, uncover
from app.core.errors import SetupError
from app.core.ids import SECTION_NAMES
from fuse_mount.watchdog import abort, connection_of

log: Final = logging.getLogger(__name__)
LOOK_S: Final = 2.0


def prepare(directory: Path) -> None:
    """Make the directory usable as a mount point; raises SetupError with the remedy where it is not. What a killed
    mount left there stays until `clear`: its callers get errors, and do not write into the bare folder.
    """
    if not Path("/dev/fuse").exists():
        raise SetupError("/dev/fuse is missing: load the fuse module, or give the container the device")
    connection = connection_of(directory)
    if connection:
        _end(directory, connection)
    else:
        _make(directory)


def clear(directory: Path) -> None:
    """Detach what is dead there and cover the folder; called just before the mount. Raises SetupError. What was written
    below meanwhile is put aside: behind the cover nobody would see it.
    """
    if connection_of(directory):
        detach(directory)
    _make(directory)
    bare = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        cover(directory)
        _put_aside(directory, bare)
    finally:
        os.close(bare)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{directory} cannot be a mount point: {error.strerror}; choose another directory") from error
    names = sorted(path.name for path in directory.iterdir())
    if names and not SECTION_NAMES.issuperset(names):
        raise SetupError(f"{directory} is not empty ({names[0]}); choose an empty directory to mount on, or empty it")


def _put_aside(directory: Path, bare: int) -> None:
    """Keep what was written there while no mount was, beside the folder, for a person to bring in. `bare`: the folder
    itself, whatever lies on it.
    """
    names = os.listdir(bare)
    if not names:
        return
    aside = _free(directory.with_name(f"{directory.name}.aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"))
    try:
        aside.mkdir()
        for name in names:
            os.rename(name, aside / name, src_dir_fd=bare)
    except OSError as error:
        raise SetupError(f"{directory} is not empty, and cannot be put aside: {error.strerror}; empty it") from error
    log.warning("%s was written to while nothing was mounted; that is in %s now, in no history", directory, aside)


def _free(path: Path) -> Path:
    """Return a path that is not taken."""
    taken = itertools.count(2)
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{next(taken)}")
    return free


def _end(directory: Path, connection: str) -> None:
    """Refuse where a mount lives, and abort one that hangs. Asked by another process: a hung mount would hold this one.
    Asked for its room (-f): attributes the kernel answers for 300 s by itself, whoever has died.
    """
    look = ["stat", "-f", str(directory)]
    try:
        alive = subprocess.run(look, check=False, capture_output=True, timeout=LOOK_S).returncode == 0
    except subprocess.TimeoutExpired:
        abort(connection)
        alive = False
    if alive:
        raise SetupError(f"{directory} is mounted already; unmount it first: weir umount {directory}")


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


def leave(directory: Path) -> None:
    """Take the cover away at the end; under a supervisor it stays for the next start, and `weir down` or
    `weir umount` takes it away.
    """
    if "SUPERVISOR_ENABLED" not in os.environ:
        uncover(directory)
