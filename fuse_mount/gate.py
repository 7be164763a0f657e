"""The path rules as the handlers ask them, and what becomes of a refusal: EACCES, explained in debug/last-denial, and
recorded as a decision.

The rules here are a cache: the store worker asks again, and its word stands. **A refusal is on disk before its EACCES
is answered**, in a bounded spool that the courier ships as the gateway's answers are; where that is full or broken,
the EACCES is answered all the same, counted, and debug/health says how many are in no log. Called with llfuse.lock
held: nothing here waits for anybody. `escalate` is EACCES too, with a ticket: a system call does not wait for a person,
and the next try passes once one has approved it.
"""

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Final

import llfuse

from app.core.decisions import RECORD_FORMAT, DecisionRecord, Verdict
from app.core.errors import JournalError
from app.core.grants import TOOL, shown
from app.core.layers import LayeredTree
from app.core.policy.guards import Denial, PathGuards, names_inside
from app.core.tree import Node, is_directory
from app.ports import ChangeLeave, DecisionSpool, PathRules
from fuse_mount.errno_map import denied
from fuse_mount.who import Who

log: Final = logging.getLogger(__name__)
LAYER: Final = "mount"
_ASKED: Final = "Try again when a person has approved ticket {}: `weir approvals` shows it."
_NOT_ASKED: Final = "A person changes the rule or makes the change: no ticket can be opened for this."


class NoRules:
    """See PathRules: leave for everything."""

    alert = ""
    version = ""
    guards = PathGuards()
    stands_in = False

    def refresh(self) -> bool:
        """See PathRules."""
        return False


class Gate:
    """One mount's. `unrecorded` refusals are in no log; `ephemeral_inside` lists what the tree does not know of."""

    def __init__(
        self,
        tree: LayeredTree,
        counters: Counter[str],
        rules: PathRules | None = None,
        spool: Callable[[], DecisionSpool] | None = None,
        leave: ChangeLeave | None = None,
    ) -> None:
        self.rules: PathRules = rules or NoRules()
        self.last_denial: dict[str, object] = {}
        self.unrecorded = 0
        self.ephemeral_inside: Callable[[int], list[bytes] | None] = lambda _inode: []
        self._tree = tree
        self._counters = counters
        self._make_spool = spool
        self._leave = leave
        self._spool: DecisionSpool | None = None

    def allow(self, operation: str, path: bytes, who: Who) -> Who:
        """Raise EACCES where a rule refuses `operation` (an event kind) at a path; return who makes the change, and by
        which ticket where only that lets it pass.
        """
        denial = self.rules.guards.refusal(operation, path)
        if denial is None:
            return who
        if denial.verdict is Verdict.ESCALATE and self._leave is not None:
            ticket = self._leave.lifted(operation, path, who.agent, who.session)
            if ticket:
                return who.by(ticket)
        raise self._refused(operation, path, who, denial)

    def allow_file(self, operation: str, path: bytes, held: tuple[int, Node], who: Who) -> Who:
        """As `allow`, at every name of an inode: a change through one is seen at all of them."""
        who = self.allow(operation, path, who)
        inode, node = held
        if node.nlink > 1 and not is_directory(node):
            for parent, name in self._tree.names_of(inode):
                above = self._tree.path_of(parent)
                who = self.allow(operation, above + b"/" + name if above else name, who)
        return who

    def allow_move(self, inode: int, old: bytes, new: bytes, who: Who) -> Who:
        """As `allow`, for both names, and for all that is inside where a rule may reach there."""
        inside = (lambda: self._inside(inode)) if is_directory(self._tree.node(inode)) else None
        return self.allow_move_of(old, new, inside, who)

    def _inside(self, inode: int) -> list[bytes] | None:
        tracked, ephemeral = names_inside(self._tree, inode), self.ephemeral_inside(inode)
        return None if tracked is None or ephemeral is None else tracked + ephemeral

    def allow_move_of(self, old: bytes, new: bytes, inside: Callable[[], list[bytes] | None] | None, who: Who) -> Who:
        """As `allow_move`; `inside` lists a directory as guards.names_inside does. No ticket is for what is inside."""
        who = self.allow("rename", new, self.allow("rename", old, who))
        guards = self.rules.guards
        if inside is None or not (guards.reaches_into(old) or guards.reaches_into(new)):
            return who
        denial = guards.refusal_of_move(old, new, inside())
        if denial is not None:
            raise self._refused("rename", old, who, denial, asks=False)
        return who

    def refused_by_store(self, operation: str, path: bytes, who: Who, reason: str) -> None:
        """The store has refused what was let pass here, and it has been undone: say so as of a refusal."""
        self.last_denial = _said(operation, path, who) | {"by": "store", "reason": reason}

    def close(self) -> None:
        """Let the courier have what is recorded."""
        if self._spool is not None:
            self._spool.close()

    def _refused(
        self, operation: str, path: bytes, who: Who, denial: Denial, *, asks: bool = True
    ) -> llfuse.FUSEError:
        began_ns = time.perf_counter_ns()
        self.rules.guards.refusal(operation, path)
        took_us = (time.perf_counter_ns() - began_ns) // 1000
        self._counters["denied by policy"] += 1
        said = _said(operation, path, who)
        record = self._record(shown(operation, path), who, denial, took_us)
        ticket, advice = self._asked(record, asks=asks)
        self.last_denial = said | {
            "by": "mount",
            "verdict": denial.verdict.value,
            "rule": denial.rule,
            "reason": denial.reason,
            "remedy": " ".join(filter(None, (denial.remedy, advice))),
            "decision": record.id if self._keep(record) else "",
            "ticket": ticket,
        }
        return denied()

    def _asked(self, record: DecisionRecord, *, asks: bool) -> tuple[str, str]:
        """Return the ticket of a refusal and what to do next, '' and '' where nobody would be asked."""
        if record.verdict != Verdict.ESCALATE:
            return "", ""
        ticket = self._leave.ask(record) if self._leave is not None and asks else ""
        return ticket, _ASKED.format(ticket) if ticket else _NOT_ASKED

    def _record(self, said: dict[str, str], who: Who, denial: Denial, took_us: int) -> DecisionRecord:
        return DecisionRecord(
            RECORD_FORMAT,
            0,
            time.time_ns(),
            uuid.uuid4().hex,
            who.agent,
            who.session,
            who.tool_call,
            TOOL,
            "",
            json.dumps(said).encode(),
            denial.verdict.value,
            (denial.rule,),
            denial.reason,
            LAYER,
            cached=False,
            degraded=False,
            policy_version=self.rules.version,
            duration_us=took_us,
        )

    def _keep(self, record: DecisionRecord) -> bool:
        if self._make_spool is None:
            return False
        try:
            if self._spool is None:
                self._spool = self._make_spool()
            self._spool.append([record])
        except (JournalError, OSError) as error:
            self.unrecorded += 1
            log.warning("%d refusals are in no log: %s", self.unrecorded, error)
            return False
        return True


def _said(operation: str, path: bytes, who: Who) -> dict[str, object]:
    said: dict[str, object] = {"at_ns": time.time_ns(), **shown(operation, path)}
    return said | {"agent": who.agent, "session": who.session, "tool_call": who.tool_call}
