"""Where a kernel request must be answered, whatever happens, and where the mount's threads are kept alive.

**No exception leaves a handler but FUSEError**: llfuse ends the mount for everybody on any other. What is
expected (WeirError, OSError) becomes its errno; what is not becomes EIO, logged with its traceback and counted.
"""

import functools
import inspect
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

from llfuse import FUSEError

from app.core.errors import WeirError
from app.core.ids import LOCAL
from fuse_mount.errno_map import errno_of
from fuse_mount.sections import SECTIONS

log: Final = logging.getLogger(__name__)
R = TypeVar("R")
Refusal = Callable[[Exception], FUSEError]
Wrapping = Callable[[Callable[..., R], Callable[..., R], Refusal], Callable[..., R]]
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
RESTART_S: Final = 0.5


def answered(call: Callable[..., R], counters: Counter[str]) -> Callable[..., R]:
    """Return `call` such that only FUSEError leaves it. llfuse names no argument."""
    name = call.__name__

    @functools.wraps(call)
    def answer(*args: object) -> R:
        try:
            return call(*args)
        except FUSEError:
            raise
        except Exception as error:
            raise _as_answer(name, counters, error) from error

    return answer


def answered_by_number(call: Callable[..., R], passed: Callable[..., R], counters: Counter[str]) -> Callable[..., R]:
    """As `answered`, for a call whose first argument is an inode or a handle: `passed` where that is ephemeral.

    One comparison is what a call of a tracked path pays for it. Up to three arguments are named, unless llfuse leaves
    one out at times (it has a default then): to gather and spread any number of them is 0.1 us more, a fifth of a
    look-up.
    """
    asked = inspect.signature(call).parameters.values()
    fixed = all(one.default is inspect.Parameter.empty for one in asked)
    wrap: Wrapping[R] = (_BY_COUNT.get(len(asked)) if fixed else None) or _of_any
    return functools.wraps(call)(wrap(call, passed, functools.partial(_as_answer, call.__name__, counters)))


def _of_one(call: Callable[..., R], passed: Callable[..., R], refusal: Refusal) -> Callable[..., R]:
    def answer(number: int) -> R:
        try:
            return call(number) if number < LOCAL or number >= SECTIONS else passed(number)
        except FUSEError:
            raise
        except Exception as error:
            raise refusal(error) from error

    return answer


def _of_two(call: Callable[..., R], passed: Callable[..., R], refusal: Refusal) -> Callable[..., R]:
    def answer(number: int, second: object) -> R:
        try:
            return call(number, second) if number < LOCAL or number >= SECTIONS else passed(number, second)
        except FUSEError:
            raise
        except Exception as error:
            raise refusal(error) from error

    return answer


def _of_three(call: Callable[..., R], passed: Callable[..., R], refusal: Refusal) -> Callable[..., R]:
    def answer(number: int, second: object, third: object) -> R:
        try:
            if number < LOCAL or number >= SECTIONS:
                return call(number, second, third)
            return passed(number, second, third)
        except FUSEError:
            raise
        except Exception as error:
            raise refusal(error) from error

    return answer


def _of_any(call: Callable[..., R], passed: Callable[..., R], refusal: Refusal) -> Callable[..., R]:
    def answer(number: int, *args: object) -> R:
        try:
            return call(number, *args) if number < LOCAL or number >= SECTIONS else passed(number, *args)
        except FUSEError:
            raise
        except Exception as error:
            raise refusal(error) from error

    return answer


_BY_COUNT: Final[dict[int, Wrapping[Any]]] = {1: _of_one, 2: _of_two, 3: _of_three}


def _as_answer(name: str, counters: Counter[str], error: Exception) -> FUSEError:
    counters[f"{type(error).__name__} in {name}"] += 1
    if isinstance(error, (WeirError, OSError)):
        log.warning("%s: %s", name, error)
    else:
        log.error("%s failed; answered EIO", name, exc_info=error)
    return FUSEError(errno_of(error))


class Background:
    """The mount's own threads: named, restarted after an unexpected error, stopped together.

    They are started with the stop signals blocked: llfuse waits for signals in the main thread, and one
    delivered elsewhere would leave it waiting.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self.stopping = threading.Event()
        self._counters = counters
        self._threads: list[threading.Thread] = []

    def start(self, name: str, body: Callable[[], None]) -> None:
        """Run `body` until it returns; when it raises, log, count and run it again after 0.5 s."""
        thread = threading.Thread(target=self._keep, args=(name, body), name=name, daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._threads.append(thread)

    def _keep(self, name: str, body: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            try:
                body()
            except Exception as error:
                self._counters[f"{type(error).__name__} in thread {name}"] += 1
                log.exception("thread %s failed; it starts again", name)
                self.stopping.wait(RESTART_S)
            else:
                return

    def stop(self, timeout_s: float) -> list[str]:
        """Ask all threads to end; return the names of those that have not within `timeout_s`."""
        self.stopping.set()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline_s - time.monotonic(), 0.0))
        return [thread.name for thread in self._threads if thread.is_alive()]
