"""Two mounts of one project: what one writes the other shows, in order, and never stale after its position has passed."""

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest


def tree_of(folder: Path) -> str:
    """Hash type, mode, size, content, target and mtime of everything below a folder, by path."""
    total = hashlib.sha256()
    for place, folders, files in sorted(os.walk(folder)):
        for name in sorted(folders + files):
            path = Path(place) / name
            info = path.lstat()
            body = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            shown = (
                str(path.relative_to(folder)),
                info.st_mode,
                info.st_size if path.is_file() else 0,
                info.st_mtime_ns,
                info.st_nlink,
            )
            total.update(repr(shown).encode() + hashlib.sha256(body).digest())
    return total.hexdigest()


def seen_by(mount: Path) -> str:
    try:
        return tree_of(mount / "current" / "two-a")
    except OSError:
        return "it changed while it was walked"


def position(mount: Path) -> dict:
    return json.loads((mount / "debug" / "position").read_text())


@pytest.fixture
def second(stack, tmp_path: Path):
    place = stack.folder / "second"
    done = stack.weir("mount", str(place), "--agent", "reviewer")
    assert done.returncode == 0, done.stdout + done.stderr
    yield place
    assert stack.weir("umount", str(place)).returncode == 0


@pytest.mark.timeout(240)
def test_a_second_mount_shows_the_same_tree_within_a_second_of_the_last_close(stack, second: Path) -> None:
    folder = stack.current / "two-a"
    folder.mkdir()
    for number in range(300):
        (folder / f"d{number % 7}").mkdir(exist_ok=True)
        (folder / f"d{number % 7}" / f"f{number}").write_bytes(os.urandom(number * 50))
    os.symlink("d1/f1", folder / "link")
    os.link(folder / "d1" / "f1", folder / "hard")
    os.rename(folder / "d2", folder / "d2-moved")
    (folder / "d3" / "f3").chmod(0o600)
    closed = time.monotonic()
    wanted = tree_of(folder)
    while seen_by(second) != wanted:
        assert time.monotonic() - closed < 5, "the second mount shows another tree"
    print(f"\nequal {time.monotonic() - closed:.2f} s after the last close (both hashes included)")
    (second / "current" / "two-a" / "from-second").write_text("hello")
    end = time.monotonic() + 2
    while not (folder / "from-second").exists() or (folder / "from-second").read_text() != "hello":
        assert time.monotonic() < end, "the first mount does not show what the second wrote"
    printed = stack.weir("log", "two-a/from-second", "--json", "--limit", "1").stdout
    assert json.loads(printed)["agent"] == "reviewer"


@pytest.mark.timeout(240)
def test_a_file_that_the_other_mount_replaces_by_a_rename_is_at_no_time_absent(stack, second: Path) -> None:
    """Editors and agents save by a rename: a build on the other mount would fail on a missing file."""
    mine, theirs = stack.current / "replaced", second / "current" / "replaced"
    mine.write_text("0000" * 100)
    while not theirs.exists():
        time.sleep(0.01)
    stop, looks, missing = threading.Event(), [0], []

    def look() -> None:
        while not stop.is_set():
            try:
                os.stat(theirs)
                read = theirs.read_text()
                if read != read[:4] * (len(read) // 4):
                    missing.append(read)
            except OSError as error:
                missing.append(str(error))
            looks[0] += 1

    looking = [threading.Thread(target=look) for _ in range(3)]
    for each in looking:
        each.start()
    for number in range(3000):
        aside = mine.with_name("replaced.tmp")
        aside.write_text(f"{number:04}" * 100)
        aside.rename(mine)
    time.sleep(0.5)
    stop.set()
    for each in looking:
        each.join()
    assert looks[0] > 200
    assert missing == []


@pytest.mark.timeout(240)
def test_a_reader_on_the_other_mount_never_goes_back_and_is_never_stale(stack, second: Path) -> None:
    rounds = 500
    mine, theirs = stack.current / "polled", second / "current" / "polled"
    mine.write_text("0")
    while not theirs.exists():
        time.sleep(0.01)
    closed: dict[int, float] = {}
    stop = threading.Event()
    went_back, stale, seen = [], [], []

    def read() -> None:
        last = 0
        while not stop.is_set():
            before = time.monotonic()
            applied = position(second)["position"]  # the kernel has been told of it
            text = theirs.read_text()
            if not text:
                continue  # between O_TRUNC and the new content: an own version of the file, older than neither
            number = int(text)
            seen.append(number)
            if number < last:
                went_back.append((last, number))
            due = [n for n, at in list(closed.items()) if at < before - 1]
            known = [n for n, at in list(positions.items()) if at <= applied]
            if max(due, default=0) > number or max(known, default=0) > number:
                stale.append((number, max(due, default=0), max(known, default=0)))
            last = max(last, number)

    positions: dict[int, int] = {}
    reader = threading.Thread(target=read)
    reader.start()
    before = position(second)
    pubsub = json.loads((second / "debug" / "health").read_text())["feed"]
    for number in range(1, rounds + 1):
        mine.write_text(str(number))
        closed[number] = time.monotonic()
        if number % 25 == 0:
            here = position(stack.mount)
            while here["acked"] < here["sequence"]:
                here = position(stack.mount)
            positions[number] = here["applied"]
    end = time.monotonic() + 5
    while (not seen or seen[-1] != rounds) and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    reader.join()
    feed = json.loads((second / "debug" / "health").read_text())["feed"]
    arrived = feed["by_pubsub"] - pubsub["by_pubsub"]
    caught_up = feed["by_catch_up"] - pubsub["by_catch_up"]
    print(
        f"\n{len(seen)} reads of {rounds} rewrites from position {before['applied']}: {arrived} by pub/sub, {caught_up} by catch-up"
    )
    assert seen[-1] == rounds
    assert went_back == []
    assert stale == []
    assert caught_up <= (arrived + caught_up) / 1000
