"""`python -m app.entry.gateway`: serve the project of WEIR_HOME until SIGTERM."""

import sys

from config import compiled
from config.settings import load

for _part in (compiled.JUDGING, compiled.ANSWERING):
    compiled.take(part=_part)

from app.entry.gateway.server import run  # noqa: E402  # compiled code is found only from here on

if __name__ == "__main__":
    sys.exit(run(load()))
