"""Whoever reaches the broker can send weir.record: what it names must not be what a worker keeps for itself."""

import uuid

import pytest

from app.core.errors import PayloadRefused
from app.core.messages import FORMAT, RecordBatch, RecordReply
from app.services.record import Recorder


class Log:
    """A decisions log that takes everything."""

    def __init__(self) -> None:
        self.spools: list[str] = []

    def append(self, batch: RecordBatch, task_id: str) -> RecordReply:
        self.spools.append(batch.spool)
        return RecordReply(FORMAT, batch.batch_id, batch.spool, 1, 1)

    def push(self, address: str, payload: bytes) -> None:
        """A reply to nobody."""


def record(spool: str) -> list[str]:
    log = Log()
    Recorder("p", log, log).record(RecordBatch(FORMAT, "p", spool, "b", "r", 1, (b"",)), "t")
    return log.spools


@pytest.mark.parametrize("spool", ["ticket:" + "a" * 32, "ticket:x", "", "ti\0cket:" + "a" * 32, "a" * 31, "A" * 32, "a" * 32 + "\n"])
def test_the_end_of_an_escalation_cannot_be_recorded_by_a_task(spool: str) -> None:
    with pytest.raises(PayloadRefused):
        record(spool)


@pytest.mark.parametrize("spool", [uuid.uuid4().hex, f"steering:{uuid.uuid4().hex}"])
def test_what_our_senders_name_is_recorded(spool: str) -> None:
    assert record(spool) == [spool]
