"""Servers and supervised programs."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Server(Protocol):
    """Redis or Postgres as one process runs it, or watches one that somebody else runs."""

    def start(self) -> str:
        """Start, wait until it serves (Postgres: the newest schema), and say in one line what serves."""

    def ended(self) -> int | None:
        """Return its exit code once it has ended; None while it runs, or where it is not ours."""

    def mend(self) -> Sequence[str]:
        """Put right what stops its users, called every few seconds; return a line for each. Nothing where not ours."""

    def stop(self) -> None:
        """Stop it in order and wait; nothing where it is not ours."""


class Program(NamedTuple):
    """A line of the Procfile, or a further mount: `command` is for sh; a higher `nice` yields."""

    name: str
    command: str
    nice: int = 0


class ProgramState(NamedTuple):
    """A supervised program: `state` is running | starting | backoff | stopping | stopped | exited | fatal."""

    name: str
    state: str
    pid: int
    uptime_s: int
    restarts: int
    log: str


class Supervisor(Protocol):
    """Keeps programs running, restarts with back-off, stops in reverse order of start."""

    def alive(self) -> bool:
        """Tell whether it runs."""

    def launch(self, programs: Sequence[Program]) -> None:
        """Start it, detached, with these programs in this order; raises SetupError with its words if it cannot."""

    def states(self) -> Sequence[ProgramState]:
        """Return all programs in start order; empty while it does not run."""

    def add(self, programs: Sequence[Program]) -> None:
        """Start further programs, also after its own restart."""

    def start(self, name: str) -> None:
        """Start one program that is stopped or has given up; does not wait."""

    def stop(self, names: Sequence[str], timeout_s: float) -> Sequence[str]:
        """Stop programs at the same time and wait; return those that had to be killed. Raises SetupError when one does
        not stop in time.
        """

    def remove(self, name: str) -> None:
        """Forget a stopped program that was added."""

    def end(self, timeout_s: float) -> None:
        """Stop what still runs and end; returns when it is gone."""
