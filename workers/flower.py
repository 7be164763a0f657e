"""Flower of this project, behind its password on every route: `python -m workers.flower`.

Flower's own basic_auth leaves /metrics, /healthcheck and static files open, and a page that a browser opened
elsewhere could post to it; here a request without the password reaches no handler. The port is the
configured one or the next free, written with URL and user to run/flower.json once it listens.
"""

import hmac
import json
import logging
import os
import signal
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from flower.app import Flower  # type: ignore[import-untyped]
from flower.command import apply_options, extract_settings, setup_logging  # type: ignore[import-untyped]
from flower.options import options  # type: ignore[import-untyped]
from flower.urls import settings as flower_settings  # type: ignore[import-untyped]
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import RequestHandler

from config import flower as configuration
from config.settings import Settings, load
from workers.celery import app

PORTS_TRIED: Final = 50
log: Final = logging.getLogger("weir.flower")


class Refused(RequestHandler):
    """Answers 401 to every method, whatever the path."""

    def prepare(self) -> None:
        """Ask for the password and end the request."""
        self.set_status(401)
        self.set_header("WWW-Authenticate", 'Basic realm="weir"')
        _ = self.finish("password required")  # the future is of the last byte sent; nothing comes after it

    def check_xsrf_cookie(self) -> None:
        """Let `prepare` answer: 401, where Tornado would answer 403 to a post."""


class GuardedFlower(Flower):  # type: ignore[misc]  # Flower has no types
    """Flower whose every route, static files and metrics included, asks for the password first."""

    def __init__(self, *, credentials: str, **given: Any) -> None:
        self._expected = b"Basic " + b64encode(credentials.encode())
        super().__init__(**given)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """Route a request that carries the password; refuse any other before a handler sees it."""
        offered = request.headers.get("Authorization", "").encode()
        if hmac.compare_digest(offered, self._expected):
            found: HTTPMessageDelegate = super().find_handler(request, **kwargs)
            return found
        refused: HTTPMessageDelegate = self.get_handler_delegate(request, Refused)
        return refused


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load()
    apply_options(sys.argv[0], [f"--conf={configuration.__file__}", *sys.argv[1:]])
    extract_settings()
    setup_logging()
    guarded = GuardedFlower(
        credentials=configuration.credentials(settings), capp=app, options=options, **flower_settings
    )
    port = listen(guarded, settings.flower_port)
    announce(settings, port)
    signal.signal(signal.SIGTERM, _stop)
    try:
        guarded.start()
    except (KeyboardInterrupt, SystemExit):
        guarded.stop()


def listen(guarded: GuardedFlower, first_port: int) -> int:
    """Listen on the first free port from `first_port` on (0: any) and return it."""
    for port in range(first_port, first_port + PORTS_TRIED):
        options.port = port
        try:
            return int(guarded.start_http_server())
        except OSError as error:
            log.info("port %d: %s", port, error)
    raise OSError(f"no free port for Flower from {first_port} to {first_port + PORTS_TRIED - 1}")


def announce(settings: Settings, port: int) -> None:
    """Write run/flower.json for `weir status`; the password stays in secrets/flower."""
    settings.run.mkdir(parents=True, exist_ok=True)
    place = settings.run / "flower.json"
    fresh = Path(f"{place}.{os.getpid()}")
    about = {"url": f"http://127.0.0.1:{port}", "user": configuration.USER, "port": port, "pid": os.getpid()}
    fresh.write_text(json.dumps(about))
    fresh.replace(place)
    print(f"flower: {about['url']}", flush=True)


def _stop(_number: int, _frame: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
