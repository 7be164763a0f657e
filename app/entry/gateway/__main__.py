"""`python -m app.entry.gateway`: serve the project of WEIR_HOME until SIGTERM."""

import sys

from config import compiled
from config.settings import load

compiled.take()

from app.entry.gateway.server import run  # noqa: E402  # what judges is found compiled only from here on

if __name__ == "__main__":
    sys.exit(run(load()))
