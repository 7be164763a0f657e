"""If these fail, a rule that a person took away stays in force, or each look at the rules costs every caller."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.adapters import file_changes
from app.adapters.file_changes import FileChanges


def _renamed_over(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text("two")
    fresh.rename(path)


def _exchanged(folder: Path) -> None:
    other = folder.with_name("other")
    other.mkdir()
    (other / "a.yaml").write_text("two")
    folder.rename(folder.with_name("old"))
    other.rename(folder)


CHANGES: dict[str, Callable[[Path], object]] = {
    "written in place": lambda folder: (folder / "a.yaml").write_text("two"),
    "cut short": lambda folder: os.truncate(folder / "a.yaml", 1),
    "new file": lambda folder: (folder / "b.yaml").write_text("b"),
    "removed": lambda folder: (folder / "a.yaml").unlink(),
    "put over by rename": lambda folder: _renamed_over(folder / "a.yaml"),
    "the folder changes places": _exchanged,
    "what a link names is written": lambda folder: (folder.parent / "elsewhere.yaml").write_text("two"),
    "what a link names is put over": lambda folder: _renamed_over(folder.parent / "elsewhere.yaml"),
    "what was missing is there": lambda folder: (folder.parent / "missing").mkdir(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "rules"
    made.mkdir()
    (made / "a.yaml").write_text("one")
    (tmp_path / "elsewhere.yaml").write_text("one")
    (made / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    return made


def changes_of(folder: Path) -> FileChanges:
    def paths() -> list[str]:
        inside = [str(path) for path in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []
        return [str(folder), *inside, str(folder.parent / "missing")]

    changes = FileChanges(paths)
    assert changes.maybe(), "nothing is known before the first look"
    return changes


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_once(folder: Path, change: str) -> None:
    changes = changes_of(folder)
    assert not changes.maybe()
    CHANGES[change](folder)
    assert changes.maybe()
    while changes.maybe():  # a file that is looked at anew may say so
        pass
    assert not changes.maybe()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_a_change_is_told(folder: Path, change: str) -> None:
    changes = changes_of(folder)
    (folder / "c.yaml").write_text("c")
    assert changes.maybe()
    CHANGES[change](folder)
    assert changes.maybe()


def test_a_child_leaves_its_parent_what_happened(folder: Path) -> None:
    changes = changes_of(folder)
    (folder / "a.yaml").write_text("two")
    child = os.fork()
    if not child:
        os._exit(0 if changes.maybe() and not changes.maybe() else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, "a child has watches of its own"
    assert changes.maybe(), "and the parent still hears of the change"


def test_without_a_watch_everything_may_have_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_changes, "_libc", SimpleNamespace(inotify_init1=lambda _: -1))
    changes = changes_of(folder)
    assert changes.maybe()
    assert changes.maybe()


def test_a_path_that_cannot_be_reached_ends_nothing(folder: Path) -> None:
    (folder / "far.yaml").symlink_to("x" * 255 + "/" + "y" * 255)
    (folder / "long.yaml").symlink_to("z" * 300)
    (folder / "loop.yaml").symlink_to("loop.yaml")
    changes = changes_of(folder)
    assert changes.maybe(), "what cannot be watched is looked at each time"


def test_files_that_leave_and_come_take_no_more_watches(folder: Path) -> None:
    changes = changes_of(folder)
    for number in range(20):
        (folder / "a.yaml").rename(folder.parent / f"old-{number}")
        (folder / "a.yaml").write_text("new")
        assert changes.maybe()
    facts = Path(f"/proc/self/fdinfo/{changes._descriptor}").read_text()
    assert facts.count("inotify wd") <= 5


def test_events_leave_nothing_behind_for_the_collector(folder: Path) -> None:
    changes = changes_of(folder)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for number in range(50):
            (folder / "a.yaml").write_text(f"{number}")
            assert changes.maybe()
        assert len(gc.get_objects()) - before < 50
    finally:
        gc.enable()
