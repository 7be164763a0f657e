"""A mount without servers: `alone.py MOUNTPOINT FOLDER [--fuse_mount options]`; commands as JSON lines on stdin,
answers on stdout.

Rules are those of the folder in ALONE_RULES; what they refuse goes to the spool in FOLDER/denials, of ALONE_DENIALS bytes.
The journal is the real one, the store is in memory. ["foreign", verb, path, argument], ["set", name, value],
["journal", name] ...
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import llfuse
from memory_store import MemoryStore

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.spool import DecisionSpool
from app.adapters.mount_journal import FolderJournal
from app.adapters.policy_files import PolicyWatcher
from app.core.operations import decode_request
from app.ports import MountParts
from config.settings import mount_place
from fuse_mount import __main__ as mount
from fuse_mount.session import start

PROJECT = "0" * 32
ALL_ON = '{"commuting_fast_path": true}'


class Spares(FolderJournal):
    """Gives out incarnations without a courier."""

    def take_spare(self) -> int:
        return max(self.incarnations(), default=0) + 1


def obey(store: MemoryStore, session) -> None:
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        answer: object = None
        try:
            if verb == "foreign":
                store.foreign(*arguments)
                answer = len(store.events)
            elif verb == "set":
                setattr(store, arguments[0], arguments[1])
            elif verb == "position":
                answer = [len(store.events), session.feed.position, session.cache.delivered]
            elif verb == "figures":
                answer = vars(session.feed.figures) | {
                    "pending": len(session.state.tree.pending),
                    "counters": dict(session.state.counters),
                }
            elif verb == "contents":
                held = session.state.contents
                answer = [held.clean_bytes, held.pinned_bytes, len(held.files)]
            elif verb == "bound":
                session.state.contents.clean_max_bytes = arguments[0]
            elif verb == "budget":
                session.state.changes.journal._bytes_max = arguments[0]
                session.state.changes.journal._reserve = arguments[0] // 16
                session.state.changes.journal._budget = 0
            elif verb == "hold":
                threading.Thread(target=hold, args=(arguments[0],), daemon=True).start()
            elif verb == "expire":
                session.cache.forget_entry(store.find(arguments[0]), arguments[1].encode())
            elif verb == "requests":
                answer = [[e.sequence, decode_request(e.request).operation_type] for e in store.events]
            elif verb == "numbers":
                shown = [(e.incarnation, e.sequence, decode_request(e.request)) for e in store.events]
                answer = [[i, s, r.operation_type, r.operation.inode, os.fsdecode(r.path)] for i, s, r in shown]
            elif verb == "slow-sync":
                journal, seconds = session.state.changes.journal, arguments[0]
                journal.__dict__.pop("sync", None)
                real = journal.sync
                if seconds:
                    journal.sync = lambda real=real, seconds=seconds: (time.sleep(seconds), real())
            elif verb == "events":
                answer = len(store.events)
            elif verb == "asked":
                answer = Counting.asked
        except Exception as error:
            answer = repr(error)
        print(json.dumps(answer), flush=True)


class Counting(mount.Operations):
    """Counts how often the kernel asks for an extended attribute, and tells of a close."""

    asked = Counter(getxattr=0, flush=0)

    def getxattr(self, inode, name, ctx=None):
        Counting.asked["getxattr"] += 1
        return super().getxattr(inode, name, ctx)

    def flush(self, fh):
        Counting.asked["flush"] += 1
        super().flush(fh)


mount.Operations = Counting


def hold(seconds: float) -> None:
    """Stand for a handler that waits while it holds llfuse.lock."""
    with llfuse.lock:
        time.sleep(seconds)


def main() -> None:
    chosen = mount.parser().parse_args(sys.argv[1:])
    directory, home = mount_place(Path(chosen.directory)), Path(chosen.mount)
    mount.heap.use_one_heap()
    stop = mount.Stop()
    mount.logging.basicConfig(level="INFO")
    sys.setswitchinterval(mount.SWITCH_INTERVAL_S)
    home.mkdir(parents=True, exist_ok=True)
    folder = MountFolder(home / "alone", PROJECT)
    store = MemoryStore(PROJECT)
    stopping = threading.Event()
    mount.prepare(directory)
    store.shipping = os.environ.get("ALONE_SHIPS", "1") == "1"
    for incarnation in folder.incarnations() if store.shipping else []:
        store._ship_one(folder, incarnation)
    rules = PolicyWatcher([Path(os.environ["ALONE_RULES"])]) if "ALONE_RULES" in os.environ else None
    bound = int(os.environ.get("ALONE_DENIALS", "1000000"))
    parts = MountParts(
        PROJECT, Spares(folder), store, store, None, json.loads(os.environ.get("ALONE_FLAGS", ALL_ON)), rules,
        lambda: DecisionSpool(home / "denials", PROJECT, bytes_max=bound),
    )  # fmt: skip
    session = start(parts, mount.mount_options("alone", chosen), chosen.agent)
    threading.Thread(target=store.ship, args=(folder, stopping), daemon=True).start()
    if os.environ.get("ALONE_DEAF"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # what tells llfuse to end does not arrive
    threading.Thread(target=obey, args=(store, session), daemon=True).start()
    mount.serve(
        session,
        directory,
        mount.fuse_options("alone", chosen.options, read_only=chosen.read_only),
        home,
        chosen.threads,
        stop,
    )
    os._exit(0)


if __name__ == "__main__":
    main()
