"""A latency histogram: 16 linear buckets an octave, so a percentile is at most 6.25 % too low, in constant memory.

`record` takes no lock: two threads that record at the same instant may lose one count, never break one.
"""

from collections.abc import Iterator, Sequence
from typing import Final

_SUB_BITS: Final = 4
_SUB: Final = 1 << _SUB_BITS
_BUCKETS: Final = 64 * _SUB
_TABLED: Final = 4096


class Histogram:
    """Counts of non-negative integers of one unit, which the name of the figure says."""

    __slots__ = ("_counts", "maximum", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0
        self.maximum = 0

    def record(self, value: int, times: int = 1) -> None:
        """Count one value, or the same several times; what is below zero counts as zero."""
        if value < _SUB:
            value = max(value, 0)
            self._counts[value] += times
        else:
            self._counts[_bucket(value)] += times
        self.total += value * times
        self.maximum = max(self.maximum, value)

    def record_all(self, values: Sequence[int]) -> None:
        """Count values of zero or more: `record` for each, at a third of the price."""
        counts = self._counts
        for value in values:
            counts[_BUCKET_OF[value] if value < _TABLED else _bucket(value)] += 1
        self.total += sum(values)
        self.maximum = max(self.maximum, max(values, default=0))

    @property
    def count(self) -> int:
        """Return how many values were recorded."""
        return sum(self._counts)

    def percentile(self, share: float) -> int:
        """Return the lower edge of the bucket that holds the value at `share` (0.5, 0.99); 0 when empty."""
        counts = list(self._counts)
        wanted = share * sum(counts)
        seen = 0
        for index, number in enumerate(counts):
            seen += number
            if number and seen >= wanted:
                return lower_edge(index)
        return 0

    def octaves(self) -> Iterator[tuple[int, int]]:
        """Yield (upper bound, values below it) for each power of two up to the largest value."""
        counts = list(self._counts)
        for bits in range(self.maximum.bit_length() + 1):
            yield (
                1 << bits,
                sum(number for index, number in enumerate(counts) if number and lower_edge(index) < 1 << bits),
            )


def _bucket(value: int) -> int:
    shift = max(value.bit_length() - _SUB_BITS - 1, 0)
    return shift * _SUB + (value >> shift)


def lower_edge(index: int) -> int:
    """Return the smallest value that falls into a bucket."""
    if index < 2 * _SUB:
        return index
    shift = index // _SUB - 1
    return (index - shift * _SUB) << shift


_BUCKET_OF: Final = [_bucket(value) for value in range(_TABLED)]
