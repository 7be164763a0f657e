"""A replay judges what was recorded, each decision once however the batches fall, and names what would differ."""

import itertools
from pathlib import Path

import msgspec
import pytest

from app.adapters.policy_files import Place
from app.adapters.rule_book import FolderRuleBook
from app.core.decisions import RECORD_FORMAT, DecisionRecord
from app.core.errors import BrokerUnavailable, PayloadRefused, RequestInvalid, Unavailable
from app.core.messages import decode
from app.ports import LoggedDecision
from app.services import one_reply, replay_asking
from app.services.one_reply import Asker
from app.services.replay_asking import Wish, record_at, replay
from app.services.replaying import Cursor, Replayer, ReplayRequest


def record(number: int, command: str, verdict: str = "approve", layer: str = "policy", agent: str = "a"):
    given = msgspec.json.encode({"command": command})
    return DecisionRecord(
        RECORD_FORMAT, number, number, f"d{number}", agent, "", "", "Bash", "/home/dev/project", given, verdict, ("r",),
        "", layer, False, False, "v", 1,
    )  # fmt: skip


class Log:
    """The decisions log in memory, in rows of `row` records, read as Postgres would."""

    def __init__(self, records, row: int) -> None:
        self.all = [LoggedDecision(1 + n // row, n % row, "", "s", one) for n, one in enumerate(records)]
        self.read = 0

    def decisions(self, wanted):
        found = self.all if wanted.ascending else self.all[::-1]
        left = wanted.limit
        for one in found:
            if one.position <= wanted.after or (wanted.before and one.position >= wanted.before) or not left:
                continue
            if wanted.agent in {"", one.record.agent} and one.record.at_ns >= wanted.since_ns:
                left -= 1
                self.read += 1
                yield one


class Line:
    """Broker and reply list between one asker and one worker; the first `lost` messages do not arrive."""

    address = "reply:1"

    def __init__(self, worker=None, lost: int = 0) -> None:
        self.worker, self.lost = worker, lost
        self.waiting: list[bytes] = []
        self.sent: list[ReplayRequest] = []

    def send(self, name: str, payload: bytes, queue: str) -> str:
        assert (name, queue) == ("weir.replay", "maintenance")
        request = decode(ReplayRequest, payload)
        self.sent.append(request)
        if self.lost:
            self.lost -= 1
        elif self.worker is not None:
            self.worker.replay(request)
        return "t"

    def push(self, address: str, payload: bytes) -> None:
        assert address == self.address
        self.waiting.append(payload)

    def wait(self, timeout_s: float) -> bytes | None:
        return self.waiting.pop(0) if self.waiting else None


@pytest.fixture
def book(tmp_path: Path) -> FolderRuleBook:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.yaml").write_text(
        "rules:\n"
        "  - {id: no, match: Bash(rm *), decide: block, reason: Because.}\n"
        "  - {id: yes, match: Bash(ls *), decide: approve, reason: Because.}\n"
        "  - {id: main, match: Bash(git *), decide: approve, reason: Because., when: {branch: main}}\n"
    )
    return FolderRuleBook([Place(tmp_path / "p")], tmp_path / "home")


def ring(book: FolderRuleBook, log: Log, lost: int = 0) -> Line:
    line = Line(lost=lost)
    line.worker = Replayer("p", book, log, line)
    return line


def asked(line: Line, wish: Wish):
    return replay(Asker(line, line), "p", wish, lambda _: None)


@pytest.mark.parametrize("row", [1, 7, 256])
def test_each_decision_is_judged_once_however_batches_and_rows_fall(
    book: FolderRuleBook, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_asking, "BATCH_MAX", 10)
    log = Log([record(n, "rm x" if n % 3 == 0 else "ls") for n in range(1, 98)], row)
    line = ring(book, log)
    found = asked(line, Wish(book.keep(book.now(), tried=True), 10_000))
    assert (found.judged, found.skipped, found.differ) == (97, 0, 32)
    assert found.counts == {("approve", "approve"): 65, ("approve", "block"): 32}
    places = [(one.position, one.leaf) for one in found.changes]
    assert places == sorted(set(places), reverse=True)
    assert len(line.sent) == 10
    assert record_at(log, *places[0]).input == b'{"command":"rm x"}'
    assert asked(line, Wish(book.now() and book.keep(book.now(), tried=True), 25)).judged == 25


def test_what_people_deadlines_and_agents_of_no_interest_decided_is_left_out(book: FolderRuleBook) -> None:
    records = [
        record(1, "ls", "block", "person"),
        record(2, "ls", "block", "border"),
        record(3, "ls", "escalate", "degraded"),
        record(4, "git status", "approve"),
        record(5, "rm x", "approve", agent="b"),
    ]
    records.append(msgspec.structs.replace(records[0], layer="policy", input=b"[]"))
    found = asked(ring(book, Log(records, 4)), Wish(book.keep(book.now(), tried=True), 100, agent="a"))
    assert (found.judged, found.skipped, found.unsure) == (2, 3, 1)
    assert found.counts == {("escalate", "approve"): 1, ("approve", "escalate"): 1}


def test_a_lost_message_is_sent_again_and_a_replay_that_comes_twice_counts_once(
    book: FolderRuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_reply, "RESEND_S", 0.0)
    monkeypatch.setattr(replay_asking, "BATCH_MAX", 3)
    line = ring(book, Log([record(n, "rm x") for n in range(10)], 2), lost=2)
    found = asked(line, Wish(book.keep(book.now(), tried=True), 100))
    assert (found.judged, found.differ) == (10, 10)
    assert len({one.request_id for one in line.sent}) == 4
    assert len(line.sent) > 4


def test_rules_that_are_not_kept_any_more_and_workers_that_are_away_are_said(
    book: FolderRuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestInvalid, match="no kept version"):
        asked(ring(book, Log([record(1, "ls")], 1)), Wish("0123", 10))
    monkeypatch.setattr(replay_asking, "PATIENCE_S", 0.02)
    with pytest.raises(Unavailable, match="weir status"):
        asked(Line(), Wish("0123", 10))

    class Gone(Line):
        def send(self, name: str, payload: bytes, queue: str) -> str:
            raise BrokerUnavailable("gone")

    with pytest.raises(BrokerUnavailable):
        asked(Gone(), Wish("0123", 10))


def test_another_projects_replay_is_refused_and_a_batch_is_bounded(book: FolderRuleBook) -> None:
    log = Log([record(n, "rm x") for n in range(3_000)], 256)
    line = ring(book, log)
    version = book.keep(book.now(), tried=True)
    request = ReplayRequest(1, "p", "q", line.address, version, Cursor(), 1_000_000)
    summary = line.worker.replay(request)
    assert summary.judged == 1_000
    assert log.read <= 1_000 + 256
    with pytest.raises(PayloadRefused):
        line.worker.replay(msgspec.structs.replace(request, project="other"))
    assert list(itertools.islice(line.waiting, 2))[1:] == []
