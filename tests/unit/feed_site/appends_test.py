"""A handle opened with O_APPEND: what the kernel appends goes to the end, wherever that is by now; what it writes in
place (a page of a shared mapping, a write after O_APPEND was taken off) stays where it is.
"""

import os
import sys
from pathlib import Path

import pytest

from app.core.operations import Content

sys.path.insert(0, str(Path(__file__).parent))
from quiet_mount import Mount  # noqa: E402


@pytest.fixture
def mount() -> Mount:
    return Mount()


def appended_elsewhere(mount: Mount, data: bytes) -> None:
    inode = mount.has(b"f")
    assert inode is not None
    node = mount.store.tree.nodes[inode]
    before = mount.store.bytes[node.version]
    content = Content(inode, node.version, len(before + data), 5, append_from=len(before))
    mount.hear(mount.store.foreign(content, before + data))


def test_a_page_that_comes_through_an_appending_handle_is_written_in_place(mount: Mount) -> None:
    mount.put(b"f", b"0123456789")
    handle = mount.open(b"f", os.O_RDWR | os.O_APPEND)
    mount.write(handle, b"XY23456789", 0)
    mount.close(handle)
    assert mount.read(b"f") == b"XY23456789"


def test_what_the_kernel_appends_at_an_end_that_is_old_goes_to_the_new_one(mount: Mount) -> None:
    mount.put(b"f", b"one.")
    mount.ship_all()
    handle = mount.open(b"f", os.O_WRONLY | os.O_APPEND)
    appended_elsewhere(mount, b"theirs.")
    mount.write(handle, b"two.", 4)
    mount.write(handle, b"three.", 8)  # the kernel counts from where it thinks that it was
    mount.close(handle)
    assert mount.read(b"f") == b"one.theirs.two.three."


def test_after_the_kernel_knows_the_end_an_old_one_is_a_place_again(mount: Mount) -> None:
    mount.put(b"f", b"one.")
    mount.ship_all()
    handle = mount.open(b"f", os.O_RDWR | os.O_APPEND)
    appended_elsewhere(mount, b"theirs.")
    mount.write(handle, b"two.", 11)
    mount.write(handle, b"THEIRS", 4)
    mount.close(handle)
    assert mount.read(b"f") == b"one.THEIRS.two."


def test_a_file_that_nobody_has_open_any_more_has_one_end(mount: Mount) -> None:
    mount.put(b"f", b"one.")
    mount.ship_all()
    handle = mount.open(b"f", os.O_WRONLY | os.O_APPEND)
    appended_elsewhere(mount, b"theirs.")
    mount.close(handle)
    assert not mount.state.appends.ends
