"""Who reads the kernel's requests: one thread, and one more for each whose handler has waited for 1 ms.

With several, each request wakes another one than the last, while that still holds the interpreter: create+write+close
took 277 us with four, 122-155 us with one. `reading` are in llfuse's loop, `waiting` those of them whose handler waits;
a thread that stands by begins to read where `reading - waiting` stays below `target` for 1 ms. One of them watches for
that, and goes on looking for a few ms after a wait has ended: to be woken, and to enter the loop (a thread of llfuse's
own), for every fsync of many cost each of them 100 us. llfuse knows no way out of its loop but an error: a surplus
reader leaves when the session's descriptor, non-blocking until somebody has left, holds nothing for it. Whoever leaves
too early enters again.
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
LOOKS: Final = 5
"""How many times the watching thread looks without seeing a wait before it sleeps."""
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
        self._watched = False
        self._short_since_s = 0.0

    def __enter__(self) -> None:
        llfuse.lock.release()
        with self._turn:
            self.waiting += 1
            self._watch()

    def __exit__(self, *_error: object) -> None:
        with self._turn:
            self.waiting -= 1
            self._watch()
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

    def _watch(self) -> None:
        """Note since when too few read, and have it watched."""
        if not self._is_short():
            self._short_since_s = 0.0
        elif not self._short_since_s:
            self._short_since_s = time.monotonic()
            if not self._watched:
                self._turn.notify()

    def _live(self, serve: Callable[[], None]) -> None:
        while self._takes_part():
            surplus = False
            try:
                serve()
            except BlockingIOError:
                surplus = True
            except (SessionEnd, ConnectionAbortedError):
                pass  # the latter: the last unmount came while the kernel handed a request over
            finally:
                self._left()
                if not surplus:
                    self.end()

    def _takes_part(self) -> bool:
        """Wait until another reader is wanted; False at the end."""
        with self._turn:
            while True:
                self._turn.wait_for(lambda: self._ending or (self._is_short() and not self._watched))
                if self._ending or self.reading < self.target or self._stays_short():
                    return self._enter()

    def _stays_short(self) -> bool:
        """Watch until too few have read for PATIENCE_S (True), or no wait was seen at the last LOOKS."""
        self._watched = True
        looks = LOOKS
        while looks and not self._ending:
            since_s = self._short_since_s
            left_s = since_s + PATIENCE_S - time.monotonic() if since_s else PATIENCE_S
            if left_s <= 0:
                break
            looks = LOOKS if since_s else looks - 1
            self._turn.release()
            time.sleep(left_s)
            self._turn.acquire()
        self._watched = False
        return looks > 0

    def _enter(self) -> bool:
        if self._ending:
            return False
        self.reading += 1
        self._short_since_s = 0.0
        self._watch()
        self._inside.add(threading.get_ident())
        return True

    def _left(self) -> None:
        with self._turn:
            self.reading -= 1
            self._inside.discard(threading.get_ident())
            surplus = self.reading - self.waiting > self.target
            os.set_blocking(self._descriptor, not (self._ending or surplus))
            self._watch()
