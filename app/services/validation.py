"""Deciding calls: local cache, single-flight, micro-batch to a worker, and the gateway's own policy past the deadline.

Everything here runs in one event loop thread; the task line brings replies into it. Invariants:
- every call is answered once, by its deadline, through Answering (recorded first);
- what is overdue is judged here a few calls a tick, in turns of the agents, so that replies and new calls are never
  behind a storm of it, and a reply that comes meanwhile still answers; a second late it is blocked unjudged;
- a degraded answer is never cached, approves only where the policy approves and read nothing outside the call, and is
  compared with a worker's verdict afterwards: a difference is counted and told;
- a worker's judgement by another policy version is used, but not cached (AsyncLRUCache refuses it).
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import msgspec

from app.core.decisions import Decision, Judgement, Ruling, ToolCall, ValidateReply, Verdict, ruling
from app.core.errors import PayloadRefused
from app.core.messages import decode
from app.ports import DecisionSpool, Policy
from app.services.answering import Answering
from app.services.batching import Batch, Batcher, Breaker
from app.services.deadlines import Deadlines, patience_ms
from app.services.decision_cache import INLINE_BYTES, TTL_S, AsyncLRUCache, cache_key
from app.services.overdue import Overdue
from app.services.questions import KnownCall, encode_batch, encode_question
from app.services.task_line import Letter
from app.services.validation_figures import ValidationFigures
from app.services.waiting import Answer, CallbackWaiter, Question, Waiter
from app.telemetry.metrics import Metrics

TASK: Final = "weir.validate"
QUEUE: Final = "validate"
_RECHECKS_MAX: Final = 2_000
_RECHECK_BATCH: Final = 32
_SWEEP_S: Final = 0.1
_JUDGED_A_TICK: Final = 24
_JUDGED_NS_A_TICK: Final = 5_000_000
_LATE_NS_MAX: Final = 1_000_000_000
"""So far behind its deadline a question is not judged any more: a client waits 2 s, and the queue has to end."""
_TOO_BUSY: Final = "too much is asked: neither a worker nor the gateway could judge this call in time"
_TRY_AGAIN: Final = "try again in a second; `weir status` says whether workers answer"
_CROWDED_PER_SWEEP: Final = 300
_COMPANY: Final = 24
_CACHE_COUNTS: Final = {
    "hits": "Questions that the local cache answered.",
    "misses": "Questions that it could not.",
    "kept": "Rulings put into it.",
    "evictions": "Rulings pushed out by its bounds.",
    "expiries": "Rulings dropped because their time was over.",
}


class Line(Protocol):
    """Where tasks go; see TaskLine."""

    @property
    def address(self) -> str:
        """Return where workers send replies."""

    def post(self, letter: Letter) -> None:
        """Hand a task over; returns at once."""


class Validation:
    """The gateway's decisions. `flags`: local_cache, single_flight, micro_batching, batch_company; off is the slower
    safe path.
    """

    def __init__(
        self,
        project: str,
        policy: Policy,
        spool: DecisionSpool,
        line: Line,
        metrics: Metrics,
        *,
        workers: int,
        deadline_ms: int,
        flags: Mapping[str, bool],
    ) -> None:
        self._project = project
        self._policy = policy
        self._line = line
        self._deadline_ms = deadline_ms
        self._answering = Answering(spool, metrics)
        self._cache = AsyncLRUCache()
        self._cache_on = flags.get("local_cache", True)
        self._join_on = flags.get("single_flight", True)
        batching = flags.get("micro_batching", True)
        company = _COMPANY if flags.get("batch_company", True) else 0
        self._batcher = Batcher(workers, company=company) if batching else Batcher(4096, 1)
        self._breaker = Breaker()
        self._flights: dict[object, Question] = {}
        self._deadlines = Deadlines(deadline_ms, self._ring)
        self._overdue = Overdue()
        self._flush_due = self._flush_later = False
        self._rechecks: deque[Question] = deque()
        self._given_before = 0
        self.crowded = False
        """More than 3,000 answers a second were given at the last look: what drains in the background yields."""
        self._figures = ValidationFigures(metrics)
        self._expose(metrics)

    @property
    def policy_version(self) -> str:
        """Return the version that the gateway itself holds."""
        return self._policy.version

    @property
    def workers_answer(self) -> bool:
        """Tell whether the last tasks were answered."""
        return not self._breaker.open

    @property
    def busy(self) -> bool:
        """Tell whether any caller waits."""
        return bool(self._flights or self._overdue) or self._answering.busy

    @property
    def recording(self) -> bool:
        """Tell whether the spool took the last answers."""
        return self._answering.recording

    def decision(self, decision_id: str) -> Decision | None:
        """Return a recent recorded decision of this gateway."""
        return self._answering.decision(decision_id)

    def clean(self) -> None:
        """Drop cached rulings that are out of time; called from the supervisor's thread."""
        self._cache.clean()

    # ---- asking

    def decide(self, waiter: Waiter, known: KnownCall | None = None) -> None:
        """Answer a call by its deadline, once, in a later tick; `known` is its question where that is at
        hand, of the waiter's own call. Raises RequestInvalid.
        """
        version, call = self._policy.version, waiter.call
        asked = encode_question(call, version) if known is None else known.asked(version)
        key = asked if len(asked) <= INLINE_BYTES else cache_key(version, asked)
        if self._cache_on and (found := self._cache.get_nowait(key, waiter.started_ns)) is not None:
            self._answering.finish(waiter, found, "local-cache")
            return
        now = time.monotonic_ns()
        patience = patience_ms(self._deadline_ms, call.deadline_ms) if call.deadline_ms else 0
        if self._join_on and (flight := self._flights.get((key, patience) if patience else key)) is not None:
            self._figures.joined.add()
            flight.waiters.append(waiter)
        else:
            due_ns = self._deadlines.after(now, patience)
            self._ask(Question(call, asked, version, key, due_ns, [waiter], patience_ms=patience), now)

    def settle(self, call: ToolCall, started_ns: int, judgement: Judgement, layer: str, answer: Answer) -> None:
        """Answer a call with a judgement made elsewhere, recorded first."""
        self._answering.finish(CallbackWaiter(call, started_ns, answer), ruling(judgement), layer)

    def _ask(self, question: Question, now: int) -> None:
        self._flights[self._flight_of(question)] = question
        if not self._breaker.allows(now) or not self._batcher.add(question):
            self._answer_soon(question)
            return
        self._deadlines.add(question, now)
        if not self._flush_due:
            # at the end of the tick: all that this poll of the sockets brought goes into one batch
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        now = time.monotonic_ns()
        while (batch := self._batcher.cut(now)) is not None:
            self._post(batch)
        if (held_ns := self._batcher.held_ns(now)) and not self._flush_later:
            self._flush_later = True
            asyncio.get_running_loop().call_later(held_ns / 1e9, self._flush_held)

    def _flush_held(self) -> None:
        self._flush_later = False
        self._flush()

    def _post(self, batch: Batch) -> None:
        self._figures.batch_size.record(len(batch.questions))
        version, address = self._policy.version, self._line.address
        payload = encode_batch(self._project, str(batch.id), address, self._deadline_ms, batch.questions, version)
        self._line.post(Letter(batch.id, TASK, QUEUE, payload))

    # ---- what comes back

    def on_reply(self, data: bytes) -> None:
        """Take a worker's reply; one that does not decode or belongs to no batch is counted and dropped."""
        try:
            reply = decode(ValidateReply, data)
            self._breaker.answered()  # also by one that comes too late: workers live
            batch = self._batcher.close(int(reply.batch_id))
        except (PayloadRefused, ValueError):
            self._figures.replies_refused.add()
            return
        rulings = _rulings_of(reply)
        if batch is None or not len(batch.questions) == len(rulings) == len(reply.layers):
            self._figures.replies_refused.add()
            self._give_up(batch)
            return
        self._take(batch, reply, rulings, time.monotonic_ns())

    def _take(self, batch: Batch, reply: ValidateReply, rulings: list[Ruling], now: int) -> None:
        self._figures.round_trip_us.record((now - batch.sent_ns) // 1000)
        self._figures.of_worker(reply)
        settle, finish, task_id = self._settle, self._answering.finish, reply.task_id
        for question, found, layer in zip(batch.questions, rulings, reply.layers, strict=True):
            if question.given is not None:
                self._compare(question, found.verdict)
                continue
            settle(question, found, now)
            for waiter in question.waiters:
                finish(waiter, found, layer, task_id)
        self._deadlines.drop_settled()
        self._flush()
        self._recheck(now)

    def _settle(self, question: Question, found: Ruling, now: int) -> None:
        self._land(question)
        if self._cache_on and self._cache.worth_keeping() and not _all_dry(question):
            self._cache.set_nowait(question.key, found, TTL_S, now)

    def on_failure(self, batch_id: int) -> None:
        """Take back a batch that could not be sent: its callers are answered here, at once."""
        self._figures.send_failures.add()
        self._breaker.failed(time.monotonic_ns())
        self._give_up(self._batcher.close(batch_id))
        if self._breaker.open:
            for question in self._batcher.drop_waiting():
                self._answer_soon(question)

    def sweep(self) -> None:
        """Notice batches that nobody answered, and ask again what was answered here; calls itself every 0.1 s."""
        now = time.monotonic_ns()
        given = self._answering.given
        self.crowded, self._given_before = given - self._given_before > _CROWDED_PER_SWEEP, given
        for batch in self._batcher.lost(now):
            self._figures.batches_lost.add()
            self._breaker.failed(now)
            self._give_up(batch)
        if not self._breaker.open:
            self._flush()
            self._recheck(now)
        elif self._rechecks and self._breaker.allows(now):
            self._send_rechecks(now, 1)
        asyncio.get_running_loop().call_later(_SWEEP_S, self.sweep)

    def _give_up(self, batch: Batch | None) -> None:
        for question in batch.questions if batch is not None else ():
            self._answer_soon(question)

    # ---- the gateway's own answer

    def _ring(self) -> None:
        now = time.monotonic_ns()
        for question in self._deadlines.due(now):
            self._answer_soon(question)
        self._deadlines.wait_on(now)

    def _answer_soon(self, question: Question) -> None:
        if not self._overdue:
            asyncio.get_running_loop().call_soon(self._judge_overdue)
        self._overdue.add(question)

    def _judge_overdue(self) -> None:
        # with a call_soon a round: sockets and replies have their turn between
        now = time.monotonic_ns()
        judged, until = 0, now + _JUDGED_NS_A_TICK
        while self._overdue and judged < _JUDGED_A_TICK and now < until:
            question = self._overdue.take()
            if not question.settled:
                self._answer_here(question, late=now - question.deadline_ns > _LATE_NS_MAX)
                now = time.monotonic_ns()
                judged += 1
            # one that is still out is compared when its batch comes back; given up or never sent, it is asked again
            if question.given is not None and not self._batcher.holds(question):
                self._keep_for_recheck(question)
        if self._overdue:
            asyncio.get_running_loop().call_soon(self._judge_overdue)

    def _answer_here(self, question: Question, *, late: bool) -> None:
        self._land(question)
        if late:
            question.unjudged = True
            self._figures.unjudged.add()
            found = ruling(Judgement(Verdict.BLOCK, (), _TOO_BUSY, _TRY_AGAIN, self._policy.version))
        else:
            found = ruling(self._judge_here(question.call))
        question.given = found.ground.verdict
        for waiter in question.waiters:
            self._answering.finish(waiter, found, "degraded")

    def _land(self, question: Question) -> None:
        question.settled = True
        self._flights.pop(self._flight_of(question), None)

    def _flight_of(self, question: Question) -> object:
        # who waits longer is not answered with those who wait less
        if not self._join_on:
            return id(question)
        return (question.key, question.patience_ms) if question.patience_ms else question.key

    def _judge_here(self, call: ToolCall) -> Judgement:
        try:
            judgement = self._policy.judge(call)
        except Exception as error:  # a caller must be answered, and a failure is a block
            self._figures.policy_failures.add()
            reason = f"the policy failed on this call ({type(error).__name__})"
            return Judgement(Verdict.BLOCK, (), reason, "see `weir doctor`, then try again", self._policy.version)
        if judgement.verdict is Verdict.APPROVE and judgement.reads:
            reason = f"no worker answered in time, and the answer depends on {', '.join(judgement.reads)}"
            return msgspec.structs.replace(judgement, verdict=Verdict.ESCALATE, reason=reason)
        return judgement

    def _keep_for_recheck(self, question: Question) -> None:
        if question.unjudged or question.given is None or question.tries > 1 or len(self._rechecks) >= _RECHECKS_MAX:
            self._figures.rechecks_dropped.add()
        else:
            self._rechecks.append(question)

    def _recheck(self, now: int) -> None:
        # only while nothing else is out: nobody waits for these
        if self._rechecks and not self._batcher.waiting and not self._batcher.out and not self._breaker.open:
            self._send_rechecks(now, _RECHECK_BATCH)

    def _send_rechecks(self, now: int, size: int) -> None:
        questions = [self._rechecks.popleft() for _ in range(min(size, len(self._rechecks)))]
        batch = self._batcher.send(questions, now)
        if batch is None:
            self._rechecks.extendleft(reversed(questions))
        else:
            self._post(batch)

    def _compare(self, question: Question, verdict: Verdict) -> None:
        if question.unjudged:
            return
        self._figures.rechecked.add()
        if verdict != question.given:
            self._figures.differences.add()
            print(
                f"alert: a degraded answer was {question.given}, a worker says {verdict}",
                file=sys.stderr,
                flush=True,
            )

    def _expose(self, metrics: Metrics) -> None:
        gauges = (
            ("weir_cache_entries", "Judgements in the local cache.", lambda: self._cache.figures().entries),
            (
                "weir_cache_bytes",
                "Bytes in the local cache, by its own estimate.",
                lambda: self._cache.figures().size_bytes,
            ),
            ("weir_batches_out", "Batches at workers now.", lambda: self._batcher.out),
            ("weir_questions_waiting", "Questions that wait for a place.", lambda: self._batcher.waiting),
            ("weir_rechecks_waiting", "Degraded answers that no worker has seen yet.", lambda: len(self._rechecks)),
            ("weir_workers_answer", "1 while workers answer.", lambda: int(self.workers_answer)),
        )
        for name, meaning, read in gauges:
            metrics.gauge(name, meaning, read)
        for field, meaning in _CACHE_COUNTS.items():
            metrics.gauge(f"weir_cache_{field}", meaning, partial(self._cache_count, field))

    def _cache_count(self, field: str) -> int:
        return int(getattr(self._cache.figures(), field))


def _all_dry(question: Question) -> bool:
    return all(waiter.call.dry_run for waiter in question.waiters)


def _rulings_of(reply: ValidateReply) -> list[Ruling]:
    try:
        return reply.rulings
    except (IndexError, ValueError):  # as wrong as too few of them
        return []
