"""What another mount does is seen here: every path that changes something from outside reaches the kernel's caches."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402


def eventually(holds: Callable[[], bool], within_s: float = 3.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def foreign(mount: LoneMount, *command: str) -> None:
    mount.settle(mount.ask("foreign", *command))  # type: ignore[arg-type]


def test_a_file_made_elsewhere_appears_though_its_absence_was_cached(mount: LoneMount) -> None:
    path = mount.tree / "new"
    assert not path.exists()
    foreign(mount, "create", "new")
    assert path.exists()
    assert os.listdir(mount.tree) == ["new"]


def test_content_written_elsewhere_replaces_cached_pages_and_size(mount: LoneMount) -> None:
    path = mount.tree / "file"
    path.write_text("ours, first")
    mount.settle()
    with path.open() as held:
        assert held.read() == "ours, first"
        foreign(mount, "write", "file", "theirs, and of another length")
        held.seek(0)
        assert held.read() == "theirs, and of another length"
    assert path.stat().st_size == 29


def test_the_same_length_written_elsewhere_is_not_read_from_stale_pages(mount: LoneMount) -> None:
    path = mount.tree / "file"
    path.write_text("0000")
    mount.settle()
    for number in range(200):
        foreign(mount, "write", "file", f"{number:04}")
        assert path.read_text() == f"{number:04}"


def test_a_name_removed_elsewhere_is_gone_and_its_open_file_lives(mount: LoneMount) -> None:
    path = mount.tree / "file"
    path.write_text("still here")
    mount.settle()
    with path.open("r+") as held:
        foreign(mount, "unlink", "file")
        assert not path.exists()
        assert held.read() == "still here"
        held.write(", and longer")
        held.flush()
        assert os.fstat(held.fileno()).st_size == 22
    assert os.listdir(mount.tree) == []


def test_attributes_changed_elsewhere_are_seen(mount: LoneMount) -> None:
    path = mount.tree / "file"
    path.write_text("x")
    mount.settle()
    assert path.stat().st_mode & 0o777 == 0o644
    foreign(mount, "chmod", "file", "600")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_rename_elsewhere_moves_both_names(mount: LoneMount) -> None:
    (mount.tree / "a").write_text("a")
    (mount.tree / "b").write_text("b")
    mount.settle()
    assert (mount.tree / "b").read_text() == "b"
    foreign(mount, "rename", "a", "b")
    assert not (mount.tree / "a").exists()
    assert (mount.tree / "b").read_text() == "a"


def test_a_link_made_elsewhere_raises_the_link_count(mount: LoneMount) -> None:
    (mount.tree / "a").write_text("a")
    mount.settle()
    assert (mount.tree / "a").stat().st_nlink == 1
    foreign(mount, "link", "a", "b")
    assert (mount.tree / "a").stat().st_nlink == 2
    assert (mount.tree / "b").read_text() == "a"


def test_a_directory_made_and_removed_elsewhere_counts_in_its_parent(mount: LoneMount) -> None:
    links = mount.tree.stat().st_nlink
    foreign(mount, "mkdir", "d")
    assert mount.tree.stat().st_nlink == links + 1
    assert (mount.tree / "d").is_dir()
    foreign(mount, "rmdir", "d")
    assert not (mount.tree / "d").exists()
    assert mount.tree.stat().st_nlink == links


def test_the_same_directory_made_on_both_sides_becomes_one(mount: LoneMount) -> None:
    mount.ask("set", "shipping", False)
    (mount.tree / "d").mkdir()
    (mount.tree / "d/ours").write_text("ours")
    mount.ask("foreign", "mkdir", "d")
    mount.ask("foreign", "create", "d/theirs")
    eventually(lambda: sorted(os.listdir(mount.tree / "d")) == ["ours", "theirs"])
    mount.ask("set", "shipping", True)
    mount.settle()
    assert sorted(os.listdir(mount.tree / "d")) == ["ours", "theirs"]
    assert (mount.tree / "d/ours").read_text() == "ours"


def test_the_working_directory_survives_changes_of_its_name(mount: LoneMount) -> None:
    (mount.tree / "here").mkdir()
    mount.settle()
    process = subprocess.Popen(
        [sys.executable, "-c", "import os\nwhile input(): print(os.getcwd(), flush=True)"],
        cwd=mount.tree / "here", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def cwd() -> str:
        process.stdin.write("go\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    for number in range(10):
        foreign(mount, "create", f"here/{number}")
        foreign(mount, "chmod", "here", f"7{number % 8}5")
        assert cwd() == str(mount.tree / "here")
    foreign(mount, "rename", "here", "moved")
    assert cwd() in {str(mount.tree / "here"), str(mount.tree / "moved")}
    assert (mount.tree / "moved").is_dir()
    assert cwd() == str(mount.tree / "moved")
    assert not (mount.tree / "here").exists()
    process.stdin.close()
    process.wait(5)
    process.stdout.close()


def test_what_pubsub_loses_is_read_from_the_store(mount: LoneMount) -> None:
    mount.ask("set", "lose", 3)
    for number in range(4):
        mount.ask("foreign", "create", f"f{number}")
    eventually(lambda: len(os.listdir(mount.tree)) == 4)
    assert mount.ask("figures")["by_catch_up"] >= 3  # type: ignore[index]
    mount.ask("set", "lose", 1)
    mount.ask("foreign", "create", "last, and lost")
    eventually((mount.tree / "last, and lost").exists)


def test_content_that_was_let_go_comes_back_from_the_store(mount: LoneMount) -> None:
    data = {f"f{i}": os.urandom(300_000) for i in range(10)}
    for name, content in data.items():
        (mount.tree / name).write_bytes(content)
    mount.settle()
    mount.ask("bound", 0)
    (mount.tree / "last").write_text("x")
    mount.settle()
    assert mount.ask("contents")[:2] == [0, 0]  # type: ignore[index]
    for name, content in data.items():
        foreign(mount, "chmod", name, "640")
        descriptor = os.open(mount.tree / name, os.O_RDWR)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(descriptor, 400_000, 0) == content
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pwrite(descriptor, b"PATCH", 150_000)
        assert os.pread(descriptor, 400_000, 0) == content[:150_000] + b"PATCH" + content[150_005:]
        os.close(descriptor)
    mount.settle()
    for name, content in data.items():
        os.truncate(mount.tree / name, 140_000)
        assert (mount.tree / name).read_bytes() == content[:140_000]


def test_a_store_that_is_away_costs_a_cold_read_its_deadline_and_then_eio(mount: LoneMount) -> None:
    (mount.tree / "warm").write_bytes(b"warm")
    foreign(mount, "create", "cold")
    foreign(mount, "write", "cold", "from the store")
    mount.ask("set", "down", True)
    start = time.monotonic()
    with pytest.raises(OSError, match="Input/output error"):
        (mount.tree / "cold").read_bytes()
    assert 3 < time.monotonic() - start < 7
    assert (mount.tree / "warm").read_bytes() == b"warm"
    (mount.tree / "made meanwhile").write_text("kept")
    mount.ask("set", "down", False)
    eventually(lambda: (mount.tree / "cold").read_text() == "from the store")
    assert b"cold_failures" in (mount.root / "debug/health").read_bytes()


def test_a_cold_read_that_hangs_holds_up_nobody_else(mount: LoneMount) -> None:
    foreign(mount, "create", "cold")
    foreign(mount, "write", "cold", "from the store")
    mount.ask("set", "frozen_s", 1.0)
    reader = subprocess.Popen(["cat", str(mount.tree / "cold")], stdout=subprocess.PIPE)
    worst = 0.0
    for number in range(50):
        start = time.monotonic()
        (mount.tree / f"f{number}").write_text("x")
        worst = max(worst, time.monotonic() - start)
    mount.ask("set", "frozen_s", 0)
    assert reader.communicate(timeout=10)[0] == b"from the store"
    assert worst < 0.5
