"""One request of a connection, and the bytes of its answer."""

import http
from typing import Final, Protocol

from app.entry.gateway.access import Credentials
from app.entry.gateway.heads import Head

JSON: Final = b"application/json"
_heads: dict[tuple[int, bytes], bytes] = {}


class Line(Protocol):
    """The connection as its requests use it."""

    over_tcp: bool
    closing: bool

    def flush(self) -> None:
        """Write what is answered."""


class Request:
    """One request and the place of its answer in the connection's order."""

    __slots__ = ("_connection", "_done", "body", "headers", "keep_alive", "method", "path", "query", "started_ns")

    def __init__(
        self, connection: Line, head: Head | None = None, body: bytes = b"", now_ns: int = 0
    ) -> None:
        self._connection = connection
        self._done: bytes | None = None
        self.method, self.path, self.query, self.headers, _, _ = head or Head(b"", b"", b"", {}, 0, 0)
        self.body = body
        self.keep_alive = True
        self.started_ns = now_ns

    @property
    def over_tcp(self) -> bool:
        """Tell whether it came over TCP, where a token is asked for."""
        return self._connection.over_tcp

    @property
    def done(self) -> bytes | None:
        """Return the bytes of the answer, None while there is none."""
        return self._done

    def credentials(self) -> Credentials:
        """Return what it brings besides its body."""
        get = self.headers.get
        return Credentials(
            get(b"host", b""), get(b"origin", b""), get(b"authorization", b""), get(b"content-type", b"")
        )

    def answer(self, status: int, body: bytes, media_type: bytes = JSON) -> None:
        """Answer; only the first answer counts, and one whose peer is gone goes nowhere."""
        if self._done is None:
            connection = self._connection
            closing = b"" if self.keep_alive and not connection.closing else b"Connection: close\r\n"
            head = _heads.get((status, media_type)) or _head(status, media_type)
            self._done = b"%b%d\r\n%b\r\n%b" % (head, len(body), closing, body)
            connection.flush()


def _head(status: int, media_type: bytes) -> bytes:
    phrase = http.HTTPStatus(status).phrase.encode()
    head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (status, phrase, media_type)
    _heads[status, media_type] = head
    return head
