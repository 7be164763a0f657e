"""The file that `weir up` writes harms nobody's: not over a user's own, not through a link out of the project."""

from pathlib import Path

from app.entry.cli.demonstration import FILE, NAMES_MAX, written


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
