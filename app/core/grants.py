"""A person's leave for a change that the path rules escalate: whom it is for, and what it covers.

It lifts `escalate`, never `block`. Mount and store worker ask the same functions: the mount with what its courier was
told, the store with the ticket's end in the decisions log, and the store's word stands.
"""

import base64
import binascii
import json
from typing import Final, NamedTuple

from app.core.decisions import DecisionRecord
from app.core.policy.guards import ACCESSES

TOOL: Final = "filesystem"
"""The tool that stands in decisions about changes through a mount."""
TICKETS_MAX: Final = 4
"""So many tickets may one change name: of a move both ends."""
KEPT_NS: Final = 24 * 3600 * 1_000_000_000
"""The store takes no change by a ticket that was approved longer ago."""
_ANY: Final = frozenset(("write", "delete", "change"))
_GOES_WITH_WRITING: Final = frozenset(("change",))


class Grant(NamedTuple):
    """Leave of ticket `ticket`: what `operation` (an event kind) does to `path`, by one agent in one session."""

    ticket: str
    agent: str
    session: str
    operation: str
    path: bytes

    def covers(self, operation: str, path: bytes, agent: str, session: str) -> bool:
        """Tell whether a change is what leave was given for, or what goes with it: who may make a file may write it,
        and who may write it may set its attributes, as programs that save a file do.
        """
        if (path, agent, session) != (self.path, self.agent, self.session):
            return False
        given = ACCESSES.get(self.operation, _ANY)
        return ACCESSES.get(operation, _ANY) <= (given | _GOES_WITH_WRITING if "write" in given else given)


def shown(operation: str, path: bytes) -> dict[str, str]:
    """Return a change as a decision's input has it."""
    said = {"operation": operation, "path": path.decode(errors="backslashreplace")}
    try:
        path.decode()
    except UnicodeDecodeError:
        said["path_b64"] = base64.b64encode(path).decode()
    return said


def granted_by(ticket: str, asked: DecisionRecord) -> Grant | None:
    """Return what leave for a recorded change is; None for a record that is of no change."""
    if asked.tool != TOOL:
        return None
    return grant_for(ticket, asked.agent, asked.session, asked.input)


def grant_for(ticket: str, agent: str, session: str, given: bytes) -> Grant | None:
    """Return what leave for a change is, by the input that `shown` made; None for anything else."""
    try:
        said = json.loads(given)
        path = base64.b64decode(said["path_b64"], validate=True) if "path_b64" in said else said["path"].encode()
        return Grant(ticket, agent, session, str(said["operation"]), path)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None
