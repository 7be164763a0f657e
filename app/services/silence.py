"""Says what a command waits for once nothing has moved for a while, because a client library may be silent for 30 s."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Self

from app.services.status import together

SILENT_S: Final = 1.0
LONG_S: Final = 5.0
"""After so long it is said even where all servers answer: a worker is missing."""
ANSWER_S: Final = 0.7
AGAIN_S: Final = 10.0
_LOOK_S: Final = 0.1


class Silence:
    """A thread beside the work; `moved` is told how far that is. What `probes` say after SILENT_S goes to `say`, and
    `otherwise` after `long_s` where the work says that it waits.
    """

    def __init__(
        self,
        probes: Mapping[str, Callable[[], str]],
        say: Callable[[str], None],
        otherwise: str,
        long_s: float = LONG_S,
    ) -> None:
        self._probes = probes
        self._say = say
        self._otherwise = otherwise
        self._long_s = long_s
        self._mark: object = None
        self._waits = False
        self._since_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)

    def moved(self, mark: object, *, waits: bool = False) -> None:
        """Tell how far the work is, and whether somebody else has to do something before it goes on; only another mark
        than the last counts as a move.
        """
        self._waits = waits
        if mark != self._mark:
            self._mark, self._since_s = mark, time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        said_s = 0.0
        while not self._ended.wait(_LOOK_S):
            silent_since_s, now_s = self._since_s, time.monotonic()
            if now_s - silent_since_s < SILENT_S or (said_s > silent_since_s and now_s - said_s < AGAIN_S):
                continue
            words = self._words() or (self._otherwise if self._waits and now_s - silent_since_s > self._long_s else "")
            if words and self._since_s == silent_since_s and not self._ended.is_set():
                self._say(words)
                said_s = time.monotonic()

    def _words(self) -> str:
        asked = together(self._probes, time.monotonic() + ANSWER_S)
        away = [f"{name} {words}" for name, ask in asked.items() if (words := ask())]
        return "; ".join(away)
