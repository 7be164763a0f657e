"""One request of a connection, and the bytes of its answer."""

import http
from typing import Final, Protocol

import msgspec

from app.entry.gateway.access import Credentials

JSON: Final = b"application/json"
_heads: dict[tuple[int, bytes], bytes] = {}


class Line(Protocol):
    """The connection as its requests use it."""

    over_tcp: bool
    closing: bool

    def flush(self) -> None:
        """Write what is answered."""


class Request(msgspec.Struct, eq=False):
    """One request and the place of its answer in the connection's order; `done` holds the answer's bytes.

    `over_tcp`: a token is asked for.
    """

    connection: Line
    over_tcp: bool
    started_ns: int = 0
    method: bytes = b""
    path: bytes = b""
    query: bytes = b""
    headers: dict[bytes, bytes] = {}
    body: bytes = b""
    keep_alive: bool = True
    done: bytes | None = None

    def credentials(self) -> Credentials:
        """Return what it brings besides its body."""
        get = self.headers.get
        return Credentials(
            get(b"host", b""), get(b"origin", b""), get(b"authorization", b""), get(b"content-type", b"")
        )

    def answer(self, status: int, body: bytes, media_type: bytes = JSON) -> None:
        """Answer; only the first answer counts, and one whose peer is gone goes nowhere."""
        if self.done is None:
            connection = self.connection
            closing = b"" if self.keep_alive and not connection.closing else b"Connection: close\r\n"
            head = _heads.get((status, media_type)) or _head(status, media_type)
            self.done = b"%b%d\r\n%b\r\n%b" % (head, len(body), closing, body)
            connection.flush()


def _head(status: int, media_type: bytes) -> bytes:
    phrase = http.HTTPStatus(status).phrase.encode()
    head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (status, phrase, media_type)
    _heads[status, media_type] = head
    return head
