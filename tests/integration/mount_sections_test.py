"""streams/ and debug/ on a real mount, read as people read files: cat, grep, tail -f, ls."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.adapters import stream_files  # noqa: E402
from app.adapters.stream_files import FolderStreams  # noqa: E402


@pytest.fixture
def mount(short_path: Path) -> Iterator[LoneMount]:
    found = LoneMount(short_path / "one")
    yield found
    found.stop()


@pytest.fixture
def files(mount: LoneMount) -> FolderStreams:
    return FolderStreams(mount.folder / "home" / "alone" / "streams")


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_tail_follows_a_stream_that_grows_and_one_that_is_begun_anew(
    mount: LoneMount, files: FolderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.append(b"line 0\n", {"claude": b"mine 0\n"})
    assert run("cat", str(mount.root / "streams" / "events")) == "line 0\n"
    follow = ["tail", "-F", "-s", "0.05", "-n", "+1", str(mount.root / "streams" / "events")]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline() == b"line 0\n"
        for number in range(1, 40):
            if number == 20:
                monkeypatch.setattr(stream_files, "EVENTS_BYTES_MAX", 200)
            files.append(b"line %d\n" % number, {"claude": b"mine %d\n" % number})
            time.sleep(0.15 if number > 18 and number < 23 else 0.01)
            assert tail.stdout.readline() == b"line %d\n" % number
        tail.terminate()
    assert run("grep", "-c", "mine", str(mount.root / "streams" / "agents" / "claude")) == "40\n"
    assert set(run("ls", str(mount.root / "streams")).split()) >= {"agents", "events"}
    assert run("tail", "-n", "1", str(mount.root / "streams" / "agents" / "claude")) == "mine 39\n"


def test_a_reader_goes_on_in_the_stream_that_it_opened(
    mount: LoneMount, files: FolderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.append(b"old\n", {})
    with (mount.root / "streams" / "events").open("rb", buffering=0) as reader:
        assert reader.read(4) == b"old\n"
        monkeypatch.setattr(stream_files, "EVENTS_BYTES_MAX", 1)
        files.append(b"two\n", {})
        assert run("cat", str(mount.root / "streams" / "events")) == "two\n"
        files.append(b"new\n", {})
        assert run("cat", str(mount.root / "streams" / "events")) == "new\n"
        assert run("cat", str(mount.root / "streams" / "events.1")) == "two\n"
        assert reader.read(4) == b""


def test_debug_files_say_something_new_each_time_they_are_opened(mount: LoneMount) -> None:
    debug = mount.root / "debug"
    before = json.loads(run("cat", str(debug / "position")))["sequence"]
    (mount.tree / "f").write_text("x")
    assert json.loads(run("cat", str(debug / "position")))["sequence"] == before + 2
    assert json.loads(run("cat", str(debug / "health")))["problems"] == []
    assert "commuting_fast_path" in json.loads(run("cat", str(debug / "flags")))
    assert run("grep", "-c", "^weir_mount_pending_operations ", str(debug / "metrics")) == "1\n"
    assert set(run("ls", str(debug)).split()) >= {"health", "metrics", "flags", "position", "last-denial"}


def test_nothing_above_the_project_can_be_changed(mount: LoneMount, files: FolderStreams) -> None:
    files.append(b"line\n", {"a": b"line\n"})
    for path in ("streams/events", "streams/agents/a", "debug/health"):
        with pytest.raises(OSError, match="."):
            (mount.root / path).write_text("mine")
        with pytest.raises(OSError, match="."):
            (mount.root / path).unlink()
        with pytest.raises(OSError, match="."):
            (mount.root / path).rename(mount.tree / "stolen")
    assert run("cat", str(mount.root / "streams" / "events")) == "line\n"


def modes(mount: LoneMount) -> dict[str, int]:
    paths = ("", "debug", "debug/health", "streams", "streams/events", "streams/agents")
    return {path: (mount.root / path).stat().st_mode & 0o777 for path in paths}


def read_by_nobody(mount: LoneMount, path: str) -> int:
    """Return the exit code of a cat by another user."""
    root = os.open(mount.root, os.O_RDONLY)  # the folders above are this user's alone
    try:
        command = ["cat", f"/proc/self/fd/{root}/{path}"]
        return subprocess.run(command, user=65534, pass_fds=[root], capture_output=True, check=False).returncode
    finally:
        os.close(root)


def test_what_other_agents_did_is_for_whoever_runs_the_mount(mount: LoneMount, files: FolderStreams) -> None:
    files.append(b"line\n", {})
    (mount.tree / "f").write_text("x")
    assert modes(mount) == {"": 0o555, "debug": 0o500, "debug/health": 0o400, "streams": 0o500, "streams/events": 0o400, "streams/agents": 0o500}
    if os.getuid() == 0:
        assert read_by_nobody(mount, "current/f") == 0
        assert read_by_nobody(mount, "debug/health") != 0
        assert read_by_nobody(mount, "streams/events") != 0


def test_the_sections_are_for_everybody_where_the_mount_was_asked_for_that(short_path: Path) -> None:
    mount = LoneMount(short_path / "open", "-o", "open_sections")
    FolderStreams(mount.folder / "home" / "alone" / "streams").append(b"line\n", {})
    assert modes(mount) == {"": 0o555, "debug": 0o555, "debug/health": 0o444, "streams": 0o555, "streams/events": 0o444, "streams/agents": 0o555}
    if os.getuid() == 0:
        assert read_by_nobody(mount, "debug/health") == read_by_nobody(mount, "streams/events") == 0
    assert mount.stop() == 0
