"""Handles opened with O_APPEND on a real mount: what is mapped or written in place through them stays in place, on
recorded and on ephemeral paths; and an atomic replacement is at no time absent.
"""

import errno
import fcntl
import mmap
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

RWF_NOAPPEND = 0x20
DIGITS = b"0123456789"


@pytest.fixture(params=["", "node_modules"])
def folder(mount: LoneMount, request: pytest.FixtureRequest) -> Path:
    found = mount.tree / request.param
    found.mkdir(exist_ok=True)
    return found


def appending(folder: Path, data: bytes = DIGITS) -> int:
    (folder / "f").write_bytes(data)
    return os.open(folder / "f", os.O_RDWR | os.O_APPEND)


def test_a_store_through_a_mapping_of_an_appending_handle_is_made_in_place(folder: Path) -> None:
    size = 3 * mmap.PAGESIZE + 10
    handle = appending(folder, b"." * size)
    with mmap.mmap(handle, size) as mapped:
        mapped[0:2] = mapped[mmap.PAGESIZE : mmap.PAGESIZE + 2] = mapped[size - 2 : size] = b"XY"
        mapped.flush()
    os.write(handle, b"end")
    os.close(handle)
    found = (folder / "f").read_bytes()
    assert len(found) == size + 3
    assert [found.find(b"XY"), found.find(b"XY", 2), found.rfind(b"XY")] == [0, mmap.PAGESIZE, size - 2]
    assert found.endswith(b"XYend")


def test_where_append_was_taken_off_the_offset_counts(folder: Path) -> None:
    handle = appending(folder)
    fcntl.fcntl(handle, fcntl.F_SETFL, 0)
    os.pwrite(handle, b"XY", 0)
    os.close(handle)
    assert (folder / "f").read_bytes() == b"XY23456789"


def test_a_write_that_says_no_append_is_made_in_place(folder: Path) -> None:
    handle = appending(folder)
    try:
        os.pwritev(handle, [b"XY"], 0, RWF_NOAPPEND)
        wanted = b"XY23456789"
    except OSError:  # before Linux 6.9 there is no such flag
        wanted = DIGITS
    os.close(handle)
    assert (folder / "f").read_bytes() == wanted


def test_two_appending_handles_of_one_file_follow_each_other(folder: Path) -> None:
    first = appending(folder, b"")
    second = os.open(folder / "f", os.O_WRONLY | os.O_APPEND)
    for number in range(40):
        os.write(first if number % 2 else second, b"%02d" % number)
    os.close(first)
    os.close(second)
    assert (folder / "f").read_bytes() == b"".join(b"%02d" % number for number in range(40))


def test_a_file_that_is_replaced_again_and_again_is_always_there(folder: Path) -> None:
    """ESTALE comes where an ephemeral one was replaced twice within one call: the kernel looks again once."""
    target = folder / "replaced"
    target.write_bytes(b"x")
    target.with_name("link").symlink_to("replaced")
    until_s = time.monotonic() + 1.5
    child = os.fork()
    if child == 0:
        while time.monotonic() < until_s:
            (folder / "new").write_bytes(b"x")
            (folder / "new").rename(target)
        os._exit(0)
    opened = stale = 0
    try:
        while time.monotonic() < until_s:
            for path in (target, target.with_name("link")):
                try:
                    os.close(os.open(path, os.O_RDONLY))
                except OSError as error:
                    assert error.errno == errno.ESTALE
                    assert folder.name == "node_modules"
                    stale += 1
                opened += 1
    finally:
        os.waitpid(child, 0)
    assert opened > 50
    assert stale < opened / 10, (stale, opened)
