"""`python -m fuse_mount [DIR]`: mounts the project's tree, serves until SIGTERM or umount, leaves nothing behind."""

import argparse
import gc
import hashlib
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import llfuse

from app import bootstrap
from app.bootstrap import heap
from app.core.errors import WeirError
from config.mount_options import OWN, problem, words
from config.settings import load, mount_place
from fuse_mount.courier_child import CourierChild
from fuse_mount.guard import Background
from fuse_mount.handshake import shake_hands
from fuse_mount.kernel_cache import session_descriptor
from fuse_mount.mount_point import clear, detach, leave, prepare
from fuse_mount.operations import Operations
from fuse_mount.readers import read_session
from fuse_mount.session import Session, start
from fuse_mount.state import MountOptions
from fuse_mount.watchdog import abort, connection_of

log: Final = logging.getLogger("fuse_mount")
THREADS: Final = 16
SWITCH_INTERVAL_S: Final = 1e-4
STOP_S: Final = 2.0
QUIET_S: Final = 0.5
PATIENCE_S: Final = 2.0
ASKED_TO_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(prog="python -m fuse_mount", description="Mount the project's tree.")
    found.add_argument("directory", nargs="?", help="mount point (default: $WEIR_MOUNT or ./mnt)")
    found.add_argument(
        "--mount", default="", metavar="NAME", help="name of this mount: its journal, its name in conflicts"
    )
    found.add_argument(
        "--agent", default="", help="who makes calls of processes that name no agent (default: fuse_user)"
    )
    found.add_argument("--read-only", action="store_true", help="refuse every change")
    found.add_argument(
        "--durability",
        choices=("journal", "store"),
        default="journal",
        help="what fsync and close wait for: the journal on disk, or the commit in Postgres",
    )
    found.add_argument(
        "-o", dest="options", action="append", default=[], metavar="OPT[,OPT]", help="FUSE mount options"
    )
    found.add_argument(
        "--external-courier", action="store_true", help="a courier of this mount is supervised elsewhere"
    )
    found.add_argument("--threads", type=int, default=THREADS, help=argparse.SUPPRESS)
    return found


def fuse_options(name: str, asked: list[str], *, read_only: bool) -> set[str]:
    """Return what libfuse is given. Root lets everybody in (modes are checked); a user must ask for allow_other."""
    options = {"big_writes", "default_permissions", "atomic_o_trunc", "noatime", "no_splice_read"}
    options |= {f"fsname=weir:{name}", "subtype=weir"}
    options |= {"ro"} if read_only else set()
    options |= {"allow_other"} if os.getuid() == 0 else set()
    return options | words(asked) - set(OWN)


def mount_options(name: str, chosen: argparse.Namespace) -> MountOptions:
    """Return what the command line asks of the mount itself."""
    return MountOptions(
        name,
        read_only=chosen.read_only,
        durability=chosen.durability,
        xattrs="no_xattrs" not in words(chosen.options),
        open_sections="open_sections" in words(chosen.options),
    )


class Stop:
    """SIGTERM, SIGINT and SIGHUP, taken by one thread from before any other thread is there: wherever else one came
    between, it would be lost.

    Before `serving` a stop ends the process at once: nothing has been answered yet. The courier that it started sees
    that it is gone, and ends.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._last = threading.Lock()
        self._ways: tuple[Callable[[], None], Callable[[], None], Callable[[], None]] | None = None
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKED_TO_STOP)
        threading.Thread(target=self._wait, name="stop", daemon=True).start()

    def serving(self, end: Callable[[], None], insist: Callable[[], None], rescue: Callable[[], None]) -> None:
        """From now on a stop calls `end`; where that does not end it within 0.5 s, `insist`; 2 s later `rescue`."""
        self._ways = end, insist, rescue

    def ended(self) -> None:
        """The kernel has been answered for the last time; does not return once `rescue` runs."""
        with self._last:
            self._ended.set()

    def _wait(self) -> None:
        signal.sigwait(ASKED_TO_STOP)
        if self._ended.is_set():
            return
        if self._ways is None:
            os._exit(0)
        end, insist, rescue = self._ways
        end()
        if self._ended.wait(QUIET_S):
            return
        insist()
        self._ended.wait(PATIENCE_S)
        with self._last:
            if not self._ended.is_set():
                rescue()


def end_without_llfuse(session: Session, directory: Path, connection: str) -> None:
    """Abort the connection (a handler may hang, and with it whoever looks at the mount), put everything on disk,
    detach, end the process.
    """
    log.warning("llfuse has not ended %.0f s after it was told to; aborting and detaching %s", PATIENCE_S, directory)
    abort(connection)
    session.finish()
    detach(directory)
    leave(directory)
    logging.shutdown()
    os._exit(0)


def serve(session: Session, directory: Path, options: set[str], home: Path, threads: int, stop: Stop) -> None:
    """Mount, answer the kernel until it ends, unmount."""
    background = Background(session.state.counters)
    operations = Operations(session.state, home)
    clear(directory)
    try:
        llfuse.init(operations, str(directory), options)
    except RuntimeError:
        leave(directory)
        raise
    connection = connection_of(directory)
    try:
        descriptor = session_descriptor()
        if session.state.unasked_writes:
            session.state.unasked_writes = shake_hands(descriptor, read_session)
        background.start("kernel-cache", lambda: session.cache.run(descriptor))
        background.start("watchdog", lambda: session.watch(connection, background.stopping))
        background.start("feed", lambda: session.feed.run(background.stopping))
        background.start("rules", lambda: session.follow_rules(background.stopping))
        background.start("tickets", lambda: session.follow_tickets(background.stopping))
        background.start("patterns", lambda: session.follow_patterns(background.stopping))
        background.start("sealer", lambda: session.seal_while(background.stopping))
        incarnation = session.state.changes.journal.incarnation
        name, position = session.state.options.name, session.feed.position
        log.info("mounted %s as %s, incarnation %d, position %d", directory, name, incarnation, position)
        readers = session.state.readers
        _calm_the_collector()
        stop.serving(readers.end, operations.end, lambda: end_without_llfuse(session, directory, connection))
        readers.run(descriptor, threads)
    finally:
        stop.ended()
        session.cache.stop()
        late = background.stop(STOP_S)
        if late:
            log.warning("still busy at the end: %s", ", ".join(late))
        if session.finish():
            llfuse.close(unmount=True)
        else:  # llfuse's close would wait for llfuse.lock
            abort(connection)
            detach(directory)
        leave(directory)
        log.info("unmounted %s", directory)


def _calm_the_collector() -> None:
    # the tree is many objects and no cycles: walking over a tree of 100,000 files stops every handler meanwhile
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 20, 100)
    gc.enable()
    heap.return_what_is_free()
    heap.keep_tidy()


def main(arguments: list[str] | None = None) -> int:
    """Mount and serve; exit code 0 after an orderly end, 1 where it could not be done."""
    chosen = parser().parse_args(arguments)
    if refused := problem(chosen.options):
        parser().error(refused)
    heap.use_one_heap()
    stop = Stop()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    settings = load()
    directory = mount_place(Path(chosen.directory)) if chosen.directory else settings.mount_point
    name = chosen.mount or (_name_of(directory) if chosen.directory else "main")
    courier = None
    try:
        prepare(directory)
        courier = None if chosen.external_courier else CourierChild(name)
        parts = bootstrap.mount_parts(settings, name)
        options = mount_options(name, chosen)
        session = start(parts, options, chosen.agent)
        serve(
            session,
            directory,
            fuse_options(name, chosen.options, read_only=chosen.read_only),
            settings.home,
            chosen.threads,
            stop,
        )
    except (WeirError, RuntimeError) as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence for a person, not a traceback
        return 1
    finally:
        if courier is not None:
            courier.stop()
    return 0


def _name_of(directory: Path) -> str:
    """Return a mount's name for a mount point: the same one at every start there."""
    return f"{directory.name or 'root'}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}"


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # threads that wait for a server that hangs are not waited for
