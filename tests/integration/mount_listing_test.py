"""Long directories: every name once, with its own type and inode, in few requests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))

from lone_mount import LoneMount  # noqa: E402

NAMES = 3000


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[LoneMount]:
    mount = LoneMount(tmp_path / "long")
    yield mount
    mount.stop()


def test_a_long_directory_is_listed_whole_with_the_type_of_each(mount: LoneMount) -> None:
    long = mount.tree / "long"
    long.mkdir()
    for number in range(NAMES):
        name = long / f"{number}-{'n' * (number % 200)}"
        if number % 3 == 0:
            name.mkdir()
        elif number % 3 == 1:
            name.symlink_to("nowhere")
        else:
            name.touch()
    with os.scandir(long) as entries:
        found = {
            int(entry.name.split("-")[0]): (entry.is_dir(follow_symlinks=False), entry.is_symlink(), entry.inode())
            for entry in entries
        }
    assert [found[number][:2] for number in range(NAMES)] == [(n % 3 == 0, n % 3 == 1) for n in range(NAMES)]
    assert all(os.lstat(entry).st_ino == entry.inode() for entry in os.scandir(long))
    assert len({inode for _, _, inode in found.values()}) == NAMES
