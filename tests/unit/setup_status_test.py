"""What `weir status` says of a store that answers, however long it takes to ask."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.ports import LogHead, ProgramState
from app.services.alerts import Watched
from app.services.status import ANSWER_S, gather
from config.settings import load


class Running:
    def states(self) -> list[ProgramState]:
        return [ProgramState("store", "running", 1, 5, 0, "")]


class Nothing:
    def states(self) -> list[ProgramState]:
        return []


def slowly() -> SimpleNamespace:
    """A driver that is loaded on a busy machine."""
    time.sleep(ANSWER_S + 0.1)
    return SimpleNamespace(head=lambda _log: LogHead(7, b""), close=lambda: None)


@pytest.mark.thorough
def test_what_the_command_needs_to_load_itself_is_not_held_against_the_store(short_path: Path) -> None:
    settings = load({"WEIR_HOME": str(short_path)})
    found = gather(settings, "1", Running(), slowly, {}, Watched(lambda: "", dict, lambda: ""))
    assert found["logs"]["files"] == {"position": 7}
    assert not [problem for problem in found["problems"] if "event store" in problem]


def test_where_nothing_runs_that_is_all_that_is_said(short_path: Path) -> None:
    settings = load({"WEIR_HOME": str(short_path)})
    settings.run.mkdir()
    (settings.run / "flower.json").write_text('{"url": "http://127.0.0.1:5555", "user": "weir", "pid": 0}')
    found = gather(settings, "1", Nothing(), slowly, {}, Watched(lambda: "", dict, lambda: ""))
    assert found["problems"] == ["nothing runs: `weir up`"]
    assert found["flower"]["url"] == ""
