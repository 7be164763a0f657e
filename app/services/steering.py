"""What a person did to the rules, as a record in the decisions log: the only writers of Postgres are workers."""

import time
import uuid
from typing import Any, Final

import msgspec

from app.core.decisions import RECORD_FORMAT, DecisionRecord, Verdict
from app.core.messages import FORMAT, RecordBatch, RecordReply, decode, encode
from app.services.escalation import PERSON
from app.services.one_reply import Asker, or_unavailable
from app.services.packing import pack

PATIENCE_S: Final = 8.0


def record_steering(asker: Asker, project: str, by: str, what: str, given: dict[str, Any], version: str) -> int:
    """Append that `by` did `what` (a command of ours) and return its position; raises Unavailable. A spool of its own
    makes it one record however often the message comes.
    """
    spool = f"steering:{uuid.uuid4().hex}"
    record = DecisionRecord(
        RECORD_FORMAT,
        1,
        time.time_ns(),
        spool,
        by,
        "",
        "",
        what,
        "",
        msgspec.json.encode(given),
        Verdict.APPROVE,
        (),
        f"{what} by {by}",
        PERSON,
        cached=False,
        degraded=False,
        policy_version=version,
        duration_us=0,
    )
    batch = RecordBatch(FORMAT, project, spool, uuid.uuid4().hex, asker.address, 1, (encode(record),))
    found = asker.ask("weir.record", "record", pack(encode(batch)), lambda data: _mine(data, spool), PATIENCE_S)
    return or_unavailable(found, "the record of it").position


def _mine(data: bytes, spool: str) -> RecordReply | None:
    reply = decode(RecordReply, data)
    return reply if reply.spool == spool and not reply.error else None
