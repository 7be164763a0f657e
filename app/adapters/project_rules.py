"""The project's own rule file: `.weir-policy.yaml` at its root as the store has it, and the last one that held.

The gateway and the workers read the copy in the home: nothing that judges looks into a mount, which may hang. The copy
is as old as the store's content, and stays while Postgres is away.
"""

from pathlib import Path
from typing import Final, Protocol

from app.adapters.rule_versions import write_whole
from app.core.errors import RequestInvalid

PROJECT_FILE: Final = ".weir-policy.yaml"
PROJECT_BYTES_MAX: Final = 1024 * 1024
_REFUSED: Final = "refused.txt"


class RootFiles(Protocol):
    """The store, of which one file is wanted."""

    def root_file(self, name: bytes, bytes_max: int) -> bytes | None:
        """Return a file's content, None where there is none; raises RequestInvalid for what is none of that size."""


class FolderProjectRules:
    """See ProjectRules; `store` is None where nobody asks it."""

    def __init__(self, folder: Path, store: RootFiles | None) -> None:
        self._folder = folder
        self._store = store

    def stored(self) -> bytes | None:
        """See ProjectRules."""
        if self._store is None:
            raise RequestInvalid("the store is not at hand")
        return self._store.root_file(PROJECT_FILE.encode(), PROJECT_BYTES_MAX)

    def taken(self) -> bytes | None:
        """See ProjectRules."""
        try:
            return (self._folder / PROJECT_FILE).read_bytes()
        except FileNotFoundError:
            return None

    def take(self, content: bytes | None) -> None:
        """See ProjectRules."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if content is None:
            (self._folder / PROJECT_FILE).unlink(missing_ok=True)
        else:
            write_whole(self._folder / PROJECT_FILE, content)
        (self._folder / _REFUSED).unlink(missing_ok=True)

    def refused(self) -> str:
        """See ProjectRules."""
        try:
            return (self._folder / _REFUSED).read_text()
        except FileNotFoundError:
            return ""

    def refuse(self, why: str) -> None:
        """See ProjectRules."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._folder / _REFUSED, why.encode(errors="replace"))
