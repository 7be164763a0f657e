"""Answers leave here: numbered, recorded in the spool, then handed to their callers, once a loop tick.

A call is answered only after its record is in the spool (a dry run has none): one write for all answers of a tick.
A spool that refuses makes every answer of that tick a block.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from app.core.decisions import RECORD_FORMAT, Decision, DecisionRecord, Judgement, ToolCall, Verdict
from app.core.errors import JournalError
from app.ports import DecisionSpool
from app.telemetry.metrics import Counter, Metrics

_RECENT_MAX: Final = 10_000
_CACHED_LAYERS: Final = frozenset({"local-cache", "shared-cache"})
_json: Final = msgspec.json.Encoder()

Answer = Callable[[Decision], None]


class Waiter(NamedTuple):
    """A caller: its call, when it arrived (monotonic), and what to do with the answer."""

    call: ToolCall
    started_ns: int
    answer: Answer


_Answered = tuple[Waiter, Decision, str]
"""A caller, its answer, and the task that gave it; a plain tuple, since one is made for every call."""


class Answering:
    """Turns judgements into recorded decisions; one event loop thread."""

    def __init__(self, spool: DecisionSpool, metrics: Metrics) -> None:
        self._spool = spool
        self._answered: list[_Answered] = []
        self._recent: OrderedDict[str, Decision] = OrderedDict()
        self._nonce = secrets.token_hex(8)
        self._number = 0
        self.recording = True
        self._metrics = metrics
        self._decisions: dict[tuple[Verdict, str], Counter] = {}
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
        return bool(self._answered)

    def decision(self, decision_id: str) -> Decision | None:
        """Return one of the last 10,000 recorded decisions."""
        return self._recent.get(decision_id)

    def finish(self, waiter: Waiter, judgement: Judgement, layer: str, task_id: str = "") -> None:
        """Answer a caller at the end of this tick."""
        self._number += 1
        decision = Decision(
            f"{self._nonce}-{self._number:x}",
            judgement.verdict,
            judgement.rules,
            judgement.reason,
            judgement.remedy,
            layer,
            layer in _CACHED_LAYERS,
            layer == "degraded",
            judgement.policy_version,
            (time.monotonic_ns() - waiter.started_ns) // 1000,
            judgement.commands,
        )
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._commit)
        self._answered.append((waiter, decision, task_id))

    def _commit(self) -> None:
        answered, self._answered = self._answered, []
        kept = [item for item in answered if not item[0].call.dry_run]
        refusal = self._write(kept) if kept else ""
        recent, count = self._recent, self._count
        for waiter, decided, _ in answered:
            decision = decided
            if not waiter.call.dry_run:
                decision = _unrecorded(decided, refusal) if refusal else decided
                recent[decision.id] = decision
            count(decision)
            waiter.answer(decision)
        while len(recent) > _RECENT_MAX:
            recent.popitem(last=False)

    def _write(self, answered: list[_Answered]) -> str:
        # returns why the records could not be written; empty if they were
        at_ns, started = time.time_ns(), time.monotonic_ns()
        try:
            first = self._spool.next_sequence
            self._spool.append([_record(item, at_ns, first + index) for index, item in enumerate(answered)])
        except (JournalError, OSError) as error:
            self._failures.add()
            self.recording = False
            return f"the decision could not be recorded ({error})"
        self.recording = True
        self._spool_us.record((time.monotonic_ns() - started) // 1000)
        return ""

    def _count(self, decision: Decision) -> None:
        self._duration_us.record(decision.duration_us)
        key = decision.verdict, decision.layer
        counter = self._decisions.get(key)
        if counter is None:
            labels = {"verdict": decision.verdict.value, "layer": decision.layer}
            counter = self._metrics.counter("weir_decisions_total", "Answered calls.", **labels)
            self._decisions[key] = counter
        counter.add()


def _unrecorded(decision: Decision, reason: str) -> Decision:
    remedy = "free disk space under WEIR_HOME/spool and see `weir doctor`; nothing is approved that cannot be recorded"
    return msgspec.structs.replace(
        decision, verdict=Verdict.BLOCK, rules=(), reason=reason, remedy=remedy, layer="border", cached=False
    )


def _record(item: _Answered, at_ns: int, sequence: int) -> DecisionRecord:
    waiter, decision, task_id = item
    call, rules = waiter.call, decision.rules
    return DecisionRecord(
        RECORD_FORMAT,
        sequence,
        at_ns,
        decision.id,
        call.agent,
        call.session,
        call.tool_call,
        call.tool,
        call.cwd,
        _json.encode(call.input),
        decision.verdict,
        (rules[0].id,) if len(rules) == 1 else tuple([rule.id for rule in rules]),
        decision.reason,
        decision.layer,
        decision.cached,
        decision.degraded,
        decision.policy_version,
        decision.duration_us,
        task_id,
    )
