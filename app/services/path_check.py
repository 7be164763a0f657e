"""What the store worker asks of the rules before it folds an operation: here is the authority, the mount asks earlier.

**Where no rules could be loaded at all nothing is decided**: a refusal would undo what programs wrote, and letting it
pass would approve it. The batch waits in the journal. What a rule escalates passes only by a ticket whose end in the
decisions log is a person's leave for this very change; whatever the mount says of it.
"""

from collections.abc import Callable
from typing import Final

from app.core.decisions import DecisionRecord, Verdict
from app.core.errors import StoreUnavailable
from app.core.grants import KEPT_NS, TICKETS_MAX, Grant, granted_by
from app.core.operations import FileOperationRequest
from app.core.policy.guards import INSIDE_MAX, PathGuards
from app.ports import PathRules

KNOWN_MAX: Final = 1_000


class PathCheck:
    """Answers with the reason of a refusal, None for leave; raises StoreUnavailable without rules, or where a ticket is
    named and cannot be looked up. `ended` returns the terminal decision of a ticket.
    """

    def __init__(self, rules: PathRules, ended: Callable[[str], DecisionRecord | None] = lambda _: None) -> None:
        self._rules = rules
        self._ended = ended
        self._known: dict[str, tuple[Grant, int] | None] = {}

    def path(self, path: bytes, request: FileOperationRequest) -> str | None:
        """Return why an operation may not reach a path."""
        denial = self._guards().refusal(request.operation_type, path)
        if denial is None or (denial.verdict is Verdict.ESCALATE and self._is_granted(path, request)):
            return None
        return denial.text

    def move(self, old: bytes, new: bytes, inside: Callable[[int], list[bytes] | None]) -> str | None:
        """Return why a directory may not move; `inside` lists at most that many paths below it."""
        guards = self._guards()
        if not (guards.reaches_into(old) or guards.reaches_into(new)):
            return None
        denial = guards.refusal_of_move(old, new, inside(INSIDE_MAX))
        return None if denial is None else denial.text

    def _is_granted(self, path: bytes, request: FileOperationRequest) -> bool:
        for ticket in request.decision.split()[:TICKETS_MAX]:
            grant, until_ns = self._grant(ticket) or (None, 0)
            who = request.agent_id, request.session
            if grant is not None and request.at_ns <= until_ns and grant.covers(request.operation_type, path, *who):
                return True
        return False

    def _grant(self, ticket: str) -> tuple[Grant, int] | None:
        if ticket in self._known:
            return self._known[ticket]
        end = self._ended(ticket)
        if end is None:
            return None
        grant = granted_by(ticket, end) if end.verdict == Verdict.APPROVE else None
        known = None if grant is None else (grant, end.at_ns + KEPT_NS)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[ticket] = known
        return known

    def _guards(self) -> PathGuards:
        if self._rules.stands_in:
            raise StoreUnavailable(f"no rules could be loaded, nothing is committed without: {self._rules.alert}")
        return self._rules.guards
