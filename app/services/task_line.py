"""The two threads between the event loop and the broker: one sends tasks, one waits for replies.

Neither is ever waited for by the loop: a frozen broker costs the sending thread 0.5-1 s a try, and callers nothing.
What they hear is handed to the loop through `tell` (call_soon_threadsafe). A thread that dies takes the process with it
(`died`): a gateway that silently stopped asking workers would look healthy.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from app.core.errors import BrokerUnavailable, Unavailable
from app.ports import ReplyBox, Tasks

_WAIT_S: Final = 1.0
_PAUSE_S: Final = 0.2


class Letter(NamedTuple):
    """One task to send; `batch` comes back with what became of it."""

    batch: int
    task: str
    queue: str
    payload: bytes


class TaskLine:
    """Sending and receiving threads; `on_reply(bytes)` and `on_failure(batch)` are called by `tell`, in the loop."""

    def __init__(
        self, tasks: Tasks, replies: ReplyBox, tell: Callable[..., object], died: Callable[[str], object]
    ) -> None:
        self._tasks = tasks
        self._replies = replies
        self._tell = tell
        self._died = died
        self._letters: queue.SimpleQueue[Letter | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """Return where workers send replies."""
        return self._replies.address

    def start(self, on_reply: Callable[[bytes], None], on_failure: Callable[[int], None]) -> None:
        """Start both threads."""
        for name, body in (("sender", lambda: self._send(on_failure)), ("replies", lambda: self._receive(on_reply))):
            thread = threading.Thread(target=self._watched, args=(name, body), name=f"gateway-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def post(self, letter: Letter) -> None:
        """Hand a task to the sending thread; returns at once."""
        self._letters.put(letter)

    def stop(self, timeout_s: float) -> None:
        """End both threads; a task that is being sent is finished, the rest is dropped (no caller waits any more)."""
        self._stopping.set()
        self._letters.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _watched(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        finally:
            if not self._stopping.is_set():
                self._died(name)

    def _send(self, on_failure: Callable[[int], None]) -> None:
        while (letter := self._letters.get()) is not None and not self._stopping.is_set():
            try:
                self._tasks.send(letter.task, letter.payload, letter.queue)
            except BrokerUnavailable:
                self._report(on_failure, letter.batch)

    def _report(self, to: Callable[..., None], what: int | bytes) -> None:
        # after stop the loop may be gone, and nobody waits any more
        if not self._stopping.is_set():
            self._tell(to, what)

    def _receive(self, on_reply: Callable[[bytes], None]) -> None:
        while not self._stopping.is_set():
            try:
                reply = self._replies.wait(_WAIT_S)
            except Unavailable:
                time.sleep(_PAUSE_S)
                continue
            if reply is not None:
                self._report(on_reply, reply)
