"""What is read here of a file that another mount changes is one of its versions: never the bytes of one under the size of
another (zeros, a part), never an older one, never an end of the mount.
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402
from torn_reader import version  # noqa: E402

READER = Path(__file__).parent / "mount_site" / "torn_reader.py"
OLD = b"0123456789"


def foreign(mount: LoneMount, *command: str) -> None:
    mount.settle(mount.ask("foreign", *command))  # type: ignore[arg-type]


def cold(mount: LoneMount) -> Path:
    """Return a file whose size the kernel knows, and whose bytes are in the store only."""
    foreign(mount, "create", "f")
    foreign(mount, "write", "f", OLD.decode())
    assert (mount.tree / "f").stat().st_size == len(OLD)
    return mount.tree / "f"


def read_once(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("new", ["", "abc", "a longer one than before"])
def test_a_read_that_a_foreign_change_overtakes_returns_one_version_whole(mount: LoneMount, new: str) -> None:
    path = cold(mount)
    mount.ask("set", "slow_content_s", 0.3)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(read_once, path)
        time.sleep(0.1)
        position = mount.ask("foreign", "write", "f", new)
        assert read.result() in {OLD, new.encode()}
    mount.ask("set", "slow_content_s", 0)
    mount.settle(position)  # type: ignore[arg-type]
    assert path.read_bytes() == new.encode()


def test_a_read_that_waits_for_a_slow_store_holds_up_no_other_file_and_does_not_end_the_mount(mount: LoneMount) -> None:
    path = cold(mount)
    foreign(mount, "create", "other")
    assert (mount.tree / "other").read_bytes() == b""
    mount.ask("set", "slow_content_s", 3.0)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(read_once, path)
        time.sleep(0.1)
        mount.ask("foreign", "write", "f", "abc")
        mount.ask("foreign", "chmod", "other", "600")
        time.sleep(0.3)
        assert (mount.tree / "other").stat().st_mode & 0o777 == 0o600
        assert read.result() in {OLD, b"abc"}
    mount.ask("set", "slow_content_s", 0)
    mount.settle()
    assert path.read_bytes() == b"abc"


def test_an_open_for_writing_goes_to_the_newest_version(mount: LoneMount) -> None:
    path = cold(mount)
    assert path.read_bytes() == OLD
    with path.open("rb"):  # it is read: the kernel is told of the change later
        mount.ask("foreign", "write", "f", "a longer one than before")
        with path.open("ab") as file:
            file.write(b", and ours")
    mount.settle()
    assert path.read_bytes() == b"a longer one than before, and ours"


def test_a_file_that_stays_open_shows_the_newest_version_soon(mount: LoneMount) -> None:
    path = cold(mount)
    with path.open("rb", buffering=0) as held:
        assert held.read() == OLD
        for number in range(20):
            foreign(mount, "write", "f", version(number).decode())
            held.seek(0)
            assert held.read() == version(number)


def storm(mount: LoneMount, path: Path, readers: int, seconds: float, gap_s: float) -> list[dict[str, object]]:
    """Read while another mount writes every `gap_s`, and leaves the file empty in between every other time."""
    commands = [[sys.executable, str(READER), str(path), str(seconds), ("all", "one")[one % 2]] for one in range(readers)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    number = 0
    while any(process.poll() is None for process in processes):
        number += 1
        if number % 2:
            mount.ask("foreign", "write", "f", "")
        mount.ask("foreign", "write", "f", version(number).decode())
        time.sleep(gap_s)
    mount.settle()
    assert path.read_bytes() == version(number)
    found = [json.loads(process.communicate()[0]) for process in processes]
    print(f"\n{number} versions, {found}")
    return found


@pytest.mark.parametrize(
    ("seconds", "gap_s"), [(5, 0.004), pytest.param(120, 0.01, marks=pytest.mark.full)]
)
def test_readers_in_a_tight_loop_see_whole_versions_in_order(mount: LoneMount, seconds: float, gap_s: float) -> None:
    foreign(mount, "create", "f")
    foreign(mount, "write", "f", version(0).decode())
    found = storm(mount, mount.tree / "f", 2, seconds, gap_s)
    assert [one["first"] for one in found] == [[], []]
    assert all(one["last"] > 100 for one in found)  # type: ignore[operator]


def test_a_reader_that_never_closes_holds_up_a_change_for_some_milliseconds_only(mount: LoneMount) -> None:
    path = cold(mount)
    stop = threading.Event()

    def poll(descriptor: int) -> None:
        while not stop.is_set():
            os.pread(descriptor, 4096, 0)

    with path.open("rb") as held, ThreadPoolExecutor(1) as pool:
        done = pool.submit(poll, held.fileno())
        start = time.monotonic()
        try:
            foreign(mount, "write", "f", "abc")
            took_s = time.monotonic() - start
        finally:
            stop.set()
        done.result()
    assert took_s < 1
    assert path.read_bytes() == b"abc"
