"""What one worker process holds: built when its first task needs it, after fork; closed when the process ends.

A pool inherited through fork shares its sockets with the parent and breaks both, so nothing is built before
`worker_process_init`, and what an import might have left is forgotten there. The writing role's
credential is read here (by way of bootstrap) and in migrations, nowhere else.
"""

import gc
import sys
from contextlib import ExitStack
from functools import cache, cached_property
from typing import Any, Protocol, TypeVar

from celery import signals

from app import bootstrap
from app.bootstrap import heap
from app.core.decisions import DecisionRecord, ValidateBatch
from app.ports import DroppedMessages, FileEventWriter, PathRules, Policy, Replies, Tickets
from app.services.escalation import Escalations
from app.services.incarnations import Incarnations
from app.services.path_check import PathCheck
from app.services.persist import Persister
from app.services.record import Recorder
from app.services.replaying import Replayer
from app.services.rule_keeping import RuleKeeper
from app.services.upkeep import Upkeep
from app.services.worker_validation import WorkerValidator
from config.settings import Settings, load
from workers.rules_watch import RulesWatch

T = TypeVar("T")
R = TypeVar("R", bound="Rules")


class Rules(Policy, PathRules, Protocol):
    """The rules in force: for tool calls, and for paths of file operations."""


class Parts:
    """The services of this process; each holds its own pools, closed in reverse order."""

    def __init__(self, settings: Settings, worker: str) -> None:
        self._settings = settings
        self._worker = worker
        self._open = ExitStack()

    @cached_property
    def persister(self) -> Persister:
        """The files log."""
        feed = self._kept(bootstrap.feed_publisher(self._settings))
        cache = self._kept(bootstrap.chunk_cache(self._settings))
        carries = bootstrap.feed_carries_content()
        return Persister(self._settings.project, self._writer, feed, self._replies, cache, carries=carries)

    @cached_property
    def incarnations(self) -> Incarnations:
        """The register of incarnations; shares the pool of the files log."""
        return Incarnations(self._settings.project, self._writer, self._replies)

    @cached_property
    def recorder(self) -> Recorder:
        """The decisions log."""
        writer = self._kept(bootstrap.decision_writer(self._settings))
        return Recorder(self._settings.project, writer, self._replies)

    @cached_property
    def validator(self) -> WorkerValidator:
        """Validation; reads the project's scripts where a call runs one."""
        shared = self._kept(bootstrap.shared_decisions_if_on(self._settings))
        scripts = self._kept(bootstrap.stored_scripts(self._settings))
        scripts.warm_up()
        rules = self._kept_fresh(bootstrap.policy(self._settings, sees=True, scripts=scripts))
        return WorkerValidator(self._settings.project, self._worker, rules, self._replies, shared)

    def warm_up(self) -> None:
        """Build what validation needs, as a first batch would."""
        self.validator.decide_batch(ValidateBatch(ValidateBatch.FORMAT, self._settings.project, "", "", 0, ()), "")

    @cached_property
    def escalations(self) -> Escalations:
        """Open escalations."""
        return Escalations(self._settings.project, self._tickets, self._replies, bootstrap.seal(self._settings))

    @cached_property
    def upkeep(self) -> Upkeep:
        """Maintenance."""
        reader = self._kept(bootstrap.file_event_reader(self._settings))
        feed = self._kept(bootstrap.feed_publisher(self._settings))
        log = self._kept(bootstrap.log_upkeep(self._settings))
        return Upkeep(self._settings.project, reader, log, feed, bootstrap.cache_trims(self._settings))

    @cached_property
    def rule_keeper(self) -> RuleKeeper:
        """The rules' files; reads the store only."""
        keeper, close = bootstrap.keeper_of_rules(self._settings)
        self._open.callback(close)
        return keeper

    @cached_property
    def replayer(self) -> Replayer:
        """Replays; reads only."""
        book = bootstrap.rule_book(self._settings.policies, self._settings.home)
        reader = self._kept(bootstrap.file_event_reader(self._settings))
        return Replayer(self._settings.project, book, reader, self._replies)

    @cached_property
    def _writer(self) -> FileEventWriter:
        check = PathCheck(self._rules, self._ended)
        return self._kept(bootstrap.file_event_writer(self._settings, check))

    def _ended(self, ticket: str) -> DecisionRecord | None:
        return self._tickets.ended(ticket)  # its pool is opened for the first change that names a ticket

    @cached_property
    def _tickets(self) -> Tickets:
        return self._kept(bootstrap.tickets(self._settings))

    @cached_property
    def _rules(self) -> Rules:
        return self._kept_fresh(bootstrap.policy(self._settings))

    @cached_property
    def _replies(self) -> Replies:
        return self._kept(bootstrap.replies(self._settings))

    def close(self) -> None:
        """Close every pool and client."""
        self._open.close()

    def _kept_fresh(self, rules: R) -> R:
        self._kept(RulesWatch(rules))
        return rules

    def _kept(self, part: T) -> T:
        close = getattr(part, "close", None)
        if close is not None:
            self._open.callback(close)
        return part


@cache
def dropped_messages() -> DroppedMessages:
    """The count of what was dropped at the border; made by whoever needs it, in a worker's main process."""
    return bootstrap.dropped_messages(load())


_parts: Parts | None = None
_worker_name = "worker"


def parts() -> Parts:
    """Return the services of this process."""
    global _parts
    if _parts is None:
        _parts = Parts(load(), _worker_name)
    return _parts


@signals.celeryd_init.connect
def _remember_name(sender: str, **_: Any) -> None:
    global _worker_name
    _worker_name = sender


@signals.worker_ready.connect
def _warm_up(sender: Any, **_: Any) -> None:
    """Build what the first call would wait for."""
    gc.collect()
    gc.freeze()
    heap.keep_tidy()
    if any(queue.name == "validate" for queue in sender.task_consumer.queues):
        parts().warm_up()
        gc.collect()
        _calm_the_collector()


@signals.worker_process_init.connect
def _forget_inherited(**_: Any) -> None:
    global _parts
    _parts = None
    _calm_the_collector()


def _calm_the_collector() -> None:
    # judging and folding make many objects and no cycles: collecting them was 0.4 of 4.7 ms of appending 100 events,
    # and a writer's knowledge of the tree is up to 200,000 rows to walk over
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    heap.keep_tidy()
    # a call that is judged waits this long at most for the thread that loads changed rules (default 5 ms)
    sys.setswitchinterval(0.0005)


@signals.worker_process_shutdown.connect  # a child of prefork
@signals.worker_shutdown.connect  # solo and threads, where no process is a child
def _close(**_: Any) -> None:
    global _parts
    if _parts is not None:
        _parts.close()
    _parts = None
