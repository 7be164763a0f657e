"""Who reads the kernel's requests: one, one more while it waits, one again afterwards, all gone at the end."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import llfuse
import pytest

from fuse_mount.readers import Readers, SessionEnd


class Kernel:
    """A session on a pipe: a byte is a request; `w` waits until `done` is set, `s` for 0.3 ms (as an fsync
    does), `e` is refused at the end, `x` ends the session, `u` is cut off by the last unmount."""

    def __init__(self) -> None:
        self.descriptor, self.requests = os.pipe()
        self.answered: list[bytes] = []
        self.done = threading.Event()
        self.readers: Readers
        self.entered = 0
        self.long_waits = 0

    def serve(self) -> None:
        """See read_session."""
        self.entered += 1
        while True:
            with llfuse.lock:
                pass
            byte = os.read(self.descriptor, 1)
            if byte == b"x":
                return
            if byte == b"e":
                raise SessionEnd
            if byte == b"u":
                raise ConnectionAbortedError
            if byte == b"!":
                raise ValueError("llfuse failed")
            if byte == b"w":
                with llfuse.lock, self.readers:
                    self.done.wait(10)
            if byte == b"s":
                since_s = time.monotonic()
                with llfuse.lock, self.readers:
                    time.sleep(0.0003)
                self.long_waits += time.monotonic() - since_s >= 0.001
            self.answered.append(byte)

    def ask(self, requests: bytes) -> None:
        os.write(self.requests, requests)


def until(true: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 10
    while not true() and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return true()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    site = Kernel()
    site.readers = Readers(1)
    yield site
    os.close(site.descriptor)
    os.close(site.requests)


def in_background(kernel: Kernel, asks: Callable[[], None]) -> None:
    """Run the readers here, `asks` beside them; both must end."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asks)
        try:
            kernel.readers.run(kernel.descriptor, 4, kernel.serve)
        finally:
            asked.result(20)


def test_one_thread_reads_another_while_it_waits_and_one_again_afterwards(kernel: Kernel) -> None:
    readers = kernel.readers

    def asks() -> None:
        assert until(lambda: readers.reading == 1)
        kernel.ask(b"w")
        assert until(lambda: readers.waiting == 1 and readers.reading == 2)
        kernel.ask(b"a")
        assert until(lambda: kernel.answered == [b"a"])
        kernel.done.set()
        assert until(lambda: readers.reading == 1 and readers.waiting == 0)
        kernel.ask(b"bc")
        assert until(lambda: sorted(kernel.answered) == [b"a", b"b", b"c", b"w"])
        assert readers.reading == 1
        kernel.ask(b"x")

    in_background(kernel, asks)
    assert readers.reading == 0


def test_three_that_wait_hold_up_nobody(kernel: Kernel) -> None:
    readers = kernel.readers

    def asks() -> None:
        kernel.ask(b"w")
        assert until(lambda: readers.waiting == 1)
        kernel.ask(b"w")
        assert until(lambda: readers.waiting == 2)
        kernel.ask(b"w")
        assert until(lambda: readers.waiting == 3)
        kernel.ask(b"a")
        assert until(lambda: kernel.answered == [b"a"])
        kernel.done.set()
        assert until(lambda: len(kernel.answered) == 4)
        readers.end()

    in_background(kernel, asks)
    assert readers.reading == 0


def test_an_end_that_is_asked_for_wakes_who_reads(kernel: Kernel) -> None:
    def asks() -> None:
        assert until(lambda: kernel.readers.reading == 1)
        kernel.readers.end()

    in_background(kernel, asks)
    assert kernel.readers.reading == 0


def test_an_end_before_the_first_reader_is_not_lost(kernel: Kernel) -> None:
    kernel.readers.end()
    kernel.readers.run(kernel.descriptor, 2, kernel.serve)
    assert kernel.answered == []


def test_a_loop_that_fails_ends_the_mount_and_is_told(kernel: Kernel) -> None:
    kernel.ask(b"!")
    with pytest.raises(ValueError, match="llfuse failed"):
        kernel.readers.run(kernel.descriptor, 2, kernel.serve)


def test_a_request_that_the_last_unmount_cuts_off_is_the_end_and_no_failure(kernel: Kernel) -> None:
    kernel.ask(b"au")
    kernel.readers.run(kernel.descriptor, 2, kernel.serve)
    assert kernel.answered == [b"a"]


def test_a_stream_of_waits_leaves_one_reader_and_loses_no_request(kernel: Kernel) -> None:
    kernel.done.set()

    def asks() -> None:
        for _ in range(200):
            kernel.ask(b"wa")
        assert until(lambda: len(kernel.answered) == 400)
        kernel.ask(b"x")

    in_background(kernel, asks)
    assert kernel.readers.reading == 0


def test_requests_that_never_cease_do_not_keep_a_reader(kernel: Kernel) -> None:
    def asks() -> None:
        kernel.ask(b"w")
        assert until(lambda: kernel.readers.reading == 2)
        kernel.ask(b"e" * 1000)
        kernel.done.set()

    in_background(kernel, asks)
    assert kernel.readers.reading == 0
    assert len(os.read(kernel.descriptor, 2000)) > 990


def test_waits_of_less_than_a_millisecond_bring_in_nobody(kernel: Kernel) -> None:
    def asks() -> None:
        kernel.ask(b"s" * 300)
        assert until(lambda: len(kernel.answered) == 300)
        kernel.ask(b"x")

    in_background(kernel, asks)
    assert kernel.entered <= 1 + kernel.long_waits
