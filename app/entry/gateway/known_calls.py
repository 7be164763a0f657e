"""Bodies that were decoded before: what asks the same again and again sends the same bytes.

A call is kept the second time that its body comes soon after the first; of one that comes once only a hash stays. A
call is frozen and nothing writes into its input, so who sends the same bytes is given the same call.
"""

from typing import Final

from app.entry.gateway import bodies
from app.services.questions import KnownCall

BODY_BYTES_MAX: Final = 1024
CALLS_MAX: Final = 2048
BRACKETS_MAX: Final = 16
"""More of them hold many times the memory of their bytes."""
_SLOTS: Final = 4096


class KnownCalls:
    """At most CALLS_MAX calls of bodies of at most BODY_BYTES_MAX and few brackets; all are forgotten when there is no
    more room.
    """

    def __init__(self) -> None:
        self._calls: dict[bytes, KnownCall] = {}
        self._once = [0] * _SLOTS

    def of(self, body: bytes) -> KnownCall:
        """Return the call of a body; raises Problem, as bodies.decode_one."""
        found = self._calls.get(body)
        return found if found is not None else self._decoded(body)

    def _decoded(self, body: bytes) -> KnownCall:
        call = KnownCall(bodies.decode_one(body))
        if len(body) > BODY_BYTES_MAX or body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
            return call
        name = hash(body)
        slot = name % _SLOTS
        if self._once[slot] != name:
            self._once[slot] = name
            return call
        if len(self._calls) >= CALLS_MAX:
            self._calls.clear()
        self._calls[body] = call
        return call
