"""Who writes takes set-id bits and capabilities away as on ext4, though the kernel does not ask before each write."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lone_mount import LoneMount

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
OWNER, OTHER = 12_345, 12_346


def as_user(uid: int, call: Callable[[], object], groups: tuple[int, ...] = ()) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(uid)
            os.setuid(uid)
            call()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def put(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags)
    os.write(descriptor, b"bytes")
    os.close(descriptor)


def put_through_roots_handle(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    as_user(OWNER, lambda: os.write(descriptor, b"bytes"))
    os.close(descriptor)


CHANGES: dict[str, Callable[[Path], None]] = {
    "root writes": put,
    "the owner writes": lambda path: as_user(OWNER, lambda: put(path)),
    "another writes": lambda path: as_user(OTHER, lambda: put(path)),
    "another of the group appends": lambda path: as_user(OTHER, lambda: put(path, os.O_APPEND), (OWNER,)),
    "the owner writes through root's handle": put_through_roots_handle,
    "the owner opens with O_TRUNC": lambda path: as_user(OWNER, lambda: put(path, os.O_TRUNC)),
    "root opens with O_TRUNC": lambda path: put(path, os.O_TRUNC),
    "the owner truncates": lambda path: as_user(OWNER, lambda: os.truncate(path, 2)),
    "root truncates": lambda path: os.truncate(path, 2),
    "root changes the owner": lambda path: os.chown(path, OTHER, -1),
    "root changes the group": lambda path: os.chown(path, -1, OTHER),
    "root changes neither": lambda path: os.chown(path, -1, -1),
    "the owner changes neither": lambda path: as_user(OWNER, lambda: os.chown(path, -1, -1)),
    "the owner sets times": lambda path: as_user(OWNER, lambda: os.utime(path)),
}


def after(folder: Path, change: Callable[[Path], None], mode: int, *, capable: bool, written: bool) -> tuple[str, bool]:
    os.chdir(folder)  # others may not come through what is above
    path = Path("f")
    path.write_bytes(b"some text")
    if written:  # from here on the kernel knows that there is nothing to take away
        put(path)
    os.chown(path, OWNER, OWNER)
    os.chmod(path, mode)
    if capable:
        os.setxattr(path, "security.capability", CAPABILITY)
    change(path)
    found = oct(path.stat().st_mode), "security.capability" in os.listxattr(path)
    path.unlink()
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_takes_away_what_it_does_on_ext4(
    mount: LoneMount, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    folder = mount.tree / "d"
    folder.mkdir()
    for place in (folder, tmp_path):
        place.chmod(0o777)
    for mode, capable in ((0o777, True), *((mode, False) for mode in (0o777, 0o4777, 0o2777, 0o6777, 0o2767))):
        for written in (False, True):
            ours, ext4 = (
                after(place, CHANGES[change], mode, capable=capable, written=written) for place in (folder, tmp_path)
            )
            assert ours == ext4, (oct(mode), capable, written)


def test_the_kernel_does_not_ask_before_each_write(mount: LoneMount) -> None:
    path = mount.tree / "f"
    path.write_bytes(b"")
    put(path)
    asked = mount.ask("asked")["getxattr"]
    for flags in (0, os.O_TRUNC, os.O_APPEND):
        put(path, flags)
    assert mount.ask("asked")["getxattr"] == asked
