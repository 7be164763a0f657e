"""Tickets for changes that rules escalate: whom a person's leave is for, what it covers, and who has the last word."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.adapters.redis.signing import Signer
from app.adapters.ticket_folder import TicketFolder
from app.core.decisions import RECORD_FORMAT, DecisionRecord
from app.core.errors import BrokerUnavailable
from app.core.grants import KEPT_NS, Grant, shown
from app.core.messages import FORMAT, decode, encode
from app.core.operations import FileOperationRequest, SetAttr
from app.core.policy import RuleFile, compile_policy
from app.core.policy.source import Tier
from app.services.escalation import ESCALATE, EscalationReply, EscalationRequest
from app.services.path_check import PathCheck
from app.services.ticket_shipping import TicketShipper
from app.services.write_leave import LEAVE_S, OPEN_MAX, WriteLeave

NOW_S = 1_000_000.0
PATIENCE_S = 300.0


def refused(operation: str = "write", path: bytes = b"site.pem", agent: str = "a1", verdict: str = "escalate", **more) -> DecisionRecord:
    given = json.dumps(shown(operation, path)).encode()
    record = DecisionRecord(
        RECORD_FORMAT, 0, int(NOW_S * 1e9), uuid.uuid4().hex, agent, "s", "t", "filesystem", "", given, verdict,
        ("keys",), "Keys are a person's business.", "mount", False, False, "v", 1,
    )  # fmt: skip
    return msgspec.structs.replace(record, **more)


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def box(tmp_path: Path) -> TicketFolder:
    return TicketFolder(tmp_path / "tickets")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def leave(box: TicketFolder, clock: Clock) -> WriteLeave:
    return WriteLeave("p", box, PATIENCE_S, clock)


def approve(box: TicketFolder, ticket: str, folder: Path, at_s: float = NOW_S) -> None:
    box.end(ticket, approved=True)
    os.utime(folder / "tickets" / f"{ticket}.approve", (at_s, at_s))


@pytest.mark.parametrize(
    ("given", "wanted", "covered"),
    [
        ("write", "write", True),
        ("create", "write", True),
        ("write", "truncate", True),
        ("write", "setattr", True),
        ("write", "unlink", False),
        ("write", "rename", False),
        ("setattr", "write", False),
        ("unlink", "rmdir", True),
        ("unlink", "write", False),
        ("rename", "write", True),
        ("write", "something new", False),
    ],
)
def test_leave_covers_a_change_and_what_goes_with_it(given: str, wanted: str, covered: bool) -> None:
    assert Grant("t", "a", "s", given, b"x").covers(wanted, b"x", "a", "s") is covered


@pytest.mark.parametrize(("path", "agent", "session"), [(b"y", "a", "s"), (b"x/y", "a", "s"), (b"x", "b", "s"), (b"x", "a", "")])
def test_leave_is_for_one_path_and_one_agent_in_one_session(path: bytes, agent: str, session: str) -> None:
    assert not Grant("t", "a", "s", "rename", b"x").covers("write", path, agent, session)


def test_the_same_change_asked_again_has_the_same_ticket_and_another_one_its_own(box: TicketFolder, clock: Clock) -> None:
    asking = leave(box, clock)
    ticket = asking.ask(refused())
    assert ticket
    assert asking.ask(refused()) == ticket
    assert asking.ask(refused(agent="a2")) not in ("", ticket)
    assert asking.ask(refused(path=b"\xff.pem")) not in ("", ticket)
    assert len(box.waiting()) == 3
    assert leave(box, clock).ask(refused()) == ticket, "a mount that starts again forgot what waits"
    clock.now_s += PATIENCE_S
    assert asking.ask(refused()) not in ("", ticket), "nobody can answer the old one any more"


def test_what_is_approved_passes_for_a_while_and_what_is_denied_does_not(box: TicketFolder, clock: Clock, tmp_path: Path) -> None:
    asking = leave(box, clock)
    ticket, denied = asking.ask(refused()), asking.ask(refused(path=b"other.pem"))
    assert asking.lifted("write", b"site.pem", "a1", "s") == ""
    approve(box, ticket, tmp_path)
    box.end(denied, approved=False)
    asking.refresh()
    for one in (asking, leave(box, clock)):
        assert one.lifted("write", b"site.pem", "a1", "s") == ticket
        assert one.lifted("write", b"site.pem", "a2", "s") == ""
        assert one.lifted("unlink", b"site.pem", "a1", "s") == ""
        assert one.lifted("write", b"other.pem", "a1", "s") == ""
    clock.now_s += LEAVE_S
    assert asking.lifted("write", b"site.pem", "a1", "s") == ""
    os.utime(tmp_path / "tickets" / f"{denied}.block", (NOW_S, NOW_S))
    assert not asking.refresh()
    assert list((tmp_path / "tickets").iterdir()) == [], "what is over stays on the disk"


def test_more_than_a_person_can_read_are_not_opened_and_a_full_disk_opens_none(box: TicketFolder, clock: Clock, tmp_path: Path) -> None:
    asking = leave(box, clock)
    assert all(asking.ask(refused(path=b"%d" % number)) for number in range(OPEN_MAX))
    assert asking.ask(refused(path=b"one more")) == ""
    (tmp_path / "no folder").write_text("")
    assert leave(TicketFolder(tmp_path / "no folder"), clock).ask(refused()) == ""


@pytest.mark.parametrize("given", [b"", b"{}", b"[]", b'{"operation": "write"}', b'{"operation": "write", "path_b64": "*"}', b'{"path": 5}'])
def test_what_is_no_change_has_no_ticket(box: TicketFolder, clock: Clock, given: bytes) -> None:
    assert leave(box, clock).ask(refused(input=given)) == ""
    assert leave(box, clock).ask(refused(tool="Bash")) == ""


class Broker:
    """Tasks and replies of a courier; `says` are the replies to come."""

    address = "here"

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, str]] = []
        self.says: list[bytes] = []
        self.away = False

    def send(self, name: str, payload: bytes, queue: str) -> str:
        if self.away:
            raise BrokerUnavailable("away")
        self.sent.append((name, payload, queue))
        return "id"

    def wait(self, timeout_s: float) -> bytes | None:
        return self.says.pop(0) if self.says else None


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def shipper(box: TicketFolder, broker: Broker) -> Iterator[TicketShipper]:
    yield TicketShipper(box, broker, broker, Signer(b"k" * 32))


def says(broker: Broker, ticket: str, state: str) -> None:
    broker.says.append(encode(EscalationReply(FORMAT, ticket, state)))


def test_a_ticket_is_sent_until_a_worker_has_it_and_its_end_is_kept(box: TicketFolder, clock: Clock, broker: Broker, shipper: TicketShipper) -> None:
    ticket = leave(box, clock).ask(refused())
    for now_s in (100.0, 101.0, 103.1):
        assert shipper.step(now_s)
    assert len(broker.sent) == 2
    name, payload, queue = broker.sent[0]
    assert (name, queue) == (ESCALATE, "experts")
    request = decode(EscalationRequest, Signer(b"k" * 32).open(ESCALATE.encode(), payload))
    assert (request.ticket, request.reply_to, request.agent, request.tool) == (ticket, "here", "a1", "filesystem")
    assert request.deadline_at_ms == (NOW_S + PATIENCE_S) * 1000
    says(broker, ticket, "waiting")
    shipper.step(104.0)
    shipper.step(110.0)
    assert len(broker.sent) == 2, "a ticket that a worker has is sent on"
    shipper.step(114.1)
    assert len(broker.sent) == 3, "an end that got lost is not asked for"
    says(broker, "0" * 32, "approve")
    shipper.step(115.0)
    assert box.waiting()
    says(broker, ticket, "approve")
    shipper.step(116.0)
    assert not box.waiting()
    assert [(name, end.approved) for name, end in box.ended()] == [(ticket, True)]
    assert not shipper.step(117.0)


def test_a_ticket_outlives_a_broker_that_is_away(box: TicketFolder, clock: Clock, broker: Broker, shipper: TicketShipper) -> None:
    leave(box, clock).ask(refused())
    broker.away = True
    with pytest.raises(BrokerUnavailable):
        shipper.step(1.0)
    broker.away = False
    shipper.step(2.0)
    assert len(broker.sent) == 1


RULES = [
    {"id": "keys", "touch": {"path": ["*.pem"]}, "on": ["write"], "decide": "escalate", "reason": "Ask."},
    {"id": "never", "touch": {"path": ["root.pem"]}, "on": ["write"], "decide": "block", "reason": "No."},
]


def request(decision: str, agent: str = "a1", kind: str = "setattr", at_ns: int = int(NOW_S * 1e9)) -> FileOperationRequest:
    return FileOperationRequest(1, at_ns, kind, b"", agent, "s", "t", SetAttr(5), decision)


def test_the_store_lets_pass_what_the_log_says_was_approved_and_nothing_else() -> None:
    ends = {
        "yes": refused(verdict="approve"),
        "root": refused(path=b"root.pem", verdict="approve"),
        "no": refused(verdict="block"),
        "bash": refused(verdict="approve", tool="Bash"),
    }
    asked: list[str] = []

    def ended(ticket: str) -> DecisionRecord | None:
        asked.append(ticket)
        return ends.get(ticket)

    check = PathCheck(compile_policy([RuleFile("r", Tier.USER, RULES, [1, 2], b"")]), ended)
    assert check.path(b"free", request("")) is None
    assert asked == [], "the log is asked though no rule speaks"
    assert check.path(b"site.pem", request("yes")) is None
    assert check.path(b"site.pem", request("no yes")) is None
    for refusing in ("", "no", "bash", "unknown", "a b c d yes"):
        assert "escalate" in (check.path(b"site.pem", request(refusing)) or ""), refusing
    assert check.path(b"site.pem", request("yes", agent="a2")) is not None
    assert check.path(b"site.pem", request("yes", kind="unlink")) is not None
    assert check.path(b"other.pem", request("yes")) is not None
    assert check.path(b"root.pem", request("root")) is not None, "leave lifted a block"
    assert check.path(b"site.pem", request("yes", at_ns=int(NOW_S * 1e9) + KEPT_NS + 1)) is not None
    assert asked.count("yes") == 1, "an end does not change"
    ends["unknown"] = refused(verdict="approve")
    assert check.path(b"site.pem", request("unknown")) is None, "what had no end yet was taken for denied"
