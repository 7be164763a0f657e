"""A journal that is damaged or is not ours, as a mount finds it at its start: what it costs, and where that is told."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.services.status import MountPlace, mount_alerts  # noqa: E402


@pytest.fixture
def mount(short_path: Path) -> Iterator[LoneMount]:
    """A mount of which the store has nothing yet: it was killed, and lives on in its journal."""
    found = LoneMount(short_path / "one", environ={"ALONE_SHIPS": "0"})
    for number in range(20):
        (found.tree / f"f{number}").write_bytes(b"%d" % number)
    found.kill()
    os.system(f"umount -l {found.root}")
    yield found
    found.stop()


def journal(mount: LoneMount) -> Path:
    (path,) = sorted((mount.folder / "home" / "alone" / "journal").glob("*.wj"))
    return path


def health(mount: LoneMount) -> dict:
    return json.loads((mount.root / "debug" / "health").read_text())


@pytest.mark.parametrize("damage", ["cut", "flipped", "appended"])
def test_an_unreadable_tail_costs_what_it_holds_and_nothing_before_and_is_told(mount: LoneMount, damage: str) -> None:
    path = journal(mount)
    whole = path.read_bytes()
    tails = {"cut": whole[:-7], "flipped": whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:], "appended": whole + b"\0" * 50 + b"x" * 49}
    path.write_bytes(tails[damage])
    mount.start()
    held = {entry.name: entry.read_bytes() for entry in mount.tree.iterdir()}
    kept = 20 if damage == "appended" else 19
    assert {name: held[name] for name in held if name != "f19"} == {f"f{n}": b"%d" % n for n in range(19)}
    assert sum(held.get(f"f{n}") == b"%d" % n for n in range(20)) >= kept
    said = health(mount)
    assert said["journal_damage"][0]["offset"] <= len(whole)
    assert any("unreadable tail" in problem for problem in said["problems"])
    (alert,) = mount_alerts(MountPlace("one", str(mount.root)), said)
    assert "unreadable tail" in alert.detail


def test_zeros_behind_the_last_record_are_a_clean_end(mount: LoneMount) -> None:
    path = journal(mount)
    path.write_bytes(path.read_bytes() + b"\0" * 99)
    mount.start()
    assert {entry.name: entry.read_bytes() for entry in mount.tree.iterdir()} == {f"f{n}": b"%d" % n for n in range(20)}
    assert not health(mount)["journal_damage"]


def test_a_mount_does_not_start_over_a_journal_of_another_origin_and_keeps_it(mount: LoneMount, short_path: Path) -> None:
    other = LoneMount(short_path / "two", environ={"ALONE_SHIPS": "0"})
    (other.tree / "mine").write_text("mine")
    other.stop()
    stolen = journal(other).with_name("0000000007-000000.wj")
    shutil.copy(journal(mount), stolen)
    with pytest.raises(AssertionError, match="JournalForeign: journal of project"):
        other.start()
    other.stop()
    assert stolen.read_bytes() == journal(mount).read_bytes()
    stolen.unlink()
    other.start()
    assert os.listdir(other.tree) == ["mine"]
    other.stop()
