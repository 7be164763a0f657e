"""What a mount works with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from app.core.ids import VersionId
from app.core.seal_plan import PlannedRequest
from app.ports.broker import ChunkCache, FeedSubscriber, LocalChunks
from app.ports.gate import DecisionSpool, PathRules
from app.ports.journals import OperationLog, TailDamage
from app.ports.logs import FileEventReader
from app.ports.tickets import ChangeLeave


class KernelCache(Protocol):
    """The kernel's caches of one mount; never blocks, may be called with any lock held."""

    def forget_inode(self, inode: int, *, attributes_only: bool = False) -> None:
        """Queue invalidation of an inode's attributes and pages."""

    def forget_entry(self, parent: int, name: bytes) -> None:
        """Queue invalidation of a name (positive or negative)."""

    def forget_everything(self) -> None:
        """Queue invalidation of all that the kernel knows of this mount."""


class StreamFiles(Protocol):
    """A mount's streams: bounded files of lines that its courier appends to and the mount serves."""

    def last_line(self) -> bytes:
        """Return the newest whole line of the stream of all events, b'' where there is none."""

    def append(self, lines: bytes, of_agents: Mapping[str, bytes]) -> None:
        """Append whole lines to the stream of all events, and to those of agents; raises OSError."""


class MountJournal(Protocol):
    """A mount's folder as its mount sees it; `damage` is what `start` found at the tails of older journals."""

    damage: list[TailDamage]

    @property
    def path(self) -> Path:
        """Return the folder."""

    def incarnations(self) -> Sequence[int]:
        """Return the incarnations on disk, ascending."""

    def take_spare(self) -> int | None:
        """Return an incarnation that nobody has used, None while the courier has not got one."""

    def start(
        self,
        incarnation: int,
        last_sequences: Mapping[int, int],
        current: Callable[[int], tuple[VersionId, int, bytes] | None],
    ) -> OperationLog:
        """Recover older journals and begin a new one; `current` is (version, size, path) of an inode in the tree.

        Raises JournalError where another process has the folder.
        """

    def pending(self, last_sequences: Mapping[int, int]) -> Iterator[tuple[int, PlannedRequest]]:
        """Yield (incarnation, request) above the store's last sequences, in the order of shipping."""

    def courier(self) -> dict[str, Any]:
        """Return what the courier last said of itself."""


class MountParts(NamedTuple):
    """What a mount works with; `subscriber` None where the feed is to come from the store alone. `denials` makes the
    spool of what `rules` refused, `leave` has a person's answers to what they escalate.
    """

    project: str
    journal: MountJournal
    reader: FileEventReader
    subscriber: FeedSubscriber | None
    cache: ChunkCache | None
    flags: Mapping[str, bool] = {}
    rules: PathRules | None = None
    denials: Callable[[], DecisionSpool] | None = None
    local: LocalChunks | None = None
    leave: ChangeLeave | None = None
