"""What workers promise about escalations, on doubles that implement the ports: one end a ticket, and never by accident."""

from collections.abc import Sequence

import pytest

from app.core.decisions import DecisionRecord
from app.core.errors import BrokerUnavailable, PayloadRefused, RequestInvalid, Unavailable
from app.core.messages import decode, encode
from app.ports import Ticket
from app.services import approving, one_reply
from app.services.approving import Approver
from app.services.escalation import (
    AGENT_MAX,
    ANSWER,
    ESCALATE,
    AnswerReply,
    AnswerRequest,
    EscalationReply,
    EscalationRequest,
    Escalations,
)

PROJECT = "p" * 32


class Cabinet:
    """Tickets in dictionaries."""

    def __init__(self) -> None:
        self.rows: dict[str, Ticket] = {}
        self.ends: dict[str, DecisionRecord] = {}
        self.agents: list[str] = []

    def open(self, ticket: Ticket, agent_max: int, all_max: int) -> bool:
        if ticket.id in self.rows:
            return True
        if [row.agent for row in self.rows.values()].count(ticket.agent) >= agent_max:
            return False
        self.rows[ticket.id] = ticket
        return True

    def request(self, ticket: str) -> bytes | None:
        return self.rows[ticket].request if ticket in self.rows else None

    def due(self, now_ms: int, limit: int) -> Sequence[bytes]:
        return [row.request for row in self.rows.values() if row.deadline_at_ms <= now_ms][:limit]

    def waiting(self, limit: int) -> Sequence[bytes]:
        return [row.request for row in self.rows.values()][:limit]

    def end(self, ticket: str, record: DecisionRecord) -> DecisionRecord:
        stands = self.ends.setdefault(ticket, record)
        self.rows.pop(ticket, None)
        return stands

    def ended(self, ticket: str) -> DecisionRecord | None:
        return self.ends.get(ticket)

    def close(self) -> None: ...


class Lists:
    """Reply lists."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, bytes]] = []

    def push(self, address: str, payload: bytes) -> None:
        self.pushed.append((address, payload))

    def told(self, address: str = "gateway") -> list[str]:
        return [decode(EscalationReply, payload).state for to, payload in self.pushed if to == address]

    def said(self, address: str) -> AnswerReply:
        return [decode(AnswerReply, payload) for to, payload in self.pushed if to == address][-1]


class Wax:
    """A Seal whose secret is a word."""

    def sign(self, place: bytes, body: bytes) -> bytes:
        return b"wax" + place + body

    def open(self, place: bytes, value: bytes) -> bytes | None:
        mark = b"wax" + place
        return value[len(mark) :] if value.startswith(mark) else None


class Office:
    """The service on its doubles."""

    def __init__(self) -> None:
        self.cabinet, self.lists = Cabinet(), Lists()
        self.service = Escalations(PROJECT, self.cabinet, self.lists, Wax())

    def ask(self, ticket: str = "d1", now_ms: int = 0, **fields) -> str:
        return self.service.open(sealed(request(ticket, **fields)), now_ms, "task").state

    def answer(
        self, verdict: str, by: str, ticket: str = "d1", now_ms: int = 10, project: str = PROJECT
    ) -> AnswerReply:
        asked = AnswerRequest(1, project, f"request-of-{by}", by, ticket, verdict, by, "because")
        self.service.answer(Wax().sign(ANSWER.encode(), encode(asked)), now_ms, "task")
        return self.lists.said(by)


def request(ticket: str, agent: str = "a1", project: str = PROJECT, deadline_at_ms: int = 1000) -> EscalationRequest:
    return EscalationRequest(
        1, project, ticket, "gateway", 0, deadline_at_ms, agent, "s", "t", "Bash", "/x", b"{}", ("r1",), "why", "v1"
    )


def sealed(asked: EscalationRequest) -> bytes:
    return Wax().sign(ESCALATE.encode(), encode(asked))


@pytest.fixture
def office() -> Office:
    return Office()


def test_an_escalation_that_is_kept_is_acknowledged_however_often_it_comes(office) -> None:
    assert [office.ask(), office.ask()] == ["waiting", "waiting"]
    assert office.lists.told() == ["waiting", "waiting"]
    assert list(office.cabinet.rows) == ["d1"]


@pytest.mark.parametrize(("verdict", "word"), [("approve", "approved"), ("block", "denied")])
def test_a_person_s_answer_is_recorded_whole_before_anybody_is_told(office, verdict, word) -> None:
    office.ask()
    said = office.answer(verdict, "ann")
    assert (said.won, said.state, said.reason) == (True, verdict, f"{word} by ann: because")
    record = office.cabinet.ends["d1"]
    assert (record.verdict, record.layer, record.agent, record.tool, record.input) == (
        verdict,
        "person",
        "a1",
        "Bash",
        b"{}",
    )
    assert (record.id, record.duration_us, record.task_id) == ("d1.request-of-ann", 10_000, "task")
    assert office.lists.told() == ["waiting", verdict]


def test_of_two_people_the_first_wins_and_the_second_is_told_what_stands(office) -> None:
    office.ask()
    first, second = office.answer("block", "ann"), office.answer("approve", "bob")
    assert (first.won, second.won, second.state) == (True, False, "block")
    assert "ann" in second.reason
    assert office.cabinet.ends["d1"].verdict == "block"


def test_an_answer_that_is_sent_again_has_still_won(office) -> None:
    office.ask()
    assert [office.answer("approve", "ann").won for _ in range(2)] == [True, True]


def test_a_late_approval_is_a_block(office) -> None:
    office.ask()
    said = office.answer("approve", "ann", now_ms=1000)
    assert (said.won, said.state, said.layer) == (False, "block", "deadline")
    assert office.lists.told() == ["waiting", "block"]


def test_an_unanswered_escalation_is_blocked_at_its_deadline_and_not_before(office) -> None:
    office.ask()
    assert office.service.expire(999, "task") == 0
    assert office.service.expire(1000, "task") == 1
    assert office.service.expire(2000, "task") == 0
    assert office.lists.told() == ["waiting", "block"]


def test_who_asks_again_after_the_deadline_gets_the_block_without_waiting_for_the_clean_up(office) -> None:
    office.ask()
    assert office.ask(now_ms=1000) == "block"
    assert office.ask("lost and found", now_ms=1000) == "block"


def test_an_ended_ticket_is_never_opened_again(office) -> None:
    office.ask()
    office.answer("block", "ann")
    assert office.ask() == "block"
    assert not office.cabinet.rows


def test_one_agent_cannot_fill_the_cabinet(office) -> None:
    states = [office.ask(f"d{n}") for n in range(AGENT_MAX + 2)]
    assert states == ["waiting"] * AGENT_MAX + ["block"] * 2
    assert office.ask("other", agent="a2") == "waiting"
    assert "wait for a person already" in office.cabinet.ends[f"d{AGENT_MAX}"].reason


def test_an_unknown_ticket_cannot_be_approved_ahead(office) -> None:
    assert (office.answer("approve", "ann").state, office.cabinet.ends) == ("", {})
    assert office.ask() == "waiting"


def test_what_is_not_sealed_neither_asks_nor_answers(office) -> None:
    office.ask()
    forged = encode(AnswerRequest(1, PROJECT, "r", "evil", "d1", "approve", "ann", ""))
    moved = Wax().sign(ESCALATE.encode(), forged)
    for junk in (forged, moved, b"", sealed(request("d1"))):
        with pytest.raises(PayloadRefused):
            office.service.answer(junk, 1, "task")
    with pytest.raises(PayloadRefused):
        office.service.open(encode(request("d2")), 1, "task")
    assert (office.cabinet.ends, list(office.cabinet.rows)) == ({}, ["d1"])


def test_a_message_of_another_project_or_with_another_verdict_is_refused(office) -> None:
    office.ask()
    with pytest.raises(PayloadRefused):
        office.ask("foreign", project="q" * 32)
    with pytest.raises(PayloadRefused):
        office.answer("approve", "ann", project="q" * 32)
    with pytest.raises(PayloadRefused):
        office.answer("escalate", "ann")
    assert not office.cabinet.ends


def test_a_row_of_an_older_build_does_not_hold_up_the_others(office) -> None:
    office.cabinet.open(Ticket("old", "a", 1, b"\xc1"), 9, 9)
    office.ask()
    office.service.expire(1000, "task")
    assert list(office.cabinet.ends) == ["d1"]


class Wire:
    """Tasks and reply box of an approver; `lost` sends go nowhere."""

    address = "cli"

    def __init__(self, office: Office, lost: int = 0) -> None:
        self.office, self.lost, self.sent = office, lost, 0

    def send(self, name: str, payload: bytes, queue: str) -> str:
        self.sent += 1
        if self.lost >= self.sent:
            return "lost"
        self.office.service.answer(payload, 10, "task")
        return "task"

    def wait(self, timeout_s: float) -> bytes | None:
        return next((payload for to, payload in self.office.lists.pushed if to == "cli"), None)


def approver(wire: Wire) -> Approver:
    return Approver(PROJECT, wire, wire, Wax())


def test_an_answer_that_the_broker_loses_is_sent_again(office, monkeypatch) -> None:
    monkeypatch.setattr(one_reply, "RESEND_S", 0.0)
    office.ask()
    wire = Wire(office, lost=2)
    said = approver(wire).answer("d1", "approve", "ann", "")
    assert (said.won, said.state, wire.sent) == (True, "approve", 3)


def test_an_approver_says_that_nobody_knows_the_ticket_or_that_nobody_answers(office, monkeypatch) -> None:
    with pytest.raises(RequestInvalid, match="weir approvals"):
        approver(Wire(office)).answer("d9", "approve", "ann", "")
    with pytest.raises(RequestInvalid, match="--reason"):
        approver(Wire(office)).answer("d9", "approve", "ann", "x" * 501)
    monkeypatch.setattr(approving, "PATIENCE_S", 0.05)
    with pytest.raises(Unavailable, match="weir status"):
        approver(Wire(office, lost=1_000_000)).answer("d9", "approve", "ann", "")


def test_a_gateway_that_cannot_be_told_does_not_undo_the_answer(office) -> None:
    class Gone(Lists):
        def push(self, address: str, payload: bytes) -> None:
            raise BrokerUnavailable("gone")

    office.ask()
    office.service = Escalations(PROJECT, office.cabinet, Gone(), Wax())
    with pytest.raises(BrokerUnavailable):
        office.answer("block", "ann")
    assert office.cabinet.ends["d1"].verdict == "block"
