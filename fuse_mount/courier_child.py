"""The courier of a mount that nobody else supervises: a session of its own, restarted while the mount lives.

It survives a kill -9 of the mount, drains what that left, and ends; the lock of its folder keeps a second one out.
"""

import contextlib
import os
import subprocess
import sys
import threading
from typing import Final

RETRY_FIRST_S: Final = 0.2
RETRY_MAX_S: Final = 5.0
DRAIN_S: Final = 30.0
"""What a courier takes at most for its journal and its refusals is 25 s."""


class CourierChild:
    """Starts at once. Nothing of it touches the mount."""

    def __init__(self, mount: str) -> None:
        self._mount = mount
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name="courier-child", daemon=True)
        self._thread.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "app.entry.courier", "--mount", self._mount, "--parent", str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _keep(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            self._process.wait()
            if self._stopping.wait(pause_s):
                return
            pause_s = min(pause_s * 2, RETRY_MAX_S)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process = self._start()

    def stop(self) -> None:
        """Let it drain the journal, then end it; what is left is shipped by the next one."""
        with self._starting:  # none is started behind this one's back
            self._stopping.set()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(DRAIN_S)
        self._process.kill()
