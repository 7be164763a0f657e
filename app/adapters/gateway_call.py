"""One request to the gateway over its Unix socket."""

import http.client
import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

from app.core.errors import Unavailable


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_gateway(path: Path, route: str, body: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """POST a JSON body and return the JSON answer; raises Unavailable where there is none."""
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("POST", route, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"the gateway at {path} does not answer: {error}") from error
    finally:
        connection.close()
    return dict(answer)


def gateway_is_ready(path: Path, timeout_s: float) -> bool:
    """Tell whether the gateway decides and records; raises Unavailable where it does not answer."""
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"the gateway at {path} does not answer: {error}") from error
    finally:
        connection.close()
