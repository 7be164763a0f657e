"""What the store worker asks of the rules before it folds an operation: here is the authority, the mount asks earlier.

**Where no rules could be loaded at all nothing is decided**: a refusal would undo what programs wrote, and letting it
pass would approve it. The batch waits in the journal.
"""

from collections.abc import Callable

from app.core.errors import StoreUnavailable
from app.core.operations import FileOperationRequest
from app.core.policy.guards import INSIDE_MAX, PathGuards
from app.ports import PathRules


class PathCheck:
    """Answers with the reason of a refusal, None for leave; raises StoreUnavailable without rules."""

    def __init__(self, rules: PathRules) -> None:
        self._rules = rules

    def path(self, path: bytes, request: FileOperationRequest) -> str | None:
        """Return why an operation may not reach a path."""
        denial = self._guards().refusal(request.operation_type, path)
        return None if denial is None else denial.text

    def move(self, old: bytes, new: bytes, inside: Callable[[int], list[bytes] | None]) -> str | None:
        """Return why a directory may not move; `inside` lists at most that many paths below it."""
        guards = self._guards()
        if not (guards.reaches_into(old) or guards.reaches_into(new)):
            return None
        denial = guards.refusal_of_move(old, new, inside(INSIDE_MAX))
        return None if denial is None else denial.text

    def _guards(self) -> PathGuards:
        if self._rules.stands_in:
            raise StoreUnavailable(f"no rules could be loaded, nothing is committed without: {self._rules.alert}")
        return self._rules.guards
