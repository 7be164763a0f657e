"""Back-pressure: while answers come faster than they are recorded, connections are read for a part of the time only.

Every answer waits on disk until the store has it, within a bound, and a gateway without room for a record can only
block. From half of that bound on, reading pauses for a growing part of each TICK_S, up to nine tenths: callers wait
in their own sockets, and none is refused.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from app.entry.gateway.connection import HttpConnection
from app.telemetry.metrics import Metrics

TICK_S: Final = 0.1
_FROM: Final = 0.5
_FULL: Final = 0.9
_HELD_MAX: Final = 0.9


class Pressure:
    """`filled` returns the share of the bound that waits (0 to 1); it is asked every TICK_S."""

    def __init__(self, connections: Collection[HttpConnection], filled: Callable[[], float], metrics: Metrics) -> None:
        self._connections = connections
        self._filled = filled
        self._held_ms = metrics.counter("weir_held_back_ms_total", "Time in which no connection was read.")

    def tick(self) -> None:
        """Hold back for a part of the next TICK_S; calls itself."""
        loop = asyncio.get_running_loop()
        share = held_share(self._filled())
        if share:
            self._held_ms.add(round(share * TICK_S * 1000))
            for connection in list(self._connections):
                connection.hold()
            loop.call_later(share * TICK_S, self._release)
        loop.call_later(TICK_S, self.tick)

    def _release(self) -> None:
        for connection in list(self._connections):
            connection.release()


def held_share(filled: float) -> float:
    """Return the part of the time in which nothing is read."""
    return min(max((filled - _FROM) / (_FULL - _FROM), 0.0), 1.0) * _HELD_MAX
