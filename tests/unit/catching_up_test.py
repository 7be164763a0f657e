"""An export that follows a copy must not lack what the copy wrote a moment ago."""

import json
from pathlib import Path

import pytest

from app.core.errors import StoreUnavailable
from app.services.catching_up import wait_for_mounts


def a_mount(folder: Path, sequence: int, acked: int, incarnation: int = 1) -> Path:
    (folder / "debug").mkdir(parents=True, exist_ok=True)
    said = {"incarnation": incarnation, "sequence": sequence, "acked": acked}
    (folder / "debug" / "position").write_text(json.dumps(said))
    return folder


def test_what_the_mount_had_is_waited_for_and_not_what_comes_later(tmp_path: Path) -> None:
    mount, told = a_mount(tmp_path, 10, 4), []

    def tell(stored: int, of: int) -> None:
        told.append((stored, of))
        a_mount(mount, 10 + 5 * len(told), 4 + 2 * len(told))

    wait_for_mounts([mount], 10, tell)
    assert told == [(0, 6), (2, 6), (4, 6)]


def test_who_waits_in_vain_is_told_how_much_is_missing_where_and_what_to_do(tmp_path: Path) -> None:
    mount = a_mount(tmp_path, 10, 4)
    with pytest.raises(StoreUnavailable, match=f"lacks 6 events that were written to {mount}.*--wait 0"):
        wait_for_mounts([mount], 0.1)


def test_a_mount_that_does_not_answer_or_starts_anew_is_not_waited_for(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "one", 10, 4)
    wait_for_mounts([tmp_path / "nowhere", mount], 10, lambda _stored, _of: a_mount(mount, 0, 0, incarnation=2) and None)
