"""What one writer knows of a project's files log between appends: valid while the log's head is still the same."""

from typing import NamedTuple

from app.adapters.postgres.tree_rows import TreeRows


class Origin(NamedTuple):
    """An incarnation: whose it is and how far it came."""

    origin: str
    origin_name: str
    last_sequence: int


class Head(NamedTuple):
    """The last row of the log."""

    position: int
    hash: bytes
    recorded_at_us: int


class Standing:
    """Head, tree rows, incarnations. `clock_offset_us`: the database's wall clock less this process's monotonic one."""

    def __init__(self, head: Head, clock_offset_us: int) -> None:
        self.head = head
        self.clock_offset_us = clock_offset_us
        self.tree = TreeRows()
        self.origins: dict[int, Origin] = {}
