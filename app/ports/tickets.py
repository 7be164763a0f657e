"""Escalations that wait for a person: where they are kept, and what proves who sent a message about one."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.core.decisions import DecisionRecord


class Ticket(NamedTuple):
    """An escalation to keep; `request` is what it was asked with, encoded."""

    id: str
    agent: str
    deadline_at_ms: int
    request: bytes


class EndedTicket(NamedTuple):
    """How a mount's ticket ended, and when (wall clock); `request` is what it was opened with."""

    approved: bool
    at_s: float
    request: bytes


class TicketBox(Protocol):
    """Tickets of one mount on its disk: opened by the mount, ended by its courier."""

    def open(self, ticket: str, request: bytes) -> None:
        """Keep a ticket (32 hex digits); raises OSError."""

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """Return (ticket, request) of those without an end."""

    def end(self, ticket: str, *, approved: bool) -> None:
        """Note how a ticket ended."""

    def ended(self) -> Sequence[tuple[str, EndedTicket]]:
        """Return those with an end."""

    def forget(self, ticket: str) -> None:
        """Remove one that has ended."""


class ChangeLeave(Protocol):
    """A person's leave for changes that rules escalate, as a mount asks for it."""

    def lifted(self, operation: str, path: bytes, agent: str, session: str) -> str:
        """Return the ticket by which a change may be made; '' where there is none."""

    def ask(self, record: DecisionRecord) -> str:
        """Return the ticket of a refusal, the one that waits already or a new one; '' where none can be opened."""

    def refresh(self) -> bool:
        """Look which tickets have an end; reads the disk."""


class TicketReader(Protocol):
    """Open escalations, reading role."""

    def waiting(self, limit: int) -> Sequence[bytes]:
        """Return the requests that nobody has ended, the next deadline first."""

    def close(self) -> None:
        """Close its connections."""


class Tickets(TicketReader, Protocol):
    """Open escalations, writing role. A terminal decision is a record of the decisions log: one a ticket, for ever."""

    def open(self, ticket: Ticket, agent_max: int, all_max: int) -> bool:
        """Keep a ticket; True also where it was kept before, False where so many of its agent, or of all, wait."""

    def request(self, ticket: str) -> bytes | None:
        """Return the request of an open ticket."""

    def due(self, now_ms: int, limit: int) -> Sequence[bytes]:
        """Return requests whose deadline has come."""

    def end(self, ticket: str, record: DecisionRecord) -> DecisionRecord:
        """Append a terminal decision unless there is one; return the one that stands."""

    def ended(self, ticket: str) -> DecisionRecord | None:
        """Return the terminal decision of a ticket."""


class Seal(Protocol):
    """Marks bytes with a secret that is never in Redis: who can write to the broker can neither ask nor answer."""

    def sign(self, place: bytes, body: bytes) -> bytes:
        """Return the sealed form of a body for one place."""

    def open(self, place: bytes, value: bytes) -> bytes | None:
        """Return the body, or None where it was not sealed for this place."""
