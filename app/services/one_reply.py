"""One question to the workers: sent again with the same bytes until its answer is on the reply list."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from app.core.errors import PayloadRefused, Unavailable
from app.ports import ReplyBox, Tasks

RESEND_S: Final = 3.0
T = TypeVar("T")


class Asker:
    """A sender with its reply list; one question at a time."""

    def __init__(self, tasks: Tasks, replies: ReplyBox) -> None:
        self._tasks = tasks
        self._replies = replies

    @property
    def address(self) -> str:
        """Return where answers go: part of every question."""
        return self._replies.address

    def ask(
        self, name: str, queue: str, payload: bytes, answer: Callable[[bytes], T | None], patience_s: float
    ) -> T | None:
        """Return the first reply that `answer` takes (None, or PayloadRefused, for one that is another's), or None
        after `patience_s`; raises BrokerUnavailable. The question must be one that may come twice.
        """
        until = time.monotonic() + patience_s
        resend_at = 0.0
        while (now := time.monotonic()) < until:
            if now >= resend_at:
                self._tasks.send(name, payload, queue)
                resend_at = now + RESEND_S
            found = self._taken(answer)
            if found is not None:
                return found
        return None

    def _taken(self, answer: Callable[[bytes], T | None]) -> T | None:
        reply = self._replies.wait(1.0)
        try:
            return None if reply is None else answer(reply)
        except PayloadRefused:
            return None


def or_unavailable(found: T | None, what: str) -> T:
    """Return an answer; raises Unavailable where none came."""
    if found is None:
        raise Unavailable(f"no worker says what became of {what}: see `weir status`")
    return found
