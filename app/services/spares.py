"""The spare incarnation of a mount's folder: asked for by its courier, so that a start needs no server."""

import contextlib
import uuid
from typing import Final

from app.core.messages import FORMAT, IncarnationReply, IncarnationRequest, encode
from app.ports import Journals
from app.services.shipment import FILES_QUEUE, RESEND_S, Sender

LOOK_S: Final = 0.5


class SpareKeeper:
    """Sees to it that the folder has an unused incarnation, so that a start needs no server."""

    def __init__(self, sender: Sender, journals: Journals) -> None:
        self._sender = sender
        self._journals = journals
        self._asked_s: float | None = None
        self._looked_s: float | None = None
        self._request_id = ""

    @property
    def is_out(self) -> bool:
        """Tell whether an answer is awaited."""
        return self._asked_s is not None

    def ask_if_due(self, now_s: float) -> None:
        """Ask for an incarnation where the folder has none; again after RESEND_S. Raises BrokerUnavailable."""
        if self._asked_s is not None and now_s - self._asked_s < RESEND_S:
            return
        if self._asked_s is None and self._looked_s is not None and now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        spare = self._journals.spare()
        if spare.get("incarnation"):
            self._asked_s = None
            return
        self._request_id = str(spare.get("request_id") or f"i:{uuid.uuid4().hex}")
        try:
            self._journals.keep_spare(self._request_id, 0)
        except OSError:  # a full disk: shipping, which makes room, does not wait for it
            return
        sender = self._sender
        request = IncarnationRequest(
            FORMAT, sender.project, sender.origin, sender.origin_name, self._request_id, sender.reply_to
        )
        sender.tasks.send("weir.incarnation", encode(request), FILES_QUEUE)
        self._asked_s = now_s

    def take(self, reply: IncarnationReply) -> None:
        """Keep the answer; a second copy of an earlier one is not a spare."""
        if self._asked_s is not None and reply.request_id == self._request_id and reply.incarnation > 0:
            with contextlib.suppress(OSError):  # asked for again, under the same request id
                self._journals.keep_spare(self._request_id, reply.incarnation)
                self._asked_s = None
