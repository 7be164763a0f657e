"""Orders of eviction by key alone, and the three traces that they are compared on (ADR 0004)."""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate


class Lru:
    """Least recently used, on OrderedDict (in C)."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._held: OrderedDict[int, None] = OrderedDict()

    def asked(self, key: int) -> bool:
        """Tell whether a key is held; keep it."""
        if key in self._held:
            self._held.move_to_end(key)
            return True
        self._held[key] = None
        if len(self._held) > self._size_max:
            self._held.popitem(last=False)
        return False


class Sieve:
    """SIEVE (Zhang et al., NSDI 2024): one queue, a bit, and a hand that goes from the oldest to the newest."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._visited: dict[int, bool] = {}
        # a ring of links with a head: key -> [newer, older]
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._newest = self._oldest = self._hand = -1

    def asked(self, key: int) -> bool:
        """Tell whether a key is held; keep it."""
        if key in self._visited:
            self._visited[key] = True
            return True
        if len(self._visited) >= self._size_max:
            self._evict()
        self._visited[key] = False
        self._newer[key], self._older[key] = -1, self._newest
        if self._newest >= 0:
            self._newer[self._newest] = key
        else:
            self._oldest = key
        self._newest = key
        return False

    def _evict(self) -> None:
        key = self._hand if self._hand >= 0 else self._oldest
        while self._visited[key]:
            self._visited[key] = False
            key = self._newer[key] if self._newer[key] >= 0 else self._oldest
        newer, older = self._newer.pop(key), self._older.pop(key)
        self._hand = newer
        if newer >= 0:
            self._older[newer] = older
        else:
            self._newest = older
        if older >= 0:
            self._newer[older] = newer
        else:
            self._oldest = newer
        del self._visited[key]


def zipf(seed: int, distinct: int = 100_000, length: int = 200_000, alpha: float = 0.9) -> list[int]:
    """Independent questions, the n-th most frequent asked as often as n ** -alpha."""
    weights = list(accumulate(n**-alpha for n in range(1, distinct + 1)))
    return random.Random(seed).choices(range(distinct), cum_weights=weights, k=length)


def sessions(seed: int, length: int = 200_000, at_once: int = 40) -> list[int]:
    """Agents at work, made up: 40 at a time, each for some 400 calls of its own (no call is shared between agents). Of
    these 35 in a hundred are new, 45 repeat one of its last 20 (most often the last), 20 one of its first 30.
    """
    dice, names, asked = random.Random(seed), _names(), []
    agents: list[list[int]] = [[next(names)] for _ in range(at_once)]
    while len(asked) < length:
        agent = dice.randrange(at_once)
        if dice.random() < 1 / 400:
            agents[agent] = [next(names)]
        mine = agents[agent]
        mine.append(_next_call(dice, mine, lambda: next(names)))
        asked.append(mine[-1])
    return asked


def _next_call(dice: random.Random, mine: list[int], fresh: Callable[[], int]) -> int:
    what = dice.random()
    if what < 0.35:
        return fresh()
    if what < 0.8:
        return mine[-min(1 + int(dice.expovariate(0.2)), 20, len(mine))]
    return mine[dice.randrange(min(30, len(mine)))]


def _names() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def scans(seed: int) -> list[int]:
    """The zipf trace of 150,000, and after each 15,000 of it 5,000 questions that are asked once and never again."""
    asked, once = zipf(seed, length=150_000), 1_000_000
    mixed: list[int] = []
    for at in range(0, len(asked), 15_000):
        mixed += asked[at : at + 15_000]
        mixed += range(once, once + 5_000)
        once += 5_000
    return mixed


TRACES: dict[str, Callable[[int], list[int]]] = {"zipf": zipf, "agent sessions": sessions, "zipf with scans": scans}
