"""Progress of a start or stop: a live table on a terminal, else one line a change; nothing with `quiet`."""

import contextlib
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from app.services.stack import Progress


class ProgressBoard:
    """Shows each program and what it waits for."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()
        self._ready: dict[str, float] = {}
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal and not quiet else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def show(self, items: Sequence[Progress]) -> None:
        """Show where each program is; nothing where all served before anybody waited."""
        if not self._ready and not any(item.waits_for for item in items):
            return
        for item in items:
            if not item.waits_for and item.name not in self._ready:
                self._ready[item.name] = self.elapsed_s
                if not self._live and not self._quiet:
                    print(f"  {item.name:<12} ready {self.elapsed_s:5.1f} s", file=sys.stderr, flush=True)
        if self._live:
            self._live.update(self._table(items))

    def say(self, name: str, what: str) -> None:
        """Say one line about a program."""
        if not self._quiet:
            with contextlib.suppress(BrokenPipeError):  # a reader that went away does not stop what is under way
                self._console.print(f"  {name}: {what}", markup=False)

    def _table(self, items: Sequence[Progress]) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for item in items:
            ready = self._ready.get(item.name)
            table.add_row(
                "[green]●[/]" if not item.waits_for else "[yellow]○[/]",
                item.name,
                f"[dim]{ready:.1f} s[/]" if ready is not None and not item.waits_for else item.waits_for,
            )
        return table
