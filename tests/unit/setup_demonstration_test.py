"""The file that `weir up` writes harms nobody's: not over a user's own, not through a link out of the project."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from app.core.errors import SetupError
from app.entry.cli.demonstration import FILE, NAMES_MAX, show_write, written
from app.ports import EventFilter, FileEventReader, LoggedEvent, LogHead

HEAD = LogHead(7, b"")


class Told:
    """See FileEventReader: what the store has of the file."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = outcomes

    def head(self) -> LogHead:
        return HEAD

    def log(self, wanted: EventFilter) -> Iterator[LoggedEvent]:
        assert (wanted.path, wanted.after) == (FILE.encode(), HEAD.position)
        for outcome in self.outcomes:
            yield LoggedEvent("files", 8, "write", 0, "", "", "", "", "task", FILE.encode(), 1, "", "", 1, 1, outcome, 1)


def shown(tmp_path: Path, *outcomes: str) -> dict[str, object]:
    (tmp_path / "current").mkdir()
    return show_write(tmp_path / "current", cast("FileEventReader", Told(*outcomes)), 0.05)


def test_a_write_that_becomes_no_event_is_an_error_and_not_taken_for_an_ignored_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="weir logs courier"):
        shown(tmp_path)


def test_a_write_that_a_rule_of_the_store_took_back_is_said_to_be_that(tmp_path: Path) -> None:
    assert "last-denial" in str(shown(tmp_path, "rejected")["skipped"])


def test_an_event_is_shown_with_its_position_and_task(tmp_path: Path) -> None:
    assert shown(tmp_path, "applied") == {"position": 8, "kind": "write", "path": FILE, "task_id": "task"}


def test_it_is_written_over_again_where_it_is_ours(tmp_path: Path) -> None:
    assert [written(tmp_path), written(tmp_path)] == [FILE, FILE]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_users_own_file_of_that_name_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("mine")
    assert written(tmp_path) == f"2-{FILE}"
    assert (tmp_path / FILE).read_text() == "mine"


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    outside, project = tmp_path / "outside", tmp_path / "project"
    project.mkdir()
    for text in ("secret", "Written by `weir up` (process 1)"):
        outside.write_text(text)
        for number in range(1, NAMES_MAX):
            name = FILE if number == 1 else f"{number}-{FILE}"
            (project / name).unlink(missing_ok=True)
            (project / name).symlink_to(outside)
        assert written(project) == f"{NAMES_MAX}-{FILE}"
        assert outside.read_text() == text
