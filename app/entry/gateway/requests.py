"""One request of a connection, and the bytes of its answer."""

import http
from typing import Final

from app.entry.gateway.access import Credentials

JSON: Final = b"application/json"
_LENGTHS_MAX: Final = 4096
_heads: dict[tuple[int, bytes], bytes] = {}
_usual: dict[int, bytes] = {}
"""Whole heads of answers of 200 in JSON on a connection that stays, by length of the body."""


class Line:
    """The connection as its requests use it; compiled, a class is called without looking its method up by name."""

    def __init__(self, *, over_tcp: bool) -> None:
        self.over_tcp = over_tcp
        self.closing = False

    def flush(self) -> None:
        """Write what is answered."""
        raise NotImplementedError


class Request:
    """One request and the place of its answer in the connection's order; `done` holds the answer's bytes.

    `over_tcp`: a token is asked for.
    """

    def __init__(
        self,
        connection: Line,
        over_tcp: bool,  # noqa: FBT001
        started_ns: int = 0,
        method: bytes = b"",
        path: bytes = b"",
        query: bytes = b"",
        headers: dict[bytes, bytes] | None = None,
        body: bytes = b"",
    ) -> None:
        self.connection = connection
        self.over_tcp = over_tcp
        self.started_ns = started_ns
        self.method = method
        self.path = path
        self.query = query
        self.headers: dict[bytes, bytes] = {} if headers is None else headers
        self.body = body
        self.keep_alive = True
        self.done: bytes | None = None

    def credentials(self) -> Credentials:
        """Return what it brings besides its body."""
        get = self.headers.get
        return Credentials(
            get(b"host", b""), get(b"origin", b""), get(b"authorization", b""), get(b"content-type", b"")
        )

    def answer(self, status: int, body: bytes, media_type: bytes = JSON) -> None:
        """Answer; only the first answer counts, and one whose peer is gone goes nowhere."""
        if self.done is not None:
            return
        connection = self.connection
        stays = self.keep_alive and not connection.closing
        usual = _usual.get(len(body)) if stays and status == 200 and media_type is JSON else None
        self.done = (usual or _head(status, media_type, len(body), stays=stays)) + body
        connection.flush()


def _head(status: int, media_type: bytes, length: int, *, stays: bool) -> bytes:
    start = _heads.get((status, media_type))
    if start is None:
        phrase = http.HTTPStatus(status).phrase.encode()
        start = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (status, phrase, media_type)
        _heads[status, media_type] = start
    head = b"%b%d\r\n%b\r\n" % (start, length, b"" if stays else b"Connection: close\r\n")
    if stays and status == 200 and media_type is JSON:
        if len(_usual) >= _LENGTHS_MAX:
            _usual.clear()
        _usual[length] = head
    return head
