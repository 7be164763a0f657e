"""The tasks: each decodes, calls one service, encodes. docs/reference/tasks.md lists them.

What does not decode is refused (PayloadRefused, the message is acknowledged and gone). No task retries by itself: its
sender re-drives it after 3 s without a reply. A return value is a summary of counts for Flower: never a
command, a path or a secret.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from app.core.decisions import ValidateBatch
from app.core.errors import PayloadRefused, Unavailable
from app.core.messages import ChunkBatch, IncarnationRequest, PersistBatch, RecordBatch, decode
from app.services.packing import unpack
from app.services.replaying import ReplayRequest
from config.celery import QUEUES
from workers.celery import app
from workers.process import parts
from workers.requests import QuietTask, TakenTask

F = TypeVar("F", bound=Callable[..., dict[str, Any]])


def _task(name: str, queue: str, *, acks_late: bool) -> Callable[[F], F]:
    """Register a task; the errors that are expected are logged in one line, without a traceback."""
    registered: Any = app.task(
        name=name,
        bind=True,
        base=TakenTask if queue == "validate" else QuietTask,
        acks_late=acks_late,
        soft_time_limit=QUEUES[queue].soft_s,
        time_limit=QUEUES[queue].hard_s,
        throws=(PayloadRefused, Unavailable),
    )
    return cast("Callable[[F], F]", registered)


@_task("weir.persist", "files", acks_late=True)
def persist(self: QuietTask, batch: bytes) -> dict[str, Any]:
    """Persister.persist: an ordered batch of file operations becomes events."""
    return parts().persister.persist(decode(PersistBatch, batch), str(self.request.id))._asdict()


@_task("weir.chunks", "files", acks_late=True)
def chunks(self: QuietTask, batch: bytes) -> dict[str, Any]:  # noqa: ARG001  # every task is bound
    """Persister.put_chunks: content ahead of the batch that names it."""
    return {"stored": parts().persister.put_chunks(decode(ChunkBatch, batch))}


@_task("weir.incarnation", "files", acks_late=True)
def incarnation(self: QuietTask, request: bytes) -> dict[str, Any]:  # noqa: ARG001
    """Incarnations.register: a number for one start of an origin."""
    return {"incarnation": parts().incarnations.register(decode(IncarnationRequest, request))}


@_task("weir.record", "record", acks_late=True)
def record(self: QuietTask, batch: bytes) -> dict[str, Any]:
    """Recorder.record: decisions of a spool become events."""
    return parts().recorder.record(decode(RecordBatch, unpack(batch)), str(self.request.id))._asdict()


@_task("weir.validate", "validate", acks_late=False)
def validate(self: QuietTask, batch: bytes) -> dict[str, Any]:
    """WorkerValidator.answer: tool calls become verdicts, one reply."""
    return parts().validator.answer(decode(ValidateBatch, batch), str(self.request.id))._asdict()


@_task("weir.escalate", "experts", acks_late=True)
def escalate(self: QuietTask, request: bytes) -> dict[str, Any]:
    """Escalations.open: a call waits for an answer until its deadline."""
    return parts().escalations.open(request, _now_ms(), str(self.request.id))._asdict()


@_task("weir.answer-escalation", "experts", acks_late=True)
def answer_escalation(self: QuietTask, answer: bytes) -> dict[str, Any]:
    """Escalations.answer: a person approves or denies what waits."""
    return parts().escalations.answer(answer, _now_ms(), str(self.request.id))._asdict()


@_task("weir.expire-escalations", "maintenance", acks_late=True)
def expire_escalations(self: QuietTask, _: bytes) -> dict[str, Any]:
    """Escalations.expire: what nobody answered is blocked."""
    return {"blocked": parts().escalations.expire(_now_ms(), str(self.request.id))}


@_task("weir.heartbeat", "maintenance", acks_late=True)
def heartbeat(self: QuietTask, _: bytes) -> dict[str, Any]:  # noqa: ARG001
    """Upkeep.heartbeat: the heads of both logs go out on the feed."""
    return parts().upkeep.heartbeat()._asdict()


@_task("weir.maintain", "maintenance", acks_late=True)
def maintain(self: QuietTask, _: bytes) -> dict[str, Any]:  # noqa: ARG001
    """Upkeep.maintain: caches are trimmed, the files log is made easy to search and its end looked at."""
    return parts().upkeep.maintain(_now_ms())._asdict()


@_task("weir.rules", "maintenance", acks_late=True)
def rules(self: QuietTask, _: bytes) -> dict[str, Any]:  # noqa: ARG001
    """RuleKeeper.look: the project's own rules come into force if they hold, the version in force is kept."""
    return parts().rule_keeper.look()._asdict()


@_task("weir.replay", "maintenance", acks_late=True)
def replay(self: QuietTask, request: bytes) -> dict[str, Any]:  # noqa: ARG001
    """Replayer.replay: recorded decisions are judged by another version of the rules; nothing changes."""
    return parts().replayer.replay(decode(ReplayRequest, request))._asdict()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
