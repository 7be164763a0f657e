"""What an append changes, as keys that another append's reads can be held against.

An inode stands for its node, its aliases and, of a folder, all names in it: every change of a name touches its
folder's node. A name that leads to a folder has a key of its own, since paths go through it.
"""

from collections.abc import Sequence
from typing import Final

from xxhash import xxh64_intdigest

FOREIGN_MAX: Final = 100_000
_TOP: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


def name_key(parent: int, name: bytes) -> int:
    """Return a number below 0; two names with one key cost a look under the log's lock, no more."""
    return (xxh64_intdigest(name, parent & _ALL) | _TOP) - (1 << 64)


class Foreign:
    """Keys that others touched after rows were read that may be of them."""

    def __init__(self) -> None:
        self._keys: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Sequence[int]) -> None:
        """Remember what others touched."""
        self._keys.update(keys)

    def meets(self, keys: Sequence[int]) -> bool:
        """Tell whether one of these was touched."""
        return not self._keys.isdisjoint(keys)
