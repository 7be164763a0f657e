"""durability=store: a close waits for the store also where what was written became an event before it."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))

from lone_mount import LoneMount  # noqa: E402


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[LoneMount]:
    mount = LoneMount(tmp_path / "store", "--durability", "store", environ={"ALONE_SHIPS": "0"})
    yield mount
    mount.process.kill()
    mount.process.wait()
    mount.stop()


@pytest.mark.parametrize(
    "seals",
    [lambda _fd: None, lambda fd: os.utime(fd, ns=(5, 5)), lambda _fd: time.sleep(1.6)],
    ids=["close", "utime", "age"],
)
def test_a_close_does_not_return_before_the_store_has_the_content(
    mount: LoneMount, seals: Callable[[int], None]
) -> None:
    descriptor = os.open(mount.tree / "file", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"content")
    seals(descriptor)
    closing = threading.Thread(target=lambda: pytest.raises(OSError, os.close, descriptor), daemon=True)
    closing.start()
    closing.join(0.7)
    assert closing.is_alive()
