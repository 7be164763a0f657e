"""Whether the store confirms anything while a write waits for room."""

import time
from typing import Final

STALLED_S: Final = 10.0
LOOK_S: Final = 0.1


class Drain:
    """By incarnation, what is confirmed. `stalled` is what was when somebody was refused: who comes while that is all
    waits no 10 s of his own.
    """

    def __init__(self, confirmed: dict[int, int], stalled: dict[int, int] | None = None) -> None:
        self.looks = 0
        self._seen = dict(confirmed)
        self._since_s = time.monotonic() if confirmed != stalled else 0.0

    def is_stalled(self, confirmed: dict[int, int]) -> bool:
        """Look once more; True where nothing has come for 10 s."""
        self.looks += 1
        if confirmed != self._seen:
            self._seen, self._since_s = dict(confirmed), time.monotonic()
        return time.monotonic() - self._since_s >= STALLED_S
