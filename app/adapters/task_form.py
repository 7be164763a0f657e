"""The form of a task's message, taken from the first one that Celery made of that kind; later ones are filled in.

Of two messages of a kind five values differ: id, tag, expiry, payload and its length. Celery and kombu build everything
anew, in 0.3 ms where their code is at hand in the caches and twice that where it is not, as between batches.
"""

import base64
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

_pack: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode


def shown(payload: bytes) -> str:
    """Return what Flower and logs show of a payload."""
    return f"<{len(payload)} bytes>"


class TaskForm(NamedTuple):
    """`before` and `after` stand around the payload in the body."""

    before: bytes
    after: bytes
    headers: dict[str, Any]
    properties: dict[str, Any]
    rest: dict[str, Any]

    def fill(self, payload: bytes, expires: datetime) -> tuple[str, bytes]:
        """Return a new task's id and the message that carries it."""
        task_id, length = str(uuid.uuid4()), {"argsrepr": shown(payload)}
        headers = self.headers | length | {"id": task_id, "root_id": task_id, "expires": expires.isoformat()}
        properties = self.properties | length | {"correlation_id": task_id, "delivery_tag": str(uuid.uuid4())}
        rest = _json(self.rest | {"headers": headers, "properties": properties})
        body = base64.b64encode(b"".join((self.before, _pack(payload), self.after)))
        return task_id, b'{"body":"%b",%b' % (body, rest[1:])


def form_of(message: Mapping[str, Any] | None, task_id: str, payload: bytes) -> TaskForm | None:
    """Return the form of a message that was made for `payload`; None where it is not as expected: then Celery makes
    the next one too.
    """
    if message is None:
        return None
    rest = dict(message)
    try:
        headers, properties, body = rest.pop("headers"), rest.pop("properties"), base64.b64decode(rest.pop("body"))
        own = (headers["id"], headers["root_id"], properties["correlation_id"])
        told = (headers["argsrepr"], properties["argsrepr"], properties["body_encoding"])
    except (KeyError, TypeError, ValueError):
        return None
    before, found, after = body.partition(_pack(payload))
    if not found or own != (task_id,) * 3 or told != (shown(payload), shown(payload), "base64"):
        return None
    return TaskForm(before, after, headers, properties, rest)
