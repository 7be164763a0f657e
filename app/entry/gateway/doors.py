"""The doors of the gateway: listening sockets, each with whom it lets in."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from app.entry.gateway.connection import HttpConnection

BACKLOG: Final = 2048
ENTRIES_A_TICK: Final = 64
CLOSED_S: Final = 0.1
PORTS_TRIED: Final = 64


class Door:
    """A listening socket that lets many in at a time: libuv takes one connection a round of its loop, so that behind a
    busy gateway the last of a thousand new callers waited for seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Callable[[], HttpConnection],
        full: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._factory = cast("Callable[[], asyncio.Protocol]", factory)  # which it is, by what it has
        self._full = full
        self._entering: set[asyncio.Task[object]] = set()
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._open()

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _open(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._let_in)

    def _let_in(self) -> None:
        if self._full():  # who comes waits in the backlog: descriptors are left for Redis, spool and files
            self._wait()
            return
        for _ in range(ENTRIES_A_TICK):
            try:
                caller, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor is left: who comes waits in the backlog for a while
                print(f"alert: a connection could not be taken: {error}", file=sys.stderr, flush=True)
                self._wait()
                return
            caller.setblocking(False)
            task = self._loop.create_task(self._enter(caller))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    def _wait(self) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(CLOSED_S, self._open)

    async def _enter(self, caller: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, caller)
        except OSError:  # gone already
            caller.close()


class NearDoor:
    """The door at a Unix socket. Whoever deletes its file or puts another there finds it back at the next look: nobody
    could reach this gateway any more, and every hook would deny for as long as it ran on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        factory: Callable[[], HttpConnection],
        full: Callable[[], bool],
    ) -> None:
        self._path = path
        self._open: Callable[[socket.socket], Door] = lambda listener: Door(loop, listener, factory, full)
        self._trouble = ""
        self._door = self._open(near_listener(path))
        self._place = self._found()

    def look(self) -> None:
        """Listen anew where the file is not ours any more; who is connected stays so."""
        if self._place is not None and self._found() == self._place:
            return
        try:
            listener = near_listener(self._path)
        except OSError as error:
            self._say(f"alert: {self._path} is gone, and no socket can be made there: {error}")
            return
        self._door.close()
        self._door, self._place = self._open(listener), self._found()
        self._say(f"the socket's file was gone or another's: the gateway listens on {self._path} again")
        self._trouble = ""

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.close()
        self._path.unlink(missing_ok=True)

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _say(self, words: str) -> None:
        if words != self._trouble:
            self._trouble = words
            print(words, file=sys.stderr, flush=True)


def near_listener(path: Path) -> socket.socket:
    """Return a socket bound to a path that nobody but its owner may connect to, in place of what is there."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Linux gives the file the socket's own mode: never a moment with another, nor a mask for other threads' files
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    return listener


def free_port(first: int) -> socket.socket:
    """Return a bound socket on 127.0.0.1 at `first` or the next free port."""
    for port in [*range(first, min(first + PORTS_TRIED, 65536)), 0]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # without it a port in TIME_WAIT counts as taken, and every restart would move on by one
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
        else:
            return listener
    raise OSError(errno.EADDRINUSE, "no free port on 127.0.0.1")
