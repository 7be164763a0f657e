"""What streams/ shows: every event once and in order, or a line that says which were left out; never more than its bound."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import stream_files
from app.adapters.stream_files import FolderStreams
from app.core.errors import StoreUnavailable
from app.ports import EventFilter, LoggedEvent, LogHead
from app.services.streaming import BEHIND_MAX, PAGE, Streamer


class Log:
    """A files log of `head` events, made by two agents in turn."""

    def __init__(self, head: int = 0) -> None:
        self.last, self.away = head, False

    def head(self, log: str = "files") -> LogHead:
        if self.away:
            raise StoreUnavailable("away")
        return LogHead(self.last, b"")

    def log(self, wanted: EventFilter) -> Iterator[LoggedEvent]:
        for at in range(wanted.after + 1, min(self.last, wanted.after + wanted.limit) + 1):
            values = dict.fromkeys(LoggedEvent._fields, "") | {
                "log": "files", "position": at, "kind": "write", "at_ns": at, "path": b"p\xff", "agent": ("a/1", "b")[at % 2],
            }  # fmt: skip
            yield LoggedEvent(**values)  # type: ignore[arg-type]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_event_is_a_line_once_also_after_a_restart_and_a_cut_line(tmp_path: Path) -> None:
    log, files = Log(3), FolderStreams(tmp_path)
    assert Streamer(log, files).step() == 3
    log.last = 5
    with (tmp_path / "events").open("ab") as file:
        file.write(b'{"log": "files", "posi')  # killed in the middle of a line
    streamer = Streamer(log, files)
    assert (streamer.step(), streamer.step()) == (2, 0)
    assert [one["position"] for one in lines(tmp_path / "events")] == [1, 2, 3, 4, 5]
    assert lines(tmp_path / "events")[0]["path_b64"] == "cP8="
    assert [one["position"] for one in lines(tmp_path / "agents" / "b")] == [1, 3, 5]
    assert [one["position"] for one in lines(tmp_path / "agents" / "a%2F1")] == [2, 4]


def test_who_is_too_far_behind_is_told_what_was_left_out(tmp_path: Path) -> None:
    log = Log(2)
    streamer = Streamer(log, FolderStreams(tmp_path))
    streamer.step()
    log.last = BEHIND_MAX * 3
    streamer.step()
    skipped, *rest = lines(tmp_path / "events")[2:]
    assert (skipped["kind"], skipped["after"], skipped["position"]) == ("skipped", 2, log.last - PAGE)
    assert [one["position"] for one in rest] == list(range(log.last - PAGE + 1, log.last + 1))


def test_a_store_that_is_away_or_fell_back_ends_nothing(tmp_path: Path) -> None:
    log = Log(9)
    streamer = Streamer(log, FolderStreams(tmp_path))
    streamer.step()
    log.away = True
    with pytest.raises(StoreUnavailable):
        streamer.step()
    log.away, log.last = False, 4
    streamer.step()
    log.last = 6
    streamer.step()
    assert [one["kind"] for one in lines(tmp_path / "events")[9:]] == ["restarted", "write", "write"]


def test_streams_are_bounded_in_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_files, "EVENTS_BYTES_MAX", 1000)
    monkeypatch.setattr(stream_files, "AGENTS_MAX", 3)
    files = FolderStreams(tmp_path)
    for number in range(50):
        files.append(b"x" * 99 + b"\n", {f"agent {number}": b"y\n", "../../etc": b"z\n", "." * 300: b"d\n"})
    assert sum(path.stat().st_size for path in tmp_path.glob("events*")) <= 2000
    assert len(list((tmp_path / "agents").iterdir())) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agents", "events", "events.1"]
    assert not (tmp_path / "etc").exists()
