"""An answer on its way out: finished parts, put together when its bytes are asked for."""

from typing import Final

import msgspec

from app.core.decisions import Decision, Judgement, Ruling, ruling

CACHED_LAYERS: Final = frozenset({"local-cache", "shared-cache"})
_json: Final = msgspec.json.Encoder()
_decision: Final = msgspec.json.Decoder(Decision)
_known_flags: Final[dict[str, bytes]] = {}


class Answered(msgspec.Struct, frozen=True, gc=False):
    """What a call was answered with: JSON put together from finished parts; a Decision is made when asked for."""

    id: str
    layer: str
    duration_us: int
    ruling: Ruling

    def json(self) -> bytes:
        """Return the Decision's JSON object."""
        return b'{"id":"%b",%b"duration_us":%d,%b%b}' % (
            self.id.encode(),
            _known_flags.get(self.layer) or _flags(self.layer),
            self.duration_us,
            self.ruling.ground.shown,
            self.ruling.commands,
        )

    def decision(self) -> Decision:
        """Return the whole answer."""
        return _decision.decode(self.json())


def answered_of(decision: Decision) -> Answered:
    """Return a whole answer in the form that leaves here."""
    parts = decision.verdict, decision.rules, decision.reason, decision.remedy, decision.policy_version
    return Answered(
        decision.id, decision.layer, decision.duration_us, ruling(Judgement(*parts, commands=decision.commands))
    )


def _flags(layer: str) -> bytes:
    parts = {"layer": layer, "cached": layer in CACHED_LAYERS, "degraded": layer == "degraded"}
    found = _json.encode(parts)[1:-1] + b","
    if len(_known_flags) < 64:
        _known_flags[layer] = found
    return found
