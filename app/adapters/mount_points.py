"""What is mounted at a folder, seen from outside; and the cover that keeps the bare folder from being written to.

A mount that was killed is gone for as long as its next start takes. What is written below its folder then would land
in the bare folder, look like the project and be no event. So whoever may (root) lays an empty read-only filesystem
over the folder before the mount: it stays when the mount dies, and such a write fails.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

COVER: Final = "weir-cover"
_COVERED: Final = ("tmpfs", COVER)
_COVER_OPTIONS: Final = "ro,nosuid,nodev,noexec,size=4k,mode=0555"


def mount_kind(point: Path) -> str:
    """Return the type of the filesystem mounted last at a folder, '' for none or a cover; never touches the folder."""
    last = [*_mounted(point)][-1:]
    return last[0][0] if last and last != [_COVERED] else ""


def covered(point: Path) -> bool:
    """Tell whether a cover lies on a folder and nothing on it."""
    return [*_mounted(point)][-1:] == [_COVERED]


def cover(point: Path) -> None:
    """Lay a cover on a folder that has none; where that is not allowed, there is none."""
    if os.getuid() == 0 and not covered(point):
        argv = ["mount", "-t", "tmpfs", "-o", _COVER_OPTIONS, COVER, str(point)]
        subprocess.run(argv, check=False, capture_output=True)


def uncover(point: Path) -> None:
    """Take covers away from a folder that nothing is mounted on."""
    while covered(point):
        if subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True).returncode:
            return


def unmount(point: Path) -> bool:
    """Unmount a FUSE mount of ours if it is there, lazily where busy, and its cover; return whether there was one."""
    there = mount_kind(point).startswith("fuse")
    gone = there and _unmounted(point)
    uncover(point)
    return gone


def _unmounted(point: Path) -> bool:
    for argv in (["fusermount3", "-u"], ["fusermount", "-u"], ["umount"], ["umount", "-l"], ["fusermount3", "-uz"]):
        try:
            if subprocess.run([*argv, str(point)], capture_output=True, check=False).returncode == 0:
                return True
        except FileNotFoundError:
            continue
    return not mount_kind(point)


def _mounted(point: Path) -> Iterator[tuple[str, str]]:
    """Type and source of what is mounted at a folder, in the order in which it was."""
    wanted = os.fsencode(point)
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        place = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), before.split()[4])
        if place == wanted:
            kind, source, *_ = after.split()
            yield os.fsdecode(kind), os.fsdecode(source)
