"""Who reads the kernel's requests: one thread, and one more for each whose handler has waited for 1 ms.

With several, each request wakes another one than the last, while that still holds the interpreter: create+write+close
took 277 us with four, 122-155 us with one. `reading` are in llfuse's loop, `waiting` those of them whose handler waits;
a thread that stands by begins to read where `reading - waiting` stays below `target`. llfuse knows no way out of its
loop but an error: a surplus reader leaves when the session's descriptor, non-blocking until somebody has left, holds
nothing for it. Whoever leaves too early enters again.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import llfuse

PATIENCE_S: Final = 0.001
PLENTY: Final = 4
"""How many read at once where the flag `one_reader` is off."""


class SessionEnd(BaseException):
    """Raised in place of a handler: the way out of llfuse's loop where requests never cease."""


def read_session() -> None:
    """Answer requests until the session ends; BlockingIOError where the descriptor does not block and holds none."""
    llfuse.main(workers=1, handle_signals=False)


class Readers:
    """A context manager too: a handler that waits does so within `with readers:`, which lends llfuse.lock."""

    def __init__(self, target: int) -> None:
        self.reading = 0
        self.waiting = 0
        self.target = target
        self._turn = threading.Condition(threading.Lock())
        self._inside: set[int] = set()
        self._descriptor = -1
        self._ending = False

    def __enter__(self) -> None:
        llfuse.lock.release()
        with self._turn:
            self.waiting += 1
            if self._is_short():
                self._turn.notify()

    def __exit__(self, *_error: object) -> None:
        with self._turn:
            self.waiting -= 1
            if self.reading - self.waiting > self.target:
                os.set_blocking(self._descriptor, False)
        llfuse.lock.acquire()

    def run(self, descriptor: int, threads: int, serve: Callable[[], None] = read_session) -> None:
        """Serve with at most `threads` until the session ends or `end`; called in the main thread."""
        self._descriptor = descriptor
        signal.signal(signal.SIGUSR1, lambda _signal, _frame: None)  # ends a read(2), nothing else
        with ThreadPoolExecutor(threads, thread_name_prefix="fuse-reader") as pool:
            for done in [pool.submit(self._live, serve) for _ in range(threads)]:
                done.result()

    def end(self) -> None:
        """Make `run` return when the requests that are being answered have been."""
        with self._turn:
            self._ending = True
            if self._descriptor >= 0:
                os.set_blocking(self._descriptor, False)
            for thread in self._inside:
                signal.pthread_kill(thread, signal.SIGUSR1)
            self._turn.notify_all()

    def _is_short(self) -> bool:
        return self.reading - self.waiting < self.target

    def _live(self, serve: Callable[[], None]) -> None:
        while self._takes_part():
            surplus = False
            try:
                serve()
            except BlockingIOError:
                surplus = True
            except SessionEnd:
                pass
            finally:
                self._left()
                if not surplus:
                    self.end()

    def _takes_part(self) -> bool:
        """Wait until another reader is wanted; False at the end."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._ending or self._is_short())
                if self._ending or self.reading < self.target:
                    return self._enter()
            time.sleep(PATIENCE_S)
            with self._turn:
                if self._is_short():
                    return self._enter()

    def _enter(self) -> bool:
        if self._ending:
            return False
        self.reading += 1
        self._inside.add(threading.get_ident())
        return True

    def _left(self) -> None:
        with self._turn:
            self.reading -= 1
            self._inside.discard(threading.get_ident())
            surplus = self.reading - self.waiting > self.target
            os.set_blocking(self._descriptor, not (self._ending or surplus))
            if self._is_short():
                self._turn.notify()
