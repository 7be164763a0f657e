"""`python -m app.entry.servers redis|postgres`: one server in the foreground, from ready to a clean stop.

While it serves, `run/<name>.ready` says so; others wait for that file (app.entry.wait). Where a URL is configured
it starts nothing, waits for the server, and stays as an idle watcher, so that the Procfile is the same everywhere.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from app import bootstrap
from app.core.errors import WeirError
from app.ports import Server
from config import settings as weir_settings

MEND_EVERY_S: Final = 2.0


def main(argv: list[str] | None = None) -> int:
    """Run one server until SIGTERM or SIGINT (0), or until it ends by itself (1)."""
    name = (argv if argv is not None else sys.argv[1:] or [""])[0]
    if name in {"-h", "--help"}:
        print(__doc__)
        return 0
    if name not in {"redis", "postgres"}:
        print("usage: python -m app.entry.servers redis|postgres", file=sys.stderr)
        return 2
    settings = weir_settings.load()
    asked = threading.Event()
    given = settings.redis_given if name == "redis" else settings.database_given
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _ask(asked, at_once=given))
    try:
        return serve(settings, name, asked)
    except WeirError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return 1


def _ask(asked: threading.Event, *, at_once: bool) -> None:
    """Somebody else's server needs no stop: whoever still waits for it ends where it stands."""
    asked.set()
    if at_once:
        raise SystemExit(0)


def serve(settings: weir_settings.Settings, name: str, asked: threading.Event) -> int:
    """Start the server, say that it is ready, watch it, stop it."""
    ready = ready_file(settings, name)
    ready.unlink(missing_ok=True)
    server = bootstrap.server(settings, name)
    try:
        print(f"{name}: {server.start()}", flush=True)
        ready.write_text(str(os.getpid()))
        mend_s = 0.0
        while not asked.wait(0.2):
            if (code := server.ended()) is not None:
                print(f"{name}: ended with code {code}", file=sys.stderr, flush=True)
                return 1
            if time.monotonic() >= mend_s:
                _mend(server, name)
                mend_s = time.monotonic() + MEND_EVERY_S
    finally:
        ready.unlink(missing_ok=True)
        server.stop()
    return 0


def _mend(server: Server, name: str) -> None:
    for line in server.mend():
        print(f"{name}: {line}", file=sys.stderr, flush=True)


def ready_file(settings: weir_settings.Settings, name: str) -> Path:
    """Return the file that is there while a server serves."""
    settings.run.mkdir(mode=0o700, exist_ok=True)
    return settings.run / f"{name}.ready"


if __name__ == "__main__":
    sys.exit(main())
