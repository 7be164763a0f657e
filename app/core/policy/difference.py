"""What changes between two sets of rule files, rule by rule."""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.core.policy.source import RuleFile


class RulePlace(msgspec.Struct, frozen=True):
    """A rule and where it stands."""

    id: str
    tier: str
    file: str
    line: int
    decide: str


class FieldChange(msgspec.Struct, frozen=True):
    """A field of a rule: its value before and after, None where it was not or is not given."""

    field: str
    before: Any
    after: Any


class RuleChange(msgspec.Struct, frozen=True):
    """A rule of both sets that is not the same in both; `rule` is as it is after."""

    rule: RulePlace
    fields: tuple[FieldChange, ...]


class Difference(msgspec.Struct, frozen=True):
    """What the rules after have that those before have not, the other way round, and what is stated otherwise."""

    added: tuple[RulePlace, ...]
    removed: tuple[RulePlace, ...]
    changed: tuple[RuleChange, ...]


def difference(before: Sequence[RuleFile], after: Sequence[RuleFile]) -> Difference:
    """Compare rules by id: where one stands in its file is no difference, which tier says it is one."""
    old, new = _by_id(before), _by_id(after)
    changes = [
        RuleChange(new[name][0], fields) for name in new if name in old and (fields := _fields(old[name], new[name]))
    ]
    return Difference(
        tuple([new[name][0] for name in new if name not in old]),
        tuple([old[name][0] for name in old if name not in new]),
        tuple(changes),
    )


def _by_id(files: Sequence[RuleFile]) -> dict[str, tuple[RulePlace, dict[str, Any]]]:
    return {
        str(raw["id"]): (
            RulePlace(str(raw["id"]), file.tier.name.lower(), file.name, line, str(raw.get("decide", ""))),
            raw,
        )
        for file in files
        for raw, line in zip(file.rules, file.lines, strict=True)
        if isinstance(raw, dict) and "id" in raw
    }


def _fields(old: tuple[RulePlace, dict[str, Any]], new: tuple[RulePlace, dict[str, Any]]) -> tuple[FieldChange, ...]:
    tiers = [FieldChange("tier", old[0].tier, new[0].tier)] if old[0].tier != new[0].tier else []
    names = dict.fromkeys((*old[1], *new[1]))
    found = [FieldChange(name, old[1].get(name), new[1].get(name)) for name in names]
    return tuple(tiers + [one for one in found if one.before != one.after])
