"""What judging asks of the world: branch and time for rules that name them, and the project's scripts.

The folder may lie on a mount that hangs: it is looked at in a thread, for READ_S at most, and by one thread at a time.
Who asks meanwhile gets None, which never approves.
"""

import threading
import time
from pathlib import Path
from typing import Final

from app.adapters.stored_scripts import StoredScripts
from app.core.shell.stored import Lack

READ_S: Final = 0.02
HEAD_BYTES_MAX: Final = 4096
_REF: Final = "ref: refs/heads/"


class Surroundings:
    """See World. One thread asks at a time, as a worker process does."""

    def __init__(self, scripts: StoredScripts | None = None, read_s: float = READ_S) -> None:
        self._scripts = scripts
        self._read_s = read_s
        self._looking: threading.Thread | None = None

    def branch(self, folder: str) -> str | None:
        """See World."""
        if self._looking is not None and self._looking.is_alive():
            return None
        found: list[str | None] = []
        self._looking = threading.Thread(target=lambda: found.append(_branch(Path(folder))), daemon=True)
        self._looking.start()
        self._looking.join(self._read_s)
        return found[0] if found else None

    def minute_of_week(self) -> int | None:
        """See World."""
        now = time.localtime()
        return (now.tm_wday * 24 + now.tm_hour) * 60 + now.tm_min

    def script(self, path: str) -> bytes | Lack:
        """See World."""
        return Lack.ABSENT if self._scripts is None else self._scripts.script(path)


def _branch(folder: Path) -> str | None:
    try:
        head = _head(folder)
        if head is None:
            return None
        with head.open("rb") as file:
            text = file.read(HEAD_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    if not text.startswith("ref:"):
        return ""
    # with reftables HEAD names no branch: git itself would have to be asked
    return text[len(_REF) :] if text.startswith(_REF) and not text.endswith("/.invalid") else None


def _head(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_dir():
            return git / "HEAD"
        if git.is_file():
            said = git.read_text().removeprefix("gitdir:").strip()
            return place / said / "HEAD"
    return None
