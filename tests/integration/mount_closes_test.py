"""A close asks the mount nothing and waits for nothing; what was written through it is an event all the same."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lone_mount import LoneMount

Start = Callable[..., LoneMount]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[LoneMount] = []

    def start(*options: str, **flags: bool) -> LoneMount:
        environ = {"ALONE_FLAGS": json.dumps({"commuting_fast_path": True, "unasked_closes": True} | flags)}
        started.append(LoneMount(tmp_path / f"m{len(started)}", *options, environ=environ))
        return started[-1]

    yield start
    for mount in started:
        mount.stop()


def kinds(mount: LoneMount) -> list[str]:
    mount.settle()
    return [kind for _, kind in mount.ask("requests")]


def write_some(folder: Path) -> None:
    for number in range(20):
        (folder / f"f{number}").write_bytes(b"x" * 5000)
        assert (folder / f"f{number}").read_bytes() == b"x" * 5000


def test_only_the_first_close_asks(start: Start) -> None:
    mount = start()
    write_some(mount.tree)
    assert mount.ask("asked")["flush"] <= 1
    assert kinds(mount) == ["create", "write"] * 20


@pytest.mark.parametrize("options", [("--durability", "journal"), ("--durability", "store")])
def test_each_close_asks_where_it_must_wait_or_the_flag_is_off(start: Start, options: tuple[str, str]) -> None:
    mount = start(*options, unasked_closes=options[1] == "store")
    write_some(mount.tree)
    assert mount.ask("asked")["flush"] >= 40
    assert kinds(mount) == ["create", "write"] * 20


def test_one_open_file_is_sealed_when_its_last_descriptor_goes(start: Start) -> None:
    mount = start()
    first = os.open(mount.tree / "file", os.O_WRONLY | os.O_CREAT)
    os.write(first, b"one")
    second = os.dup(first)
    os.close(first)
    os.write(second, b"two")
    os.close(second)
    (mount.tree / "after").mkdir()
    assert kinds(mount) == ["create", "write", "mkdir"]
    assert (mount.tree / "file").read_bytes() == b"onetwo"


def test_a_file_that_is_renamed_while_it_is_written_takes_its_bytes_along(start: Start) -> None:
    """Else another mount would see the new name with the content before."""
    mount = start()
    with (mount.tree / "draft").open("wb", buffering=0) as file:
        file.write(b"whole")
        (mount.tree / "draft").rename(mount.tree / "final")
    assert kinds(mount) == ["create", "write", "rename"]


def test_a_write_whose_close_was_not_told_of_yet_survives_a_kill(start: Start) -> None:
    mount = start()
    for number in range(50):
        (mount.tree / f"f{number}").write_bytes(b"%d" % number * 3000)
    mount.kill()
    mount.start()
    for number in range(50):
        assert (mount.tree / f"f{number}").read_bytes() == b"%d" % number * 3000
