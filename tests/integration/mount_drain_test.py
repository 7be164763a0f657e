"""A mount that is stopped leaves nothing half done: its journal ends with events, ready for the courier."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.adapters.journal.folder import MountFolder  # noqa: E402
from app.adapters.journal.reader import JournalReader  # noqa: E402
from app.core.frames import RecordType  # noqa: E402
from app.core.operations import decode_request  # noqa: E402

PROJECT = "0" * 32
LOCKED_S, LLFUSE_S, RESCUED_S = 8.0, 10.0, 25.0


def journalled(folder: Path) -> list[str]:
    """Return the types of all events in the journals of a mount."""
    home = MountFolder(folder / "home" / "alone", PROJECT)
    found: list[str] = []
    for incarnation in home.incarnations():
        reader = JournalReader(home.files(incarnation))
        for placed in reader.poll():
            if placed.record.type == RecordType.OPERATION:
                found.append(decode_request(placed.record.body).operation_type)
        reader.close()
    return found


def test_what_a_program_left_open_is_an_event_when_the_mount_has_stopped(short_path: Path) -> None:
    mount = LoneMount(short_path / "one")
    mount.ask("set", "shipping", False)
    held = (mount.tree / "held").open("wb", buffering=0)
    held.write(b"not closed yet")
    assert mount.stop() == 0
    try:
        held.close()
    except OSError:
        pass
    assert journalled(short_path / "one") == ["create", "write"]


def keep_writing(folder: Path, done: dict[str, bytes], doing: set[str]) -> None:
    """Make, rewrite, append to and rename files until the mount refuses; what returned is in `done`."""
    number = 0
    folder.mkdir()
    try:
        while True:
            number += 1
            name, data = f"f{number % 23}", os.urandom(500 + number * 977 % 150_000)
            doing.add(name)
            (folder / name).write_bytes(data)
            done[name] = data
            with (folder / name).open("ab", buffering=0) as file:
                file.write(b"more")
                done[name] = data + b"more"
            doing.discard(name)
            if number % 5 == 0:
                doing.update((name, "moved"))
                (folder / name).rename(folder / "moved")
                done["moved"] = done.pop(name)
                doing.clear()
    except OSError:
        pass


@pytest.mark.parametrize("deaf", ["", "1"], ids=["llfuse ends", "llfuse is deaf"])
def test_a_stop_amid_writers_ends_in_time_and_loses_nothing_that_returned(short_path: Path, deaf: str) -> None:
    mount = LoneMount(short_path / "one", environ={"ALONE_DEAF": deaf})
    done: list[dict[str, bytes]] = [{}, {}]
    doing: list[set[str]] = [set(), set()]
    writers = [
        threading.Thread(target=keep_writing, args=(mount.tree / f"w{at}", done[at], doing[at])) for at in (0, 1)
    ]
    for writer in writers:
        writer.start()
    time.sleep(0.7)
    told = time.monotonic()
    mount.process.send_signal(signal.SIGTERM)
    assert mount.process.wait(RESCUED_S) == 0
    took_s = time.monotonic() - told
    for writer in writers:
        writer.join()
    assert mount.stop() == 0
    mount.environ = {}
    mount.start()
    for at in (0, 1):
        assert len(done[at]) > 2, "nothing was written"
        for name, data in done[at].items():
            if name not in doing[at]:
                assert (mount.tree / f"w{at}" / name).read_bytes() == data, name
    mount.settle()
    mount.stop()
    print(f"stopped after {took_s:.2f} s")
    assert took_s < (RESCUED_S if deaf else LLFUSE_S)


def make_or_be_refused(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.mkdir()


@pytest.mark.parametrize("asks", [False, True], ids=["alone", "and another waits for it"])
def test_a_stop_while_a_handler_keeps_the_lock_ends_in_time_and_what_was_written_is_there_again(
    short_path: Path,
    asks: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    mount = LoneMount(short_path / "one")
    (mount.tree / "whole").write_bytes(b"closed")
    file = os.open(mount.tree / "open", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"not sealed yet")
    mount.ask("hold", 60)
    time.sleep(0.2)
    asking = threading.Thread(target=make_or_be_refused, args=(mount.tree / "x",))
    if asks:
        asking.start()
    time.sleep(0.2)
    told = time.monotonic()
    mount.process.send_signal(signal.SIGTERM)
    assert mount.process.wait(RESCUED_S) == 0
    took_s = time.monotonic() - told
    if asks:
        asking.join(RESCUED_S)
        assert not asking.is_alive()
    with contextlib.suppress(OSError):
        os.close(file)
    mount.stop()
    mount.start()
    assert (mount.tree / "whole").read_bytes() == b"closed"
    assert (mount.tree / "open").read_bytes() == b"not sealed yet"
    assert mount.stop() == 0
    print(f"stopped after {took_s:.2f} s")
    assert took_s < LOCKED_S
