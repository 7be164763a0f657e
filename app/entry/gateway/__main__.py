"""`python -m app.entry.gateway`: serve the project of WEIR_HOME until SIGTERM."""

import sys

from app.entry.gateway.server import run
from config.settings import load

if __name__ == "__main__":
    sys.exit(run(load()))
