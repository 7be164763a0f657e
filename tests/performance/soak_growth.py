"""Whether a process grows: memory and descriptors of each program's processes, looked at by and by."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Final, NamedTuple

MIB: Final = 1 << 20
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
BLOCKS: Final = 16
# two-sided 95 % of Student's t by degrees of freedom, from 3 on
STUDENT: Final = (3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
GROWTH_MAX_MIB_H: Final = 1.0


class Slope(NamedTuple):
    """MiB an hour, and the 95 % interval of that."""

    mib_h: float
    low_mib_h: float
    high_mib_h: float

    @property
    def grows(self) -> bool:
        return self.low_mib_h > 0 and self.high_mib_h >= GROWTH_MAX_MIB_H


def descend(pid: int) -> Iterable[int]:
    """Return a process and all below it that are there at the moment."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from descend(int(child))


class Watch:
    """Resident bytes and open descriptors of programs, summed over a program's processes."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.resident: dict[str, list[int]] = defaultdict(list)
        self.descriptors: dict[str, list[int]] = defaultdict(list)

    def look(self, at_s: float, programs: dict[str, int]) -> None:
        self.at_s.append(at_s)
        for name, pid in programs.items():
            pids = list(descend(pid))
            self.resident[name].append(sum(map(_resident, pids)))
            self.descriptors[name].append(sum(map(_descriptors, pids)))

    def slope(self, name: str, after_s: float) -> Slope:
        return slope(self.at_s, self.resident[name], after_s)

    def descriptors_grow(self, name: str, after_s: float) -> bool:
        """A leak goes on: each third is above all of the one before. What comes and goes is none, nor is a step, as
        where a replaced worker inherits what its parent has open.
        """
        kept = [count for at, count in zip(self.at_s, self.descriptors[name], strict=True) if at >= after_s]
        part = max(len(kept) // 3, 1)
        first, second, third = kept[:part], kept[part : 2 * part], kept[2 * part :]
        return min(third or [0]) > max(second or [0]) and min(second) > max(first)


def slope(at_s: Sequence[float], values: Sequence[int], after_s: float) -> Slope:
    """Return the least-squares slope. Neighbouring samples hang together, which would make the interval too narrow:
    each of 16 blocks counts once, by its median.
    """
    kept = [(at, value) for at, value in zip(at_s, values, strict=True) if at >= after_s]
    length = max(len(kept) // BLOCKS, 1)
    blocks = [kept[start : start + length] for start in range(0, len(kept) - length + 1, length)][:BLOCKS]
    x = [fmean(at for at, _ in block) / 3600 for block in blocks]
    y = [median(value for _, value in block) / MIB for block in blocks]
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((one - mean_x) ** 2 for one in x)
    rise = sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True)) / spread
    left = sum((other - mean_y - rise * (one - mean_x)) ** 2 for one, other in zip(x, y, strict=True))
    free = len(x) - 2
    margin = STUDENT[min(free, len(STUDENT) + 2) - 3] * math.sqrt(left / free / spread)
    return Slope(round(rise, 2), round(rise - margin, 2), round(rise + margin, 2))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
