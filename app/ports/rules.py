"""The rules of a project as files: those on disk, those that a change would give, and those of earlier versions."""

from collections.abc import Mapping, Sequence
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

    def stamp(self) -> object:
        """Return what is equal as long as no file has changed; costs a stat a file."""

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

    def contents(self, tier: Tier) -> dict[str, bytes]:
        """Return a tier's files by name as they lie on disk, whether they parse or not."""

    def replaced(self, tier: Tier, contents: Mapping[str, bytes]) -> list[RuleFile]:
        """Return the files as they would be with these as the tier's; raises PolicyInvalid where one does not parse."""

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """Make the user's files these, at once for whoever reads them; raises SetupError where that cannot be."""

    def add(self, name: str, content: bytes) -> Path:
        """Write one file of the user's, at once, and return where."""


class ProjectRules(Protocol):
    """The project's own rule file as it was last found to hold, beside the one that lies in the project now."""

    def stored(self) -> bytes | None:
        """Return the file as the store has it, None where there is none; raises RequestInvalid where it is no file of
        bearable size.
        """

    def taken(self) -> bytes | None:
        """Return the one in force."""

    def take(self, content: bytes | None) -> None:
        """Bring it into force, or none; nothing is refused then."""

    def refused(self) -> str:
        """Return why the one in the project is not in force, '' where it is."""

    def refuse(self, why: str) -> None:
        """Leave what is in force as it is, and say why."""
