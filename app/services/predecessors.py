"""Which chunk stood where another one stands now: the store may keep the one as what differs from the other.

A file that is saved by a rename over the old one stands in its place as well, which
helps where the rename comes in time for the batch that brings its content. It is a hint and no more: what is not
known any more is kept whole.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from app.core.deltas import LEAST_BYTES

ENTRIES_MAX: Final = 4096


class Predecessors:
    """By name, bounded; the oldest go. One thread."""

    def __init__(self) -> None:
        self._before: OrderedDict[bytes, bytes] = OrderedDict()

    def note(self, old: Mapping[int, tuple[bytes, int]], new: Mapping[int, tuple[bytes, int]]) -> None:
        """One chunk map has taken the other's place."""
        for index, (name, size) in new.items():
            before = old.get(index, (b"", 0))[0]
            if name and before and name != before and size >= LEAST_BYTES:
                self._before[name] = before
                if len(self._before) > ENTRIES_MAX:
                    self._before.popitem(last=False)

    def of(self, name: bytes) -> bytes:
        """Return the name of the chunk before, b'' where none is known."""
        return self._before.get(name, b"")
