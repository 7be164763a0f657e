"""A Parking in memory that refuses what is not held, and gives nothing without waiting now and then, or ever (`patient`)."""

import random

from app.ports import Parking


class MemoryParking(Parking):
    def __init__(self, seed: int = 0) -> None:
        self.records: dict[int, bytes] = {}
        self.holds: dict[int, int] = {}
        self.waits = 0
        self.patient = False
        self._copies: dict[int, bytes] = {}
        self._draw = random.Random(seed)

    def appended(self, data: bytes) -> int:
        """A WRITE record was appended: return its place."""
        self.records[place := len(self.records) + 1] = bytes(data)
        return place

    def hold(self, place: int) -> bool:
        assert place in (self.records if place > 0 else self._copies)
        self.holds[place] = self.holds.get(place, 0) + 1
        return True

    def copy(self, data: bytes | bytearray) -> int:
        if self._draw.random() < 0.1:
            return 0
        place = next(at for at in range(-1, -1_000_000, -1) if at not in self._copies)
        self._copies[place] = bytes(data)
        self.holds[place] = 1
        return place

    def let_go(self, place: int) -> None:
        self.holds[place] -= 1
        if not self.holds[place]:
            del self.holds[place]
            self._copies.pop(place, None)

    def read(self, place: int, *, wait: bool) -> bytes | None:
        assert self.holds[place]
        if not wait and (self.patient or self._draw.random() < 0.5):
            return None
        self.waits += wait
        return self.records[place] if place > 0 else self._copies[place]

    def close(self) -> None: ...
