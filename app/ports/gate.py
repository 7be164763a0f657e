"""What a gateway judges with and keeps its answers in."""

from collections.abc import Sequence
from typing import Protocol

from app.core.decisions import Asked, DecisionRecord, Judgement
from app.core.frames import Run
from app.core.policy.guards import PathGuards


class Policy(Protocol):
    """A compiled set of rules, or a holder that swaps in the newest one."""

    @property
    def version(self) -> str:
        """Return the version of rules and engine that the next judgement will name."""

    def judge(self, call: Asked) -> Judgement:
        """Judge one call: total, in microseconds; doubt is escalate, failure is block."""


class PathRules(Protocol):
    """Rules for paths, as mount and store worker ask them; follows its files. `alert` says why the newest are not in
    force.
    """

    alert: str

    @property
    def version(self) -> str:
        """Return the version of rules and engine in force."""

    @property
    def guards(self) -> PathGuards:
        """Return what judges paths now: one reference, swapped whole."""

    @property
    def stands_in(self) -> bool:
        """Tell whether no rules could be loaded at all: then `guards` refuse everything."""

    def refresh(self) -> bool:
        """Look at the files and swap in what they say; True when another version came into force."""


class DecisionSpool(Protocol):
    """The gateway's answers on disk, until they are in the decisions log. `spool` is its id, 32 hex digits."""

    spool: str
    next_sequence: int

    @property
    def filled(self) -> float:
        """Return the share of the spool's bound that is in use, 0 to 1."""

    def append(self, records: Sequence[DecisionRecord]) -> Sequence[int]:
        """Append with one write and return the sequences given; raises JournalFull or another JournalError."""

    def append_encoded(self, records: Sequence[bytes], first: int) -> None:
        """As `append`, of DecisionRecords that are encoded with the sequences first, first + 1, ...: `first` has to be
        `next_sequence`, so only one thread may append in this way. Raises JournalFull or another JournalError.
        """

    def close(self) -> None:
        """Flush and close; what is not acknowledged is shipped by the next gateway."""


class SpoolRecords(Protocol):
    """One spool, read once from its first record on disk."""

    def poll(self) -> Sequence[Run]:
        """Return the next runs of encoded DecisionRecords, [] at the end for now."""

    def acknowledge(self, sequence: int) -> None:
        """Remove the segments that hold nothing above `sequence`; the newest is kept."""

    def finish(self) -> None:
        """Say that the writer is gone."""

    def close(self) -> None:
        """Close the files."""


class Spools(Protocol):
    """All spools of a project as the shipper sees them."""

    def spools(self) -> Sequence[str]:
        """Return the ids of all spools on disk."""

    def open(self, spool: str) -> SpoolRecords:
        """Return a reader at the first record on disk."""

    def is_alive(self, spool: str) -> bool:
        """Tell whether the gateway that writes this spool still runs."""

    def forget(self, spool: str) -> None:
        """Remove what is left of a drained spool of a dead gateway."""
