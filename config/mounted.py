"""Which of Weir's mounts a folder lies in, by the kernel's table: nothing is asked of the mount, which may be dead."""

import os
import re
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_POINT: Final = 4


def mount_above(folder: Path, table: Path = _TABLE) -> Path | None:
    """Return the mount point at or above an absolute folder if what is mounted there is Weir's."""
    found, kind = Path("/"), ""
    for line in table.read_bytes().splitlines():
        about, _, source = os.fsdecode(line).partition(" - ")
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), about.split()[_POINT]))
        if folder.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, source.split()[0]
    return found if kind == "fuse.weir" else None
