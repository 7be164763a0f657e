"""What a returned call wrote is there after any kill; what cannot be kept is refused cleanly; nothing ends the mount."""

# ruff: noqa: E501 - stories read better unbroken

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.covers import uncover
from app.core.errors import SetupError
from fuse_mount.mount_point import clear, prepare

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402


class Mounts:
    """Starts mounts below a folder, and stops what a failed test left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[LoneMount] = []

    def start(self, *options: str) -> LoneMount:
        self.started.append(LoneMount(self.folder / "one", *options))
        return self.started[-1]


@pytest.fixture
def mounts(short_path: Path) -> Iterator[Mounts]:
    all_of_them = Mounts(short_path)
    yield all_of_them
    for mount in all_of_them.started:
        mount.stop()


def test_a_mount_that_was_looked_at_a_moment_before_it_was_killed_is_mounted_again_at_once(mounts: Mounts) -> None:
    """The kernel goes on answering the attributes that it has."""
    mount = mounts.start()
    (mount.tree / "a").write_text("1")
    subprocess.run(["stat", str(mount.root)], check=True, capture_output=True)
    mount.kill()
    mount.start()
    assert (mount.tree / "a").read_text() == "1"


def mounted_at(folder: Path) -> int:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()].count(str(folder))


def test_nothing_can_be_written_in_the_bare_folder_of_a_mount_that_was_killed(mounts: Mounts) -> None:
    """It would look like the project, and be no event."""
    mount = mounts.start()
    mount.kill()
    subprocess.run(["umount", "-l", str(mount.root)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        mount.tree.mkdir()
    mount = mounts.start()
    (mount.tree / "a").write_text("1")
    assert mount.stop() == 0
    assert mounted_at(mount.root) == 0


def test_a_mount_that_was_named_by_a_link_is_found_again_after_a_kill(short_path: Path) -> None:
    """The kernel names mounts by no link: it was not found, so it never came back, and each start laid one more cover."""
    (short_path / "real").mkdir()
    (short_path / "link").symlink_to("real")
    mount = LoneMount(short_path / "link" / "one")
    mount.kill()
    mount.start()
    (mount.tree / "a").write_text("1")
    assert mounted_at(mount.root.resolve()) == 2, "itself and its cover"
    assert mount.stop() == 0
    assert mounted_at(mount.root.resolve()) == 0


def test_what_was_written_where_nothing_was_mounted_is_put_aside_and_kept(mounts: Mounts) -> None:
    bare = mounts.folder / "one" / "m" / "current" / "made"
    bare.mkdir(parents=True)
    (bare / "f").write_text("kept")
    mount = mounts.start()
    assert not (mount.tree / "made").exists()
    (aside,) = mount.folder.glob("m.aside-*")
    assert (aside / "current" / "made" / "f").read_text() == "kept"
    assert str(aside) in mount.log.read_text()


def test_what_is_written_while_a_mount_starts_is_put_aside_and_not_hidden_below_it(short_path: Path) -> None:
    """A writer that goes on through a start: its files would lie below the mount, where nobody looks."""
    mount = short_path / "m"
    prepare(mount)
    (mount / "current" / "made").mkdir(parents=True)
    (mount / "current" / "made" / "f").write_text("kept")
    clear(mount)
    try:
        (aside,) = short_path.glob("m.aside-*")
        assert (aside / "current" / "made" / "f").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only"):
            (mount / "current").mkdir()
    finally:
        uncover(mount)
    assert list(mount.iterdir()) == []


def test_a_folder_with_files_of_ones_own_is_refused_as_it_is(short_path: Path) -> None:
    own = short_path / "thesis.tex"
    own.write_text("mine")
    with pytest.raises(SetupError, match=r"is not empty \(thesis.tex\); choose an empty directory"):
        prepare(short_path)
    assert own.read_text() == "mine"


def contents(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def busy_until_killed(mount: LoneMount) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Write for a while, kill -9 in the middle; return what returned calls wrote, and what the last call was writing."""
    done: dict[str, bytes] = {}
    doing: dict[str, bytes] = {}
    held = (mount.tree / "held open").open("wb", buffering=0)

    def write() -> None:
        number = 0
        try:
            while True:
                name = f"f{number % 17}"
                data = os.urandom(3000 + number * 7 % 200_000)
                doing.clear()
                doing[name] = data
                (mount.tree / name).write_bytes(data)
                done[name] = data
                doing.clear()
                doing["held open"] = done.get("held open", b"") + b"%d," % number
                held.write(b"%d," % number)
                done["held open"] = doing["held open"]
                number += 1
        except OSError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.6)
    mount.kill()
    writer.join()
    try:
        held.close()
    except OSError:
        pass
    return done, doing


@pytest.mark.parametrize("shipped", ["1", "0"])
def test_kill_9_loses_nothing_that_returned(mounts: Mounts, shipped: str) -> None:
    mount = mounts.start()
    (mount.tree / "early").write_bytes(b"e" * 300_000)
    if shipped == "0":
        mount.ask("set", "shipping", False)
    mount.environ = {"ALONE_SHIPS": shipped}
    for _ in range(3):
        done, doing = busy_until_killed(mount)
        mount.start()
        found = contents(mount.tree)
        for name, data in done.items():
            assert found[name] == data or name in doing, name
        assert found["early"] == b"e" * 300_000
    mount.ask("set", "shipping", True)
    mount.settle()
    descriptor = os.open(mount.tree / "early", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    assert contents(mount.tree) == {**contents(mount.tree), **{n: d for n, d in done.items() if n not in doing}}
    assert not [name for name in mount.ask("figures")["counters"] if name.startswith("own operation") or " in " in name]  # type: ignore[index]
    assert mount.stop() == 0


def test_events_are_numbered_without_gaps_and_one_call_makes_one(mounts: Mounts) -> None:
    mount = mounts.start()
    (mount.tree / "a").write_bytes(b"x" * 1_000_000)
    (mount.tree / "d").mkdir()
    (mount.tree / "a").rename(mount.tree / "d/b")
    os.truncate(mount.tree / "d/b", 10)
    os.chmod(mount.tree / "d/b", 0o600)
    (mount.tree / "d/b").unlink()
    (mount.tree / "d").rmdir()
    mount.settle()
    kinds = ["create", "write", "mkdir", "rename", "truncate", "setattr", "unlink", "rmdir"]
    assert mount.ask("requests") == [[at, kind] for at, kind in enumerate(kinds, 1)]
    mount.stop()


def test_unsealed_bytes_become_an_event_within_two_seconds(mounts: Mounts) -> None:
    mount = mounts.start()
    with (mount.tree / "log").open("wb", buffering=0) as log:
        log.write(b"line")
        deadline = time.monotonic() + 2
        while [2, "write"] not in mount.ask("requests"):  # type: ignore[operator]
            assert time.monotonic() < deadline
            time.sleep(0.05)
    mount.stop()


def test_a_full_journal_is_enospc_and_nothing_changes(mounts: Mounts) -> None:
    mount = mounts.start()
    (mount.tree / "before").write_text("kept")
    mount.settle()
    mount.ask("set", "shipping", False)
    mount.ask("budget", 1)
    for change in (
        (mount.tree / "d").mkdir,
        (mount.tree / "f").touch,
        (mount.tree / "before").unlink,
        lambda: (mount.tree / "before").rename(mount.tree / "after"),
        lambda: os.chmod(mount.tree / "before", 0o600),
        lambda: os.truncate(mount.tree / "before", 1),
    ):
        with pytest.raises(OSError) as refused:
            change()
        assert refused.value.errno == errno.ENOSPC
    assert contents(mount.tree) == {"before": b"kept"}
    mount.ask("budget", 1 << 30)
    (mount.tree / "d").mkdir()
    assert mount.stop() == 0


def test_a_dead_mount_point_is_recovered_at_the_next_start(mounts: Mounts) -> None:
    mount = mounts.start()
    (mount.tree / "f").write_text("x")
    mount.kill()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(mount.root)
    mount.start()
    assert (mount.tree / "f").read_text() == "x"
    assert mount.stop() == 0


def test_a_living_mount_point_is_not_taken_over(mounts: Mounts) -> None:
    mount = mounts.start()
    second = subprocess.run(
        [sys.executable, "-m", "fuse_mount", str(mount.root), "--external-courier"],
        capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "WEIR_HOME": str(mounts.folder / "weir")},
    )  # fmt: skip
    assert second.returncode == 1
    assert "mounted already" in second.stderr
    assert mount.tree.is_dir()
    assert mount.stop() == 0


def test_sigterm_seals_what_is_open_and_unmounts(mounts: Mounts) -> None:
    mount = mounts.start()
    held = (mount.tree / "held").open("wb", buffering=0)
    held.write(b"not closed yet")
    assert mount.stop() == 0
    assert not os.path.ismount(mount.root)
    held.close() if held.closed else None
    try:
        held.close()
    except OSError:
        pass
    mount.start()
    assert (mount.tree / "held").read_bytes() == b"not closed yet"
    assert mount.stop() == 0


def test_read_only_refuses_every_change(mounts: Mounts) -> None:
    mount = mounts.start("--read-only")
    for change in ((mount.tree / "f").touch, (mount.tree / "d").mkdir, lambda: os.chmod(mount.tree, 0o700)):
        with pytest.raises(OSError) as refused:
            change()
        assert refused.value.errno == errno.EROFS
    assert mount.stop() == 0


def test_durability_store_waits_for_the_commit(mounts: Mounts) -> None:
    mount = mounts.start("--durability", "store")
    (mount.tree / "f").write_text("x")
    assert [2, "write"] in mount.ask("requests")  # type: ignore[operator]
    mount.ask("set", "shipping", False)
    releaser = threading.Timer(1.0, lambda: mount.ask("set", "shipping", True))
    releaser.start()
    start = time.monotonic()
    (mount.tree / "f").write_text("waits")
    assert time.monotonic() - start > 0.5
    releaser.join()
    assert mount.stop() == 0


def test_a_hanging_notification_aborts_the_mount_instead_of_freezing_it(mounts: Mounts) -> None:
    mount = mounts.start()
    (mount.tree / "d").mkdir()
    (mount.tree / "d/f").write_text("kept")
    mount.settle()
    mount.ask("foreign", "create", "d/theirs")
    mount.settle()
    time.sleep(0.2)  # every notification is sent again after 50 ms
    for known in (mount.root, mount.tree, mount.tree / "d"):
        known.stat()  # so that the next call is the create itself, under the directory's lock
    mount.ask("hold", 20.0)
    time.sleep(0.1)
    maker = subprocess.Popen(
        [sys.executable, "-c", f"open({str(mount.tree / 'd/new')!r}, 'x')"], stderr=subprocess.DEVNULL
    )
    time.sleep(0.3)
    mount.ask("expire", "d", "f")
    assert mount.process.wait(10) == 70
    assert maker.wait(10) != 0
    mount._close()
    mount.start()
    assert (mount.tree / "d/f").read_text() == "kept"
    assert mount.stop() == 0


def test_debug_files_are_json_and_never_stale(mounts: Mounts) -> None:
    mount = mounts.start("--agent", "tester")
    first = json.loads((mount.root / "debug/position").read_text())
    (mount.tree / "f").write_text("x")
    mount.settle()
    second = json.loads((mount.root / "debug/position").read_text())
    assert (first["sequence"], second["sequence"], second["acked"], second["position"]) == (0, 2, 2, 2)
    for name in ("health", "flags", "stats", "last-denial"):
        assert isinstance(json.loads((mount.root / "debug" / name).read_text()), dict)
    assert b"weir_mount_position 2" in (mount.root / "debug/metrics").read_bytes()
    assert json.loads((mount.root / "debug/health").read_text())["problems"] == []
    for path in (mount.root / "new", mount.root / "debug/new"):
        with pytest.raises(OSError):
            path.touch()
    assert mount.stop() == 0


def test_a_stop_while_programs_write_ends_in_time(mounts: Mounts) -> None:
    mount = mounts.start()
    writer = subprocess.Popen(["sh", "-c", f"while echo x >> {mount.tree}/f; do :; done 2>/dev/null"])
    time.sleep(0.3)
    start = time.monotonic()
    mount.process.send_signal(signal.SIGTERM)
    assert mount.process.wait(10) == 0
    assert time.monotonic() - start < 5
    writer.kill()
    writer.wait()
    mount.stop()
