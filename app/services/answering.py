"""Answers leave here: numbered, recorded in the spool, then handed to their callers, once a loop tick.

A call is answered only after its record is in the spool (a dry run has none): one write for all answers of a tick.
A spool that refuses makes every answer of that tick a block.
"""

import asyncio
import secrets
import time
from itertools import chain
from typing import Final

import msgspec
from msgspec.structs import astuple

from app.core.decisions import RECORD_FORMAT, Decision, Judgement, Ruling, Verdict, ruling
from app.core.errors import JournalError
from app.ports import DecisionSpool
from app.services.answer_json import CACHED_LAYERS
from app.services.answers import Answered
from app.services.questions import AGENT, CWD, INPUT, SESSION, TOOL, TOOL_CALL
from app.services.waiting import Waiter
from app.telemetry.metrics import Counter, Metrics

_RECENT_MAX: Final = 1_000
# places of a Ground's members
VERDICT: Final = 0
RULES: Final = 1
REASON: Final = 2
POLICY_VERSION: Final = 3
_LOW: Final = tuple([f"{number:03x}" for number in range(4096)])
_json: Final = msgspec.json.Encoder()
_record_of: Final = msgspec.msgpack.Encoder().encode


class Answering:
    """Turns rulings into recorded answers; one event loop thread."""

    def __init__(self, spool: DecisionSpool, metrics: Metrics) -> None:
        self._spool = spool
        self._found: list[Waiter] = []
        self._recent: list[Answered] = []
        self._before: list[Answered] = []
        self._nonce = secrets.token_hex(8)
        self._number = 0
        self._start = f"{self._nonce}-0"
        self.recording = True
        self._metrics = metrics
        self._counters: dict[tuple[Verdict, str], Counter] = {}
        self._duration_us = metrics.histogram("weir_decision_duration_us", "Arrival of a call to its decision.")
        self._spool_us = metrics.histogram("weir_spool_append_us", "One append of a tick's records to the spool.")
        self._failures = metrics.counter(
            "weir_spool_failures_total", "Appends that the spool refused: those calls were blocked."
        )

    @property
    def given(self) -> int:
        """Return how many answers were given since the start."""
        return self._number

    @property
    def busy(self) -> bool:
        """Tell whether an answer is on its way."""
        return bool(self._found)

    def decision(self, decision_id: str) -> Decision | None:
        """Return one of the last 1,000 recorded decisions, or more."""
        both = chain(self._recent, self._before)
        return next((answered.decision() for answered in both if answered.id == decision_id), None)

    def finish(self, waiter: Waiter, found: Ruling, layer: str, task_id: str = "") -> None:
        """Answer a caller at the end of this tick."""
        waiter.found, waiter.layer, waiter.task_id = found, layer, task_id
        if not self._found:
            asyncio.get_running_loop().call_soon(self._commit)
        self._found.append(waiter)

    def _commit(self) -> None:
        waiters, self._found = self._found, []
        now = time.monotonic_ns()
        answers: list[Answered] = []
        dry = False
        for waiter in waiters:
            found = waiter.found
            assert found is not None
            answers.append(Answered(self._next_id(), waiter.layer, (now - waiter.started_ns) // 1000, found))
            dry = dry or waiter.dry_run
        if dry:
            self._record_some(waiters, answers)
        else:
            self._record_all(waiters, answers)
        self._count(answers)
        for place, answered in enumerate(answers):
            waiters[place].answer(answered)

    def _record_some(self, waiters: list[Waiter], answers: list[Answered]) -> None:
        """As `_record_all`, but for the dry runs."""
        places = [place for place, waiter in enumerate(waiters) if not waiter.dry_run]
        kept = [answers[place] for place in places]
        self._record_all([waiters[place] for place in places], kept)
        for place, answered in zip(places, kept, strict=True):
            answers[place] = answered

    def _record_all(self, waiters: list[Waiter], answers: list[Answered]) -> None:
        """Record answers; those that cannot be recorded are replaced by blocks."""
        refusal = self._write(waiters, answers) if waiters else ""
        if refusal:
            answers[:] = [_unrecorded(answered, refusal) for answered in answers]
        self._keep(answers)

    def _next_id(self) -> str:
        # of two finished parts: to format a number for each took as long as all the rest
        self._number = number = self._number + 1
        low = number % len(_LOW)
        if not low:
            self._start = f"{self._nonce}-{number // len(_LOW):x}"
        return self._start + _LOW[low]

    def _keep(self, answers: list[Answered]) -> None:
        # two halves, the older dropped whole: dropping one for each that comes was 1 us a call. Asked for so seldom
        # that to look through them is cheaper than a dict
        if len(self._recent) >= _RECENT_MAX:
            self._before, self._recent = self._recent, []
        self._recent += answers

    def _write(self, waiters: list[Waiter], answers: list[Answered]) -> str:
        # returns why the records could not be written; empty if they were
        at_ns, started = time.time_ns(), time.monotonic_ns()
        try:
            first = self._spool.next_sequence
            records = [_record(waiters[at], answered, at_ns, first + at) for at, answered in enumerate(answers)]
            self._spool.append_encoded(records, first)
        except (JournalError, OSError) as error:
            self._failures.add()
            self.recording = False
            return f"the decision could not be recorded ({error})"
        self.recording = True
        self._spool_us.record((time.monotonic_ns() - started) // 1000)
        return ""

    def _count(self, answers: list[Answered]) -> None:
        self._duration_us.record_all([answered.duration_us for answered in answers])
        verdict, layer, number = answers[0].verdict, answers[0].layer, 0
        for answered in answers:
            # compared by identity first: a verdict's own hash is a Python call
            if answered.verdict is not verdict or answered.layer != layer:
                self._counter(verdict, layer).add(number)
                verdict, layer, number = answered.verdict, answered.layer, 0
            number += 1
        self._counter(verdict, layer).add(number)

    def _counter(self, verdict: Verdict, layer: str) -> Counter:
        counter = self._counters.get((verdict, layer))
        if counter is None:
            labels = {"verdict": verdict.value, "layer": layer}
            counter = self._metrics.counter("weir_decisions_total", "Answered calls.", **labels)
            self._counters[verdict, layer] = counter
        return counter


def _unrecorded(answered: Answered, reason: str) -> Answered:
    remedy = "free disk space under WEIR_HOME/spool and see `weir doctor`; nothing is approved that cannot be recorded"
    block = ruling(Judgement(Verdict.BLOCK, (), reason, remedy, answered.ground.policy_version))
    return Answered(answered.id, "border", answered.duration_us, block)


def _record(waiter: Waiter, answered: Answered, at_ns: int, sequence: int) -> bytes:
    # an encoded DecisionRecord: as a plain tuple in its order, since a struct more for every call is one too many
    call, ground, layer = astuple(waiter.call), astuple(answered.ground), answered.layer
    return _record_of(
        (
            RECORD_FORMAT,
            sequence,
            at_ns,
            answered.id,
            call[AGENT],
            call[SESSION],
            call[TOOL_CALL],
            call[TOOL],
            call[CWD],
            _json.encode(call[INPUT]),
            ground[VERDICT],
            ground[RULES],
            ground[REASON],
            layer,
            layer in CACHED_LAYERS,
            layer == "degraded",
            ground[POLICY_VERSION],
            answered.duration_us,
            waiter.task_id,
        )
    )
