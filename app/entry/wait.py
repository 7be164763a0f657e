"""`python -m app.entry.wait redis postgres -- command ...`: become the command once the servers serve.

Imports no client: a dozen processes start at once, and this costs each of them milliseconds. A ready file whose
process is gone (a power loss) counts for nothing. It waits for ever and says every 10 s what for.
"""

import os
import sys
import time
from pathlib import Path

from config import settings as weir_settings


def main(argv: list[str]) -> None:
    """Wait for what stands before `--`, then exec what stands after it."""
    if "--" not in argv or argv[-1] == "--":
        sys.exit("usage: python -m app.entry.wait redis|postgres ... -- command ...")
    cut = argv.index("--")
    run = weir_settings.load().run
    for name in argv[:cut]:
        wait_for(run / f"{name}.ready", name)
    os.execvp(argv[cut + 1], argv[cut + 1 :])  # noqa: S606  replacing this process is the point


def wait_for(ready: Path, name: str) -> None:
    """Return once the ready file names a living process."""
    began = said = time.monotonic()
    while not is_ready(ready):
        time.sleep(0.05)
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            print(f"waiting for {name} ({said - began:.0f} s)", flush=True)


def is_ready(ready: Path) -> bool:
    """Tell whether the file names a living process."""
    try:
        os.kill(int(ready.read_text()), 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
