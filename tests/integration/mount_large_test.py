"""A file far larger than what the mount may keep in memory, and a journal that is full for a while."""

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

MIB = 1 << 20
GROWTH_MAX = 128 * MIB


@pytest.fixture
def mount(short_path: Path) -> Iterator[LoneMount]:
    mount = LoneMount(short_path / "one")
    mount.ask("set", "shipping", False)
    yield mount
    mount.stop()


def resident(mount: LoneMount) -> int:
    status = Path(f"/proc/{mount.process.pid}/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("size", [128 * 1024, 100_000], ids=["as cp writes", "unaligned"])
def test_memory_stays_small_while_nothing_is_confirmed_and_all_of_it_is_read_back(mount: LoneMount, size: int) -> None:
    parts, before = [os.urandom(size) for _ in range(7)], resident(mount)
    number = 400 * MIB // size
    with (mount.tree / "large").open("wb", buffering=0) as file:
        for at in range(number):
            file.write(parts[at % 7])
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with (mount.tree / "large").open("rb", buffering=0) as file:
        assert all(file.read(size) == parts[at % 7] for at in range(number))
    assert resident(mount) - before < GROWTH_MAX


def test_a_write_that_finds_the_journal_full_waits_while_something_drains(mount: LoneMount) -> None:
    mount.ask("set", "shipping", True)
    mount.ask("budget", 4 * MIB)
    written: list[int] = []
    data = os.urandom(8 * MIB)
    writer = threading.Thread(target=lambda: written.append((mount.tree / "waits").write_bytes(data)))
    writer.start()
    for number in range(12):  # longer than nothing may be confirmed, and nobody else is held up
        (mount.tree / f"d{number}").mkdir()
        time.sleep(1)
    assert writer.is_alive()
    mount.ask("budget", 64 * MIB)
    writer.join(10)
    assert written == [len(data)]
    assert (mount.tree / "waits").read_bytes() == data
    assert mount.ask("figures")["counters"]["throttled"] >= 1  # type: ignore[index]


def test_a_write_is_refused_once_nothing_has_drained_for_ten_seconds(mount: LoneMount) -> None:
    mount.ask("budget", 4 * MIB)
    started_s = time.monotonic()
    with pytest.raises(OSError) as refused:
        (mount.tree / "full").write_bytes(os.urandom(8 * MIB))
    assert refused.value.errno == errno.ENOSPC
    assert 9 < time.monotonic() - started_s < 15  # of two writes, since the first put a part of it
    kept = (mount.tree / "full").stat().st_size
    mount.ask("budget", 64 * MIB)
    with (mount.tree / "full").open("ab") as file:
        file.write(b"and on")
    assert (mount.tree / "full").stat().st_size == kept + 6
