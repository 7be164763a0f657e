"""`python -m app.entry.courier --mount NAME`: the courier of one mount, one process, one at a time (courier.lock).

Comes up in any order and waits for what it needs. SIGTERM: ships what is in the journal, for at most 20 s, then
stops; whatever is left is shipped by the next courier. With `--parent PID` it belongs to that process, which started
it: once that is gone, killed perhaps, it ends as soon as all is shipped.
"""

import argparse
import gc
import os
import signal
import sys
import threading
import time
from types import FrameType

from app import bootstrap
from app.bootstrap import heap
from app.bootstrap.streams import streamer
from app.bootstrap.tickets import ticket_shipper
from app.core.errors import JournalError, Unavailable
from config.settings import load

NICE = 5
RETRY_S = 0.5
DENIALS_S = 5.0


class Stop:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        # a mount starts its courier with these blocked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; exit code 0, 1 where something could not be shipped, 2 for bad arguments."""
    parser = argparse.ArgumentParser("python -m app.entry.courier", description="Ship a mount's journal to the store.")
    parser.add_argument("--mount", default="main", help="name of the mount (folder in WEIR_HOME/mounts)")
    parser.add_argument("--exit-when-drained", action="store_true", help="end when all is shipped and nobody writes")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="who started it: see above")
    options = parser.parse_args(arguments)
    stop = Stop()
    os.nice(NICE)
    settings = load()

    def alone() -> bool:
        return bool(options.exit_when_drained or (options.parent and os.getppid() != options.parent))

    while not stop.asked:
        try:
            streams = streamer(settings, options.mount)
            denials = bootstrap.spool_shipper(settings, options.mount)
            tickets = ticket_shipper(settings, options.mount)
            courier = bootstrap.courier(settings, options.mount)
        except JournalError as error:  # another courier has the folder: it may be on its way out
            if alone():
                print(f"courier {options.mount}: {error}", flush=True)
                return 0
            time.sleep(RETRY_S)
            continue
        except Unavailable as error:
            if options.parent and alone():
                print(f"courier {options.mount}: its mount is gone, and {error}", flush=True)
                return 1
            time.sleep(RETRY_S)
            continue
        print(f"courier {options.mount}: started", flush=True)
        # journalled operations make many objects and no cycles
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        heap.keep_tidy()
        denials.start([])
        ending = threading.Event()
        threading.Thread(target=streams.run, args=(ending,), name="streams", daemon=True).start()
        threading.Thread(target=tickets.run, args=(ending,), name="tickets", daemon=True).start()
        drained = courier.run(lambda: stop.asked, exit_when_drained=alone)
        said = "drained" if drained else courier.status.problem or courier.status.error
        ending.set()
        drained = denials.stop(DENIALS_S) and drained
        print(f"courier {options.mount}: {said}", flush=True)
        courier.close()
        return 0 if drained else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
