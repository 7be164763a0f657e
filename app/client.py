"""A client of the gateway's Unix socket, standard library only: a hook runs before every tool call and must be light.

It finds the gateway by `run/gateway.json` in WEIR_HOME, or in the `.weir` of the current folder or of one above it. It
creates nothing.
"""

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class GatewayUnreachable(Exception):
    """No gateway answers; the text names the remedy."""


class Answer(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the decoded body; raises GatewayUnreachable where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise GatewayUnreachable(f"what answered is not a Weir gateway: {error}; see `weir status`") from error


def find_home(environ: Mapping[str, str], start: Path) -> Path | None:
    """Return the WEIR_HOME that is named, or the nearest `.weir` at or above `start`."""
    if environ.get("WEIR_HOME"):
        return Path(environ["WEIR_HOME"])
    for folder in (start, *start.parents):
        if (folder / ".weir" / "run").is_dir():
            return folder / ".weir"
    return None


def find_socket(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> str:
    """Return the path of the gateway's socket; raises GatewayUnreachable."""
    home = find_home(environ, start or Path.cwd())
    if home is None:
        raise GatewayUnreachable(
            "no Weir project here; set WEIR_HOME to the .weir folder of the project, or run `weir up`"
        )
    try:
        return str(json.loads((home / "run" / "gateway.json").read_bytes())["socket"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GatewayUnreachable(f"no gateway runs for {home}; start it with `weir up`") from error


def post(socket_path: str, route: str, body: bytes, timeout_s: float = 10.0) -> Answer:
    """POST JSON and return the answer; raises GatewayUnreachable."""
    head = (
        f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(socket_path)
            received = _exchange(connection, head.encode() + b"Connection: close\r\n\r\n" + body)
    except (OSError, UnicodeEncodeError) as error:
        raise GatewayUnreachable(
            f"the gateway at {socket_path} does not answer ({error}); see `weir status`"
        ) from error
    return _parse(received)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    with contextlib.suppress(BrokenPipeError):  # refused before it was all sent: the answer says why
        connection.sendall(request)
    parts: list[bytes] = []
    size = 0
    while (part := connection.recv(1 << 16)) and size < ANSWER_BYTES_MAX:
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _parse(received: bytes) -> Answer:
    head, found, body = received.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if not found or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise GatewayUnreachable("the gateway closed without an answer; see `weir status`")
    return Answer(int(words[1]), body)
