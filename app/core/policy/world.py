"""What is outside the call: the branch that is checked out, the time of the week, scripts that the store holds.

Whoever judges hands in a World; what was asked of it is in the judgement's `reads`, so that it is never cached. What
cannot be known holds for a rule that blocks or escalates, and not for one that approves.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from app.core.decisions import Verdict
from app.core.policy.glob import simple_glob
from app.core.policy.match import Rule, Seen
from app.core.policy.source import DAYS, WINDOW
from app.core.shell.places import classify
from app.core.shell.stored import Lack

BRANCH: Final = "branch"
TIME: Final = "time"
SCRIPT: Final = "script"
DAY_MINUTES: Final = 24 * 60
_ELSEWHERE: Final = frozenset(("-C", "--git-dir", "--work-tree", "--namespace"))
_MOVES: Final = frozenset(
    (
        "checkout",
        "switch",
        "branch",
        "symbolic-ref",
        "worktree",
        "rebase",
        "bisect",
        "init",
        "clone",
        "stash",
        "update-ref",
        "filter-branch",
        "am",
    )
)
"""Sub-commands of git behind which another branch may be checked out."""


class World(Protocol):
    """What a judgement may ask beside the call; None where it cannot be known in time."""

    def branch(self, folder: str) -> str | None:
        """Return the branch that is checked out where `folder` is, '' for none (a detached head)."""

    def minute_of_week(self) -> int | None:
        """Return the minutes since Monday 00:00, local time."""

    def script(self, path: str) -> bytes | Lack:
        """Return the content of a file by its absolute path (a home is `~`) as the store has it now, cut off one byte
        behind SCRIPT_BYTES_MAX; or why there is none.
        """


class Nowhere:
    """A World of which nothing is known: who must not wait (the gateway) judges in it."""

    def branch(self, folder: str) -> str | None:  # noqa: ARG002  # the port's signature
        """See World."""
        return None

    def minute_of_week(self) -> int | None:
        """See World."""
        return None

    def script(self, path: str) -> bytes | Lack:  # noqa: ARG002  # the port's signature
        """See World."""
        return Lack.ABSENT


NOWHERE: Final = Nowhere()


class Moment:
    """The world for one judgement of `seen`: each thing is asked at most once. `reads` says what was asked."""

    __slots__ = ("_branch", "_minute", "_seen", "_world", "reads")

    def __init__(self, world: World, seen: Sequence[Seen]) -> None:
        self._world = world
        self._seen = seen
        self._branch: tuple[str | None] | None = None
        self._minute: tuple[int | None] | None = None
        self.reads: set[str] = set()

    def holding(self, found: list[Rule]) -> list[Rule]:
        """Return those of the rules that matched whose conditions on the world hold."""
        return [rule for rule in found if not (rule.branches or rule.times) or not self.unmet(rule)]

    def unmet(self, rule: Rule) -> str:
        """Return the condition that does not hold, '' where all do."""
        if rule.branches and not self._on(rule):
            return BRANCH
        return TIME if rule.times and not self._within(rule) else ""

    def _on(self, rule: Rule) -> bool:
        self.reads.add(BRANCH)
        if self._branch is None:
            cwd = self._seen[0].cwd
            self._branch = (self._world.branch(cwd) if cwd.startswith("/") and not _moved(self._seen) else None,)
        name = self._branch[0]
        if name is None:
            return rule.verdict is not Verdict.APPROVE
        return any(simple_glob(glob).match(name) for glob in rule.branches)

    def _within(self, rule: Rule) -> bool:
        self.reads.add(TIME)
        if self._minute is None:
            self._minute = (self._world.minute_of_week(),)
        minute = self._minute[0]
        if minute is None:
            return rule.verdict is not Verdict.APPROVE
        return any(is_within(window, minute) for window in rule.times)


def _moved(seen: Sequence[Seen]) -> bool:
    """Tell whether the text itself may leave the branch that is checked out, or its repository."""
    return any(one.command.unresolved or _leaves(one) for one in seen)


def _leaves(one: Seen) -> bool:
    positions = one.line.positions
    if one.command.program in {"cd", "pushd"}:
        return not positions or classify(positions[0], one.cwd, one.project)[0] != "project"
    if one.command.program != "git":
        return False
    return not _ELSEWHERE.isdisjoint(one.line.flags) or bool(positions and positions[0] in _MOVES)


def is_within(window: str, minute_of_week: int) -> bool:
    """Tell whether a time lies in a window such as `mon-fri 22:00-06:00`; midnight does not end its first day."""
    found = re.fullmatch(WINDOW, window)
    if found is None:
        return False
    start, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (2, 4))
    day, minute = divmod(minute_of_week, DAY_MINUTES)
    days = _days(found[1] or "")
    if start < end:
        return day in days and start <= minute < end
    return (day in days and minute >= start) or ((day - 1) % 7 in days and minute < end)


def _days(text: str) -> set[int]:
    if not text:
        return set(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, length = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
        found |= {(start + n) % 7 for n in range(length + 1)}
    return found
