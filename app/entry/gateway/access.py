"""Who may ask: the peer's user id on the Unix socket, a scoped bearer token on TCP, and never a web page.

A page in a browser can reach 127.0.0.1: it is kept out by the Host header (a name that was rebound to this address),
by the Origin header, and by a content type that it cannot send without asking first.
"""

import hmac
import os
import socket
import struct
from typing import Final, NamedTuple

from app.entry.gateway.problems import Problem

VALIDATE: Final = "validate"
READ: Final = "read"
ALL_SCOPES: Final = frozenset({VALIDATE, READ})
NO_SCOPES: Final[frozenset[str]] = frozenset()
_PEER: Final = struct.Struct("3i")


class Credentials(NamedTuple):
    """What a request brings besides its body; header values are empty where absent."""

    host: bytes
    origin: bytes
    authorization: bytes
    content_type: bytes


def peer_uid(connection: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket (SO_PEERCRED)."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def trusts_uid(uid: int) -> bool:
    """Tell whether a local user may ask: this user or root."""
    return uid in {os.getuid(), 0}


class Gate:
    """The rules of the TCP side; `tokens` maps a bearer token to its scopes."""

    def __init__(self, tokens: dict[str, frozenset[str]]) -> None:
        self._tokens = {token.encode(): scopes for token, scopes in tokens.items()}
        self.port = 0

    def check(self, credentials: Credentials, method: bytes, scope: str) -> None:
        """Raise Problem unless the request may use `scope` ('' = open to every local process)."""
        self._check_browser(credentials, method)
        if scope and scope not in self._scopes(credentials.authorization):
            raise Problem(
                401,
                "unauthorized",
                f"no bearer token with the scope {scope!r}",
                "send 'Authorization: Bearer <content of WEIR_HOME/secrets/gateway.token>', or use the Unix socket",
                "Authorization",
            )

    def _check_browser(self, credentials: Credentials, method: bytes) -> None:
        host = credentials.host.rpartition(b":")[0] if b":" in credentials.host else credentials.host
        if host.lower() not in {b"127.0.0.1", b"localhost"}:
            raise Problem(
                403,
                "foreign-host",
                "the Host header is not this machine's loopback address",
                "use http://127.0.0.1",
                "Host",
            )
        if credentials.origin:
            raise Problem(
                403, "browser", "web pages may not call the gateway", "call it from a program, without Origin", "Origin"
            )
        media_type = credentials.content_type.partition(b";")[0].strip().lower()
        if method == b"POST" and media_type != b"application/json":
            raise Problem(
                415, "content-type", "the body must be JSON", "send 'Content-Type: application/json'", "Content-Type"
            )

    def _scopes(self, authorization: bytes) -> frozenset[str]:
        scheme, _, given = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return NO_SCOPES
        for token, scopes in self._tokens.items():
            if hmac.compare_digest(token, given.strip()):
                return scopes
        return NO_SCOPES
