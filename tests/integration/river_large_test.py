"""A file of 4 GiB goes through a mount that keeps its memory small, on real servers."""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

GIB = 1 << 30
MIB = 1 << 20
GROWTH_MAX = 128 * MIB


class Resident:
    """The most memory that a process has had while one of these looked."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.first = self.most = self.now()
        self._looking = threading.Thread(target=self._look)
        self._looking.start()

    def now(self) -> int:
        return 1024 * int(self._status.read_text().split("VmRSS:")[1].split()[0])

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.most = max(self.most, self.now())

    def grown(self) -> int:
        self._ended.set()
        self._looking.join()
        return self.most - self.first


def mebibytes(count: int) -> Iterator[bytes]:
    parts = [os.urandom(MIB - 8) for _ in range(7)]
    for number in range(count):
        yield parts[number % 7] + number.to_bytes(8, "little")


def digest_of_what_is_there(path: Path) -> bytes:
    total = hashlib.blake2b()
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while data := file.read(MIB):
            total.update(data)
    return total.digest()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_4_gib_are_written_read_and_copied_in_128_mib(own_stack) -> None:
    resident, total = Resident(own_stack.pid("mount")), hashlib.blake2b()
    with (own_stack.current / "large").open("wb", buffering=0) as file:
        for data in mebibytes(4 * GIB // MIB):
            assert file.write(data) == MIB
            total.update(data)
    assert digest_of_what_is_there(own_stack.current / "large") == total.digest()
    shutil.copyfile(own_stack.current / "large", own_stack.current / "copy")
    assert digest_of_what_is_there(own_stack.current / "copy") == total.digest()
    assert resident.grown() < GROWTH_MAX
