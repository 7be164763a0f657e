"""A mount's folder as its mount sees it at start: take an incarnation, recover, begin a journal, hand over what is
pending.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.recovery import CurrentContent, pending, recover
from app.core.ids import VersionId
from app.core.seal_plan import PlannedRequest
from app.ports import OperationLog, TailDamage


class FolderJournal:
    """See MountJournal."""

    def __init__(self, folder: MountFolder) -> None:
        self.damage: list[TailDamage] = []
        self._folder = folder

    @property
    def path(self) -> Path:
        """See MountJournal."""
        return self._folder.path

    def incarnations(self) -> list[int]:
        """See MountJournal."""
        return self._folder.incarnations()

    def take_spare(self) -> int | None:
        """See MountJournal."""
        return self._folder.take_spare()

    def start(
        self,
        incarnation: int,
        last_sequences: Mapping[int, int],
        current: Callable[[int], tuple[VersionId, int, bytes] | None],
    ) -> OperationLog:
        """See MountJournal."""

        def content(inode: int) -> CurrentContent | None:
            known = current(inode)
            return None if known is None else CurrentContent(*known)

        recovered = recover(self._folder, incarnation, last_sequences, content)
        self.damage = [damage for old in recovered.old for damage in old.damage]
        return recovered.writer

    def pending(self, last_sequences: Mapping[int, int]) -> Iterator[tuple[int, PlannedRequest]]:
        """See MountJournal."""
        return ((one.incarnation, one.planned) for one in pending(self._folder, last_sequences))

    def courier(self) -> dict[str, Any]:
        """See MountJournal."""
        return self._folder.status()
