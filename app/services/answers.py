"""An answer on its way out: finished parts, put together when its bytes are asked for. Compiled (ADR 0011)."""

from typing import Final

import msgspec
from mypy_extensions import mypyc_attr

from app.core.decisions import Decision, Judgement, Ruling, ruling
from app.services.answer_json import answer_json

_decision: Final = msgspec.json.Decoder(Decision)


@mypyc_attr(acyclic=True)
class Answered:
    """What a call was answered with: JSON put together from finished parts; a Decision is made when asked for."""

    def __init__(self, decision_id: str, layer: str, duration_us: int, ruling: Ruling) -> None:
        self.id = decision_id
        self.layer = layer
        self.duration_us = duration_us
        self.ruling = ruling
        self.ground = ruling.ground
        self.verdict = self.ground.verdict

    def json(self) -> bytes:
        """Return the Decision's JSON object."""
        return answer_json(self.id, self.layer, self.duration_us, self.ruling)

    def decision(self) -> Decision:
        """Return the whole answer."""
        return _decision.decode(self.json())


def answered_of(decision: Decision) -> Answered:
    """Return a whole answer in the form that leaves here."""
    parts = decision.verdict, decision.rules, decision.reason, decision.remedy, decision.policy_version
    return Answered(
        decision.id, decision.layer, decision.duration_us, ruling(Judgement(*parts, commands=decision.commands))
    )
