"""The rules of a project as files: those on disk, those that a change would give, and those of earlier versions."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from app.core.policy import RuleFile
from app.core.policy.source import Tier


class KeptVersion(NamedTuple):
    """A version that was in force, newest first by `at_ns` (wall clock, when it was last seen to come into force)."""

    version: str
    at_ns: int


class RuleBook(Protocol):
    """Reads rule files and keeps the last versions; only the user's own files are ever changed."""

    def now(self) -> list[RuleFile]:
        """Return the files as they are; raises PolicyInvalid where one does not parse."""

    def changed(self, paths: Sequence[Path], tier: Tier | None = None) -> list[RuleFile]:
        """Return the files with a folder in a tier's place, or with single files added to it; without `tier` the one
        that the paths lie in, else the user's. Raises RequestInvalid, PolicyInvalid.
        """

    def kept(self) -> list[KeptVersion]:
        """Return the versions that are kept."""

    def version(self, beginning: str) -> list[RuleFile]:
        """Return the files of the kept version that begins so; raises RequestInvalid for none or more than one."""

    def keep(self, files: Sequence[RuleFile], *, tried: bool = False) -> str:
        """Keep the files under their version and return it; what was only `tried` is not among `kept`."""

    def planned(self, name: str, content: bytes, ours: bytes) -> list[RuleFile]:
        """Return the files as they would be with one of the user's; raises RequestInvalid where a file of that name
        exists that does not begin with `ours`.
        """

    def put_back(self, files: Sequence[RuleFile]) -> None:
        """Make the user's files those of the user's tier in `files`, at once for whoever reads them."""

    def add(self, name: str, content: bytes) -> Path:
        """Write one file of the user's, at once, and return where."""
