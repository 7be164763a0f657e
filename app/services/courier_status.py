"""What a courier says of itself: courier.json, for `weir status` and debug/health."""

import os
from typing import Any, Final

from app.core.messages import PersistReply, Rejection

STATUS_S: Final = 1.0
REJECTIONS_KEPT: Final = 20


class Status:
    """What the courier says of itself in courier.json."""

    def __init__(self, name: str, origin: str) -> None:
        self.state = "idle"
        self.error = ""
        self.problem = ""
        self.damage: list[tuple[Any, ...]] = []
        self._name = name
        self._origin = origin
        self._incarnation = 0
        self.acked = 0
        self._position = 0
        self.rejected: list[Rejection] = []
        self.rejected_count = 0
        self._error_since_ns = 0
        self._written_s: float | None = None
        self._last: tuple[Any, ...] = ()

    def waits(self, why: str) -> None:
        """A server is away."""
        self.state, self.error = "waiting", why

    def unanswered(self, for_s: float) -> None:
        """What is out stays without a reply: broker and worker may be there, and nothing is stored."""
        self.error = f"the store has not answered for over {for_s:.0f} s; what was written is sent again"

    def drains(self) -> None:
        """Something is out."""
        self.state = "draining"

    def idles(self) -> None:
        """Nothing to do."""
        self.state, self.error = "idle", ""

    def stops(self, why: str) -> None:
        """An alarm: nothing more is shipped from here."""
        self.state, self.problem = "stopped", why

    def begins(self, incarnation: int, acked: int) -> None:
        """Another incarnation is drained from here on."""
        self._incarnation, self.acked = incarnation, acked

    def acknowledges(self, acked: int, reply: PersistReply) -> None:
        """The store has answered."""
        self.acked = acked
        self._position = max(self._position, reply.position)
        self.rejected_count += len(reply.rejected)
        self.rejected = [*self.rejected, *reply.rejected][-REJECTIONS_KEPT:]
        self.error = ""

    def is_due(self, now_s: float, *, force: bool) -> bool:
        """Tell whether something changed that is worth writing now (at most once in STATUS_S)."""
        if self._written_s is not None and not force and now_s - self._written_s < STATUS_S:
            return False
        shown = (self.state, self.error, self.problem, self._incarnation, self.acked, self.rejected_count)
        return force or shown != self._last

    def written(self, now_s: float, pending_bytes: int, wall_ns: int) -> dict[str, Any]:
        """Return the object of courier.json."""
        self._written_s = now_s
        self._error_since_ns = (self._error_since_ns or wall_ns) if self.error else 0
        self._last = (self.state, self.error, self.problem, self._incarnation, self.acked, self.rejected_count)
        return {
            "name": self._name,
            "origin": self._origin,
            "pid": os.getpid(),
            "state": self.state,
            "incarnation": self._incarnation,
            "acked": self.acked,
            "position": self._position,
            "pending_bytes": pending_bytes,
            "rejected": self.rejected_count,
            "last_rejected": [
                {"sequence": one.sequence, "position": one.position, "reason": one.reason} for one in self.rejected
            ],
            "damage": [list(damage) for damage in self.damage],
            "error": self.error,
            "error_since_ns": self._error_since_ns,
            "problem": self.problem,
            "at_ns": wall_ns,
        }
