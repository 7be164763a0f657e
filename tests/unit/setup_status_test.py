"""What `weir status` says of a store that answers, however long it takes to ask."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.errors import SetupError
from app.ports import LogHead, ProgramState
from app.services.alerts import Watched
from app.services.doctor import Outside, examine
from app.services.status import ANSWER_S, gather
from config.settings import load


class Running:
    def alive(self) -> bool:
        return True

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


def missing() -> list[tuple[str, str]]:
    raise SetupError("no server at /a: b", "get one: `apt-get install it`")


def test_what_a_program_says_is_told_whole_and_its_remedy_is_one(short_path: Path) -> None:
    settings = load({"WEIR_HOME": str(short_path)})
    said = "does not answer a ping (redis: ResponseError: MISCONF Redis is configured: to save)"
    watched = Watched(lambda: "", dict, lambda: "")
    outside = Outside(missing, lambda _p: "fuse", Running(), {"store": lambda: said}, one_store, watched)
    found = {one.name: (one.detail, one.remedy) for one in examine(settings, outside) if not one.ok}
    assert found["process"] == (f"store does not serve yet, it {said}", "`weir logs store`")
    assert found["servers"] == ("no server at /a: b", "get one: `apt-get install it`")


def one_store() -> SimpleNamespace:
    return SimpleNamespace(heads=dict, close=lambda: None)
