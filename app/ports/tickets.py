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
