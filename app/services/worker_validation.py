"""Judges batches of tool calls: shared cache, then policy, one reply a batch.

Asking the shared cache costs some 5 us a call and telling it 20, a judgement 20 to 60: it is asked in every batch only
while it knows answers, and told of at most TOLD_MAX judgements a batch and TOLD_PER_S a second.

A call that cannot be judged is blocked, alone: the rest of its batch is answered. A judgement is shared only
if the call was all that it read, and only under a fingerprint of the whole call.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from app.core.decisions import Asked, Judgement, Ruling, ValidateBatch, ValidateReply, Verdict, ruling, validate_reply
from app.core.errors import BrokerUnavailable, WeirError
from app.core.messages import encode
from app.ports import Policy, Replies, SharedDecisions
from app.services.persist import require_project

SHARED_TTL_S: Final = 300
TOLD_MAX: Final = 16
TOLD_PER_S: Final = 256
MISSES_MAX: Final = 256
"""So many unknown calls in a row, and the cache is only asked in one batch of ASKED_EVERY."""
ASKED_EVERY: Final = 32
FROM_CACHE: Final = "shared-cache"
FROM_POLICY: Final = "policy"
# Policy.judge promises to be total; these are what a fault in it would raise. A wide except would also swallow the
# signals by which Celery ends a task.
JUDGE_FAULTS: Final = (
    WeirError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
)
_encoder: Final = msgspec.msgpack.Encoder(order="sorted")


class ValidateSummary(NamedTuple):
    """What one batch came to, in counts."""

    calls: int
    approved: int
    blocked: int
    escalated: int
    cached: int
    worker_us: int


class WorkerValidator:
    """Validation as a worker process serves it. `shared` is None where the flag shared_cache is off.

    `faults` counts calls that could not be judged.
    """

    def __init__(
        self, project: str, worker: str, policy: Policy, replies: Replies, shared: SharedDecisions | None
    ) -> None:
        self.faults = 0
        self._project = project
        self._worker = worker
        self._policy = policy
        self._replies = replies
        self._shared = shared
        self._misses = 0
        self._batches = 0
        self._second = 0
        self._told = 0

    def answer(self, batch: ValidateBatch, task_id: str) -> ValidateSummary:
        """Decide, reply, then offer the fresh judgements to the shared cache: nobody waits for that."""
        require_project(self._project, batch.project)
        reply, fresh = self._decide(batch, task_id)
        self._replies.push(batch.reply_to, encode(reply))
        if self._shared is not None and fresh:
            self._tell(self._shared, fresh)
        return _summary(reply)

    def _tell(self, shared: SharedDecisions, fresh: list[tuple[bytes, Ruling]]) -> None:
        second = time.monotonic_ns() // 1_000_000_000
        if second != self._second:
            self._second, self._told = second, 0
        told = fresh[: min(TOLD_MAX, TOLD_PER_S - self._told)]
        self._told += len(told)
        if told:
            shared.put(told, SHARED_TTL_S)

    def decide_batch(self, batch: ValidateBatch, task_id: str) -> ValidateReply:
        """Return the rulings of a batch in the order of its calls."""
        return self._decide(batch, task_id)[0]

    def _decide(self, batch: ValidateBatch, task_id: str) -> tuple[ValidateReply, list[tuple[bytes, Ruling]]]:
        start_ns = time.perf_counter_ns()
        version = self._policy.version
        names = [fingerprint(self._project, version, call) for call in batch.calls] if self._asks() else []
        known, ignored = self._known(names, version)
        shared_us = (time.perf_counter_ns() - start_ns) // 1000
        rulings, layers, fresh = [], [], []
        for index, call in enumerate(batch.calls):
            cached = known.get(names[index]) if known else None
            found = cached or ruling(self._judge(call))
            rulings.append(found)
            layers.append(FROM_CACHE if cached else FROM_POLICY)
            if names and not cached and not found.ground.reads and found.ground.policy_version == version:
                fresh.append((names[index], found))
        took_us = (time.perf_counter_ns() - start_ns) // 1000
        reply = validate_reply(batch.batch_id, task_id, self._worker, rulings, layers, took_us)
        if names:
            reply = msgspec.structs.replace(reply, shared_us=shared_us, forged=ignored[0], stale=ignored[1])
        return reply, fresh

    def _asks(self) -> bool:
        self._batches += 1
        return self._shared is not None and (self._misses < MISSES_MAX or not self._batches % ASKED_EVERY)

    def _known(self, names: Sequence[bytes], version: str) -> tuple[dict[bytes, Ruling], tuple[int, int]]:
        shared = self._shared
        if shared is None or not names:
            return {}, (0, 0)
        forged, stale = shared.forged, shared.stale
        try:
            known = shared.get(names, version)
        except BrokerUnavailable:
            known = {}
        self._misses = 0 if known else self._misses + len(names)
        return known, (shared.forged - forged, shared.stale - stale)

    def _judge(self, call: Asked) -> Judgement:
        try:
            return self._policy.judge(call)
        except JUDGE_FAULTS as fault:
            self.faults += 1
            return Judgement(
                verdict=Verdict.BLOCK,
                rules=(),
                reason=f"this call could not be judged ({type(fault).__name__})",
                remedy="rephrase it, or ask a person; the worker's log has the fault",
                policy_version=self._policy.version,
                reads=("fault",),  # never cached
            )


def fingerprint(project: str, policy_version: str, call: Asked) -> bytes:
    """Return the 32 byte name of everything that a judgement may depend on; where and when it is asked, and
    whether it is a dry run, are left out.
    """
    asked = (project, policy_version, call.tool, call.input, call.agent, call.session, call.cwd, call.context)
    return hashlib.blake2b(_encoder.encode(asked), digest_size=32).digest()


def _summary(reply: ValidateReply) -> ValidateSummary:
    verdicts = [reply.grounds[place].verdict for place in reply.places]
    return ValidateSummary(
        calls=len(verdicts),
        approved=verdicts.count(Verdict.APPROVE),
        blocked=verdicts.count(Verdict.BLOCK),
        escalated=verdicts.count(Verdict.ESCALATE),
        cached=reply.layers.count(FROM_CACHE),
        worker_us=reply.worker_us,
    )
