"""The composition root: the only package that names concrete adapters.

Adapters are imported in functions: a process loads only what it needs. Nothing is opened at import or before a fork.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.bootstrap.chunks import chunk_cache, local_chunks
from app.bootstrap.leftovers import end_left_servers, mount_kind, mounted, unmount, unmount_leftovers
from app.bootstrap.rules import (
    policy,
    policy_at,
    project_rules,
    rule_book,
    rule_keeper,
    stored_scripts,
    why_rules_do_not_load,
)
from app.bootstrap.store import decision_writer, file_event_reader, file_event_writer, log_upkeep
from app.bootstrap.tickets import change_leave
from app.core.errors import JournalError, RequestInvalid
from app.ports import (
    DecisionSpool,
    DroppedMessages,
    FeedPublisher,
    FeedSubscriber,
    MountParts,
    Program,
    Replies,
    ReplyBox,
    Seal,
    Server,
    SharedDecisions,
    Supervisor,
    Tasks,
    TicketReader,
    Tickets,
)
from app.services.alerts import Watched
from config.settings import ROOT, Settings

__all__ = [
    "chunk_cache",
    "decision_writer",
    "end_left_servers",
    "file_event_reader",
    "file_event_writer",
    "log_upkeep",
    "mount_kind",
    "mounted",
    "policy",
    "policy_at",
    "rule_book",
    "stored_scripts",
    "unmount",
    "unmount_leftovers",
]

if TYPE_CHECKING:
    from app.adapters.journal.folder import MountFolder
    from app.services.approving import Approver
    from app.services.courier import Courier
    from app.services.importing import ImportParts
    from app.services.one_reply import Asker
    from app.services.rule_keeping import RuleKeeper
    from app.services.spool_shipping import SpoolShipper


def server(settings: Settings, name: str) -> Server:
    """The server `redis` or `postgres` as one process runs or watches it."""
    from app.adapters import given_servers, servers
    from app.adapters.redis.key_types import fixed_keys
    from config.celery import QUEUES, broker_prefix
    from config.flags import load_flags

    match name, settings.redis_given, settings.database_given:
        case "redis", True, _:
            return given_servers.GivenRedis(settings.redis_url)
        case "redis", False, _:
            socket = settings.sockets / servers.REDIS_SOCKET
            logged = not load_flags()["unlogged_redis"]
            kinds = fixed_keys(settings.key_prefix, broker_prefix(settings), QUEUES)
            return servers.OwnRedis(settings.home / "redis", socket, settings.redis_url, kinds, logged=logged)
        case "postgres", _, True:
            return given_servers.GivenPostgres(settings.reader_url, os.environ.get("WEIR_ADMIN_URL", ""))
        case "postgres", _, False:
            return servers.OwnPostgres(settings.home / "postgres", settings.sockets, settings.secrets)
        case _:
            raise RequestInvalid(f"no server is called {name!r}: redis or postgres")


def tasks(settings: Settings) -> Tasks:
    """The broker as a sender sees it; one a process, used by one thread."""
    from app.adapters.broker import CeleryTasks, QueueBound
    from config.celery import QUEUES, sender_configuration
    from config.flags import load_flags

    bounds = {name: QueueBound(queue.length_max, queue.expires_s) for name, queue in QUEUES.items()}
    return CeleryTasks(sender_configuration(settings), bounds, from_forms=load_flags()["task_forms"])


def reply_box(settings: Settings) -> ReplyBox:
    """The reply list of this process; one thread waits on it."""
    from app.adapters.redis.replies import RedisReplyBox

    return RedisReplyBox(settings.redis_url, settings.key_prefix, _redis_key(settings))


def replies(settings: Settings) -> Replies:
    """The worker's side of reply lists."""
    from app.adapters.redis.replies import RedisReplies

    return RedisReplies(settings.redis_url, settings.key_prefix, _redis_key(settings))


def feed_publisher(settings: Settings) -> FeedPublisher:
    """Pub/sub, sending."""
    from app.adapters.redis.feed import RedisFeedPublisher

    return RedisFeedPublisher(settings.redis_url, settings.key_prefix, _redis_key(settings))


def feed_carries_content() -> bool:
    """Whether small content goes along with the feed."""
    from config.flags import load_flags

    return load_flags()["feed_content"]


def feed_subscriber(settings: Settings, log: str = "files") -> FeedSubscriber:
    """Pub/sub of one log, receiving; subscribed when this returns, unless Redis is away."""
    from app.adapters.redis.feed import RedisFeedSubscriber

    return RedisFeedSubscriber(settings.redis_url, settings.key_prefix, _redis_key(settings), log)


def shared_decisions(settings: Settings) -> SharedDecisions:
    """The shared decision cache, sealed with the project's key."""
    from app.adapters.redis.shared_decisions import RedisSharedDecisions

    return RedisSharedDecisions(settings.redis_url, settings.key_prefix, settings.project, _redis_key(settings))


def _redis_key(settings: Settings) -> bytes:
    from config.secret_files import secret_bytes

    return secret_bytes(settings.secrets / "cache.key")


def shared_decisions_if_on(settings: Settings) -> SharedDecisions | None:
    """The shared decision cache, or None where the flag shared_cache is off (every call goes to the policy)."""
    from config.flags import load_flags

    return shared_decisions(settings) if load_flags()["shared_cache"] else None


def seal(settings: Settings) -> Seal:
    """What proves that a message about an escalation comes from a process with the project's key."""
    from app.adapters.redis.signing import Signer

    return Signer(_redis_key(settings))


def tickets(settings: Settings) -> Tickets:
    """Open escalations, writing role: in worker processes only, after fork."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.tickets import PostgresTickets
    from config.settings import writer_url

    pool = open_pool(writer_url(settings), 1, writing=True, name="weir tickets")
    return PostgresTickets(pool, settings.project)


def ticket_reader(settings: Settings) -> TicketReader:
    """Open escalations, reading role."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.tickets import PostgresTicketReader

    return PostgresTicketReader(open_pool(settings.reader_url, 1, name="weir ticket reader"), settings.project)


@contextmanager
def approver(settings: Settings) -> "Iterator[Approver]":
    """What answers escalations in a person's name."""
    from app.services.approving import Approver

    parts = tasks(settings), reply_box(settings)
    try:
        yield Approver(settings.project, *parts, seal(settings))
    finally:
        _close(*parts)


@contextmanager
def asker(settings: Settings) -> "Iterator[Asker]":
    """What puts one question to the workers after the other."""
    from app.services.one_reply import Asker

    parts = tasks(settings), reply_box(settings)
    try:
        yield Asker(*parts)
    finally:
        _close(*parts)


def dropped_messages(settings: Settings) -> DroppedMessages:
    """How many messages of nobody of ours were dropped from the queues."""
    from app.adapters.redis.dropped import RedisDropped

    return RedisDropped(settings.redis_url, settings.key_prefix)


def cache_trims(settings: Settings) -> list[Callable[[int], int]]:
    """What drops expired entries of each shared cache, and what our own Redis need not keep of the past."""
    from app.adapters.redis.chunk_cache import RedisChunkCache
    from app.adapters.redis.own_log import RedisLog
    from app.adapters.redis.shared_decisions import RedisSharedDecisions

    url, prefix, project = settings.redis_url, settings.key_prefix, settings.project
    own = [] if settings.redis_given else [RedisLog(url).trim]
    return [RedisChunkCache(url, prefix, project).trim, RedisSharedDecisions(url, prefix, project, b"").trim, *own]


def supervisor(settings: Settings) -> Supervisor:
    """What keeps this project's programs running."""
    from app.adapters.supervision import Supervisord

    return Supervisord(settings)


def programs() -> list[Program]:
    """The programs of the Procfile in start order; what works in the background yields."""
    from app.adapters.supervision import procfile

    nice = {"store": 5, "record": 10, "experts": 10, "maintenance": 10, "beat": 10, "flower": 10}
    return [program._replace(nice=nice.get(program.name, 0)) for program in procfile((ROOT / "Procfile").read_text())]


def probes(
    settings: Settings, log_starts: Mapping[str, int] | None, *, servers: bool = False
) -> Mapping[str, Callable[[], str]]:
    """What tells from outside that a program serves; with `servers`: Redis and Postgres, whoever started them."""
    from app.adapters import probes as outside

    return outside.server_probes(settings) if servers else outside.probes(settings, log_starts)


def migrate_database(
    admin_url: str, writer_password: str | None = None, reader_password: str | None = None
) -> list[str]:
    """Bring the database of `admin_url` to the newest schema; return the names of the migrations applied now."""
    from app.adapters.postgres.migrate import migrate

    return migrate(admin_url, writer_password=writer_password, reader_password=reader_password)


def courier(settings: Settings, mount_name: str) -> "Courier":
    """The courier of a mount or import; raises JournalError where another courier has the folder."""
    from app.adapters.journal.journals import FolderJournals
    from app.services.courier import Courier, Ports
    from config.flags import load_flags

    journals = FolderJournals(mount_folder(settings, mount_name))
    if not journals.hold_courier_lock():
        raise JournalError(f"another courier ships {mount_name}")
    parts = (journals, tasks(settings), reply_box(settings), file_event_reader(settings), chunk_cache(settings))
    return Courier(Ports(*parts, load_flags()["chunk_compression"], lambda: _close(*parts)))


def mount_folder(settings: Settings, name: str) -> "MountFolder":
    """The folder of a mount or import: journal, locks, spare incarnation, courier's status."""
    from app.adapters.journal.folder import MountFolder

    return MountFolder(settings.mounts / name, settings.project)


def decision_spool(settings: Settings, mount: str = "") -> DecisionSpool:
    """A fresh spool of this gateway, or of what a mount refuses by its rules."""
    from app.adapters.journal import spool

    if mount:
        folder = settings.mounts / mount / spool.DENIALS
        return spool.DecisionSpool(folder, settings.project, bytes_max=spool.DENIAL_BYTES_MAX)
    return spool.DecisionSpool(settings.spool, settings.project)


def spool_shipper(settings: Settings, mount: str = "") -> "SpoolShipper":
    """What ships all spools of the project, or those of a mount; not started yet."""
    from app.adapters.journal import spool
    from app.services.spool_shipping import SpoolShipper

    spools = spool.SpoolFolder(settings.mounts / mount / spool.DENIALS if mount else settings.spool, settings.project)
    return SpoolShipper(settings.project, spools, tasks(settings), reply_box(settings), all_living=bool(mount))


def ask_gateway(settings: Settings, route: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST to the gateway's Unix socket and return its JSON answer; raises Unavailable where there is none."""
    from app.adapters.gateway_call import ask_gateway as ask

    return ask(settings.gateway_socket, route, body)


def keeper_of_rules(settings: Settings) -> "tuple[RuleKeeper, Callable[[], None]]":
    """What looks after the rules' files, reading role, and how it is closed."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.file_reader import PostgresFileReader

    reader = PostgresFileReader(open_pool(settings.reader_url, 1, name="weir rules"), settings.project)
    return rule_keeper(settings, reader), reader.close


def mount_parts(settings: Settings, name: str) -> MountParts:
    """What a mount works with; subscribed to the feed when this returns, unless Redis is away."""
    from app.adapters.mount_journal import FolderJournal
    from config.flags import load_flags

    flags, journal = load_flags(), FolderJournal(mount_folder(settings, name))
    subscriber = feed_subscriber(settings) if flags["feed_pubsub"] else None
    reader, cache = file_event_reader(settings), chunk_cache(settings)
    local = local_chunks(settings) if flags["local_chunks"] else None
    rules, spool = policy(settings), partial(decision_spool, settings, name)
    leave = change_leave(settings, name)
    return MountParts(settings.project, journal, reader, subscriber, cache, flags, rules, spool, local, leave)


def server_binaries(settings: Settings) -> list[tuple[str, str]]:
    """Which servers would run; raises SetupError naming the one that is missing and the remedy."""
    from app.adapters.binaries import find_postgres, find_redis

    redis = find_redis() if not settings.redis_given else None
    postgres = find_postgres(settings.home / "postgres") if not settings.database_given else None
    return [
        ("redis", f"{redis.path} ({redis.source})" if redis else "REDIS_URL"),
        ("postgres", f"{postgres.major} in {postgres.folder} ({postgres.source})" if postgres else "DATABASE_URL"),
    ]


def import_parts(settings: Settings) -> "ImportParts":
    """What `weir import` works with: each import is an origin of its own in mounts/import-*."""
    import shutil

    from app.adapters.mount_journal import FolderJournal
    from app.services.importing import ImportParts
    from app.services.inline_courier import ImportOrigin
    from app.services.status import mount_places

    def open_origin(name: str) -> ImportOrigin:
        folder = mount_folder(settings, name)
        return ImportOrigin(FolderJournal(folder), courier(settings, name), lambda: shutil.rmtree(folder.path))

    def leftovers() -> list[str]:
        names = sorted(path.name for path in settings.mounts.glob("import-*"))
        return [name for name in names if not mount_folder(settings, name).is_locked("courier")]

    places = [settings.home, *(Path(place.path) for place in mount_places(settings))]
    excluded = frozenset(os.fsencode(place.parent.resolve() / place.name) for place in places)
    reader = file_event_reader(settings)
    return ImportParts(settings.project, reader, open_origin, leftovers, excluded, lambda: _close(reader))


def _close(*parts: object) -> None:
    """Close what has something to close: pools, clients, locks."""
    for part in parts:
        close = getattr(part, "close", None)
        if close is not None:
            close()


def watched(settings: Settings) -> Watched:
    """What `weir status` and `weir doctor` look at for alerts."""
    refused = project_rules(settings).refused
    return Watched(lambda: why_rules_do_not_load(settings), dropped_messages(settings).counts, refused)
