"""What `weir status` alerts to, where nothing else tells."""

from pathlib import Path

import pytest

from app.services import alerts
from app.services.alerts import Watched, _denials, _dropped


def test_refusals_of_a_mount_that_nobody_ships_are_told_before_their_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "main" / "denials"
    folder.mkdir(parents=True)
    (folder / "a-000000.ws").write_bytes(b"x" * 1000)
    assert _denials(tmp_path) == []
    monkeypatch.setattr(alerts, "DENIALS_MAX_BYTES", 1000)
    (alert,) = _denials(tmp_path)
    assert "mount main" in alert.detail


def test_a_name_of_a_queue_that_a_stranger_wrote_cannot_steer_the_terminal() -> None:
    (alert,) = _dropped(Watched(lambda: "", lambda: {"files\x1b[2J\n" + "x" * 1000: 3}, lambda: ""))
    assert alert.detail.isprintable()
    assert len(alert.detail) < 200
