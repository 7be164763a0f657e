"""What one writer knows of a project's files log between appends: each tree row with the position that made it so."""

from typing import NamedTuple

from app.adapters.postgres.touched import Foreign
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


class Standing:
    """Head, tree rows, incarnations. Every row known is that of the head, but for what others touched (`foreign`).

    `at_us`: when the last append was recorded, if this writer did it.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.foreign = Foreign()
        self.at_us = 0
        self.tree = TreeRows()
        self.origins: dict[int, Origin] = {}
