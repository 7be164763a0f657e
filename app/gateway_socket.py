"""One conversation with a gateway, standard library only: a hook runs before every tool call and must be light.

Where a gateway is, app.gateway_place says. Who listens on a Unix socket must be this user or root. A conversation in
which anything went wrong is closed for good: what came late on it would be taken for the answer to the next question.
"""

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
_PART_BYTES: Final = 1 << 16
_PEER: Final = struct.Struct("3i")


class NoDecision(Exception):
    """Nothing was decided; the text says why and what to do."""


class GatewayUnreachable(NoDecision):
    """No gateway answers, or what answers is none; the text names the remedy."""


class Answer(NamedTuple):
    """Status and body of an answer, and whether another question may follow on the same connection."""

    status: int
    body: bytes
    stays_open: bool = False

    def json(self) -> Any:
        """Return the decoded body; raises GatewayUnreachable where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise GatewayUnreachable(f"what answered is not a Weir gateway: {error}; see `weir status`") from error


class Address(NamedTuple):
    """Where a gateway listens: a Unix socket, or a TCP host and port with a token."""

    socket_path: str
    host: str = ""
    port: int = 0
    token: str = ""

    def __str__(self) -> str:
        """Return it for a message; never the token."""
        return self.socket_path or f"{self.host}:{self.port}"


def request(route: str, body: bytes, token: str = "", *, last: bool = False) -> bytes:
    """Return the bytes of a POST of JSON; with `last` the gateway closes after its answer."""
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if last:
        head += "Connection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class AnswerReader:
    """Puts one answer together from what comes; no I/O. Only what a gateway sends is understood: a Content-Length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._body_at = 0
        self._ends_at = 0
        self._status = 0
        self._stays_open = True

    @property
    def began(self) -> bool:
        """Tell whether anything came."""
        return bool(self._received)

    def feed(self, data: bytes) -> Answer | None:
        """Take the next bytes, b'' for the end; return the answer once it is whole. Raises GatewayUnreachable."""
        if not data:
            raise GatewayUnreachable("the gateway closed without an answer; see `weir status`")
        self._received += data
        if not self._body_at and not self._read_head():
            return None
        if len(self._received) > self._ends_at:
            raise GatewayUnreachable("more came than was asked for; what answered is not a Weir gateway")
        if len(self._received) < self._ends_at:
            return None
        return Answer(self._status, bytes(self._received[self._body_at :]), self._stays_open)

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > HEAD_BYTES_MAX:
                raise GatewayUnreachable("what answered is not a Weir gateway: its head has no end")
            return False
        first, *lines = bytes(self._received[:end]).lower().split(b"\r\n")
        words = first.split(b" ")
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        size = fields.get(b"content-length", b"")
        # isdigit of bytes knows ASCII only; a length of 20 digits is none
        numbers = len(words) > 1 and words[1].isdigit() and size.isdigit() and len(size) < 12
        if not numbers or not words[0].startswith(b"http/1.") or int(size) > ANSWER_BYTES_MAX:
            raise GatewayUnreachable("what answered is not a Weir gateway; see `weir status`")
        self._status = int(words[1])
        self._stays_open = fields.get(b"connection") != b"close"
        self._body_at = end + 4
        self._ends_at = self._body_at + int(size)
        return True


class Connection:
    """A connection that is open and has no question on it. One thread at a time; every wait ends at `until`, which is
    of `time.monotonic()`.
    """

    def __init__(self, address: Address, until: float) -> None:
        self._address = address
        if address.socket_path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            place: str | tuple[str, int] = address.socket_path
        else:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            place = address.host, address.port
        try:
            self._wait_at_most(until)
            self._socket.connect(place)
            check_peer(self._socket)
        except BaseException:
            self._socket.close()
            raise

    def is_quiet(self) -> bool:
        """Tell whether nothing came since the last answer: neither its end, nor bytes that nobody asked for."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ask(self, asked: bytes, until: float, reader: AnswerReader) -> Answer:
        """Send a request and return its answer; raises OSError or GatewayUnreachable, and is of no use afterwards."""
        self._wait_at_most(until)
        with contextlib.suppress(BrokenPipeError):  # refused before it was all sent: the answer says why
            self._socket.sendall(asked)
        while True:
            self._wait_at_most(until)
            answer = reader.feed(self._socket.recv(_PART_BYTES))
            if answer is not None:
                return answer

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _wait_at_most(self, until: float) -> None:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)


def check_peer(connected: socket.socket) -> None:
    """Raise GatewayUnreachable where another user listens on a Unix socket; root may ask everybody's."""
    if connected.family != socket.AF_UNIX:
        return
    _, uid, _ = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in {0, os.geteuid()} and os.geteuid() != 0:
        raise GatewayUnreachable(f"who listens there is user {uid}, not you or root; it is not believed")


@contextlib.contextmanager
def unreachable(address: Address) -> Iterator[None]:
    """Whatever a socket says becomes GatewayUnreachable."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte, a port out of range
        why = str(error) or "no answer in time"
        raise GatewayUnreachable(f"the gateway at {address} does not answer ({why}); see `weir status`") from error


def post(socket_path: str, route: str, body: bytes, timeout_s: float = 10.0) -> Answer:
    """POST JSON on a connection of its own and return the answer; raises GatewayUnreachable."""
    address, until = Address(socket_path), time.monotonic() + timeout_s
    with unreachable(address), contextlib.closing(Connection(address, until)) as connection:
        return connection.ask(request(route, body, last=True), until, AnswerReader())
