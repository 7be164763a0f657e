"""A chunk that is on the local disk: which bytes of which places, one after another, make it up."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from app.ports import Parking

PART_MIN_BYTES: Final = 16 * 1024
"""Shorter records are not worth a place of their own: a copy of the chunk is."""
PARTS_MAX: Final = 8


class Part(NamedTuple):
    """`length` bytes of what stands at a place of `Parking`, from `start` on."""

    place: int
    start: int
    length: int


Parts = tuple[Part, ...]
"""In the order of the chunk; what follows them is zeros."""


def length_of(parts: Parts) -> int:
    """Return how many bytes they make up."""
    return sum([part.length for part in parts])


def copied_of(parts: Iterable[Part]) -> int:
    """Return how many of them are no journal's."""
    return sum([part.length for part in parts if part.place < 0])


def cut(parts: Parts, keep: int) -> Parts:
    """Return what the first `keep` bytes are made of."""
    kept: list[Part] = []
    for part in parts:
        if keep <= 0:
            break
        kept.append(part._replace(length=min(part.length, keep)))
        keep -= part.length
    return tuple(kept)


def read(parking: Parking, parts: Parts, *, wait: bool) -> bytes | None:
    """Return the bytes; None where one part would have to be waited for. Raises ContentUnavailable."""
    found = []
    for part in parts:
        data = parking.read(part.place, wait=wait)
        if data is None:
            return None
        found.append(data[part.start : part.start + part.length])
    return found[0] if len(found) == 1 else b"".join(found)
