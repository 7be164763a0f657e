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


def shown(folder: Path) -> dict[str, tuple[bool, bool, bool]]:
    """Return what a listing says, which must be what is there."""
    with os.scandir(folder) as entries:
        found = {entry.name: (entry.is_dir(follow_symlinks=False), entry.is_symlink(), entry.inode()) for entry in entries}
    assert all(os.lstat(folder / name).st_ino == inode for name, (*_, inode) in found.items())
    return {name: (directory, link, not directory and not link) for name, (directory, link, _) in found.items()}


def test_a_directory_that_was_listed_twice_shows_every_change_at_once(mount: LoneMount) -> None:
    folder = mount.tree / "often"
    folder.mkdir()
    wanted: dict[str, tuple[bool, bool, bool]] = {}
    directory, link, file = (True, False, False), (False, True, False), (False, False, True)

    def looks_right() -> None:
        for _ in range(3):
            assert shown(folder) == wanted

    for number in range(300):
        (folder / f"f{number}").touch()
        wanted[f"f{number}"] = file
    looks_right()
    (folder / "d").mkdir()
    wanted["d"] = directory
    looks_right()
    (folder / "f1").unlink()
    del wanted["f1"]
    looks_right()
    (folder / "f2").unlink()
    (folder / "f2").symlink_to("nowhere")
    wanted["f2"] = link
    looks_right()
    (folder / "f2").rename(folder / "f3")
    del wanted["f2"]
    wanted["f3"] = link
    looks_right()
    (folder / "d").rename(mount.tree / "d")
    del wanted["d"]
    looks_right()
    mount.settle()
    mount.settle(mount.ask("foreign", "create", "often/theirs", "bytes"))
    wanted["theirs"] = file
    looks_right()
    mount.settle(mount.ask("foreign", "unlink", "often/f4", ""))
    del wanted["f4"]
    looks_right()


def test_a_listing_goes_on_as_it_began_while_the_directory_changes(mount: LoneMount) -> None:
    folder = mount.tree / "long"
    folder.mkdir()
    names = {f"{number}-{'n' * 100}" for number in range(NAMES)}
    for name in names:
        (folder / name).touch()
    assert set(os.listdir(folder)) == set(os.listdir(folder)) == names
    with os.scandir(folder) as entries:
        found = {next(entries).name}
        (folder / "more").touch()
        found |= {entry.name for entry in entries}
    assert found - {"more"} == names
    assert set(os.listdir(folder)) == names | {"more"}
