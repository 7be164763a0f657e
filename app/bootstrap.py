"""The composition root: the only module that names concrete adapters.

One function a process or service; adapters are imported inside it, so that each process loads only what it
needs. Nothing is opened at import: pools and clients are opened by the caller's process, after any fork.
"""

import os
from collections.abc import Callable, Mapping

from app.core.errors import RequestInvalid
from app.ports import (
    ChunkCache,
    FeedPublisher,
    FeedSubscriber,
    Program,
    Replies,
    ReplyBox,
    Server,
    SharedDecisions,
    Supervisor,
    Tasks,
)
from app.services.escalation import WaitingRoom
from config.settings import ROOT, Settings


def server(settings: Settings, name: str) -> Server:
    """The server `redis` or `postgres` as one process runs or watches it."""
    from app.adapters import servers

    match name, settings.redis_given, settings.database_given:
        case "redis", True, _:
            return servers.GivenRedis(settings.redis_url)
        case "redis", False, _:
            socket = settings.sockets / servers.REDIS_SOCKET
            return servers.OwnRedis(settings.home / "redis", socket, settings.redis_url)
        case "postgres", _, True:
            return servers.GivenPostgres(settings.reader_url, os.environ.get("WEIR_ADMIN_URL", ""))
        case "postgres", _, False:
            return servers.OwnPostgres(settings.home / "postgres", settings.sockets, settings.secrets)
        case _:
            raise RequestInvalid(f"no server is called {name!r}: redis or postgres")


def tasks(settings: Settings) -> Tasks:
    """The broker as a sender sees it; one a process, used by one thread."""
    from app.adapters.broker import CeleryTasks, QueueBound
    from config.celery import QUEUES, sender_configuration

    bounds = {name: QueueBound(queue.length_max, queue.expires_s) for name, queue in QUEUES.items()}
    return CeleryTasks(sender_configuration(settings), bounds)


def reply_box(settings: Settings) -> ReplyBox:
    """The reply list of this process; one thread waits on it."""
    from app.adapters.redis.replies import RedisReplyBox

    return RedisReplyBox(settings.redis_url, settings.key_prefix)


def replies(settings: Settings) -> Replies:
    """The worker's side of reply lists."""
    from app.adapters.redis.replies import RedisReplies

    return RedisReplies(settings.redis_url, settings.key_prefix)


def feed_publisher(settings: Settings) -> FeedPublisher:
    """Pub/sub, sending."""
    from app.adapters.redis.feed import RedisFeedPublisher

    return RedisFeedPublisher(settings.redis_url, settings.key_prefix)


def feed_subscriber(settings: Settings, log: str = "files") -> FeedSubscriber:
    """Pub/sub of one log, receiving; subscribed when this returns, unless Redis is away."""
    from app.adapters.redis.feed import RedisFeedSubscriber

    return RedisFeedSubscriber(settings.redis_url, settings.key_prefix, log)


def chunk_cache(settings: Settings) -> ChunkCache:
    """The shared content cache."""
    from app.adapters.redis.chunk_cache import RedisChunkCache

    return RedisChunkCache(settings.redis_url, settings.key_prefix, settings.project)


def shared_decisions(settings: Settings) -> SharedDecisions:
    """The shared decision cache, sealed with the project's key."""
    from app.adapters.redis.shared_decisions import RedisSharedDecisions
    from config.secret_files import secret_bytes

    key = secret_bytes(settings.secrets / "cache.key")
    return RedisSharedDecisions(settings.redis_url, settings.key_prefix, settings.project, key)


def shared_decisions_if_on(settings: Settings) -> SharedDecisions | None:
    """The shared decision cache, or None where the flag shared_cache is off (every call goes to the policy)."""
    from config.flags import load_flags

    return shared_decisions(settings) if load_flags()["shared_cache"] else None


def waiting_room(settings: Settings) -> WaitingRoom:
    """Where open escalations are kept."""
    from app.adapters.redis.escalations import RedisWaitingRoom

    return RedisWaitingRoom(settings.redis_url, settings.key_prefix)


def cache_trims(settings: Settings) -> list[Callable[[int], int]]:
    """What drops expired entries of each shared cache."""
    from app.adapters.redis.chunk_cache import RedisChunkCache
    from app.adapters.redis.shared_decisions import RedisSharedDecisions

    url, prefix, project = settings.redis_url, settings.key_prefix, settings.project
    return [RedisChunkCache(url, prefix, project).trim, RedisSharedDecisions(url, prefix, project, b"").trim]


def supervisor(settings: Settings) -> Supervisor:
    """What keeps this project's programs running."""
    from app.adapters.supervision import Supervisord

    return Supervisord(settings)


def programs() -> list[Program]:
    """The programs of the Procfile in start order; what works in the background yields."""
    from app.adapters.supervision import procfile

    nice = {"store": 5, "record": 5, "experts": 10, "maintenance": 10, "beat": 10, "flower": 10}
    return [program._replace(nice=nice.get(program.name, 0)) for program in procfile((ROOT / "Procfile").read_text())]


def probes(settings: Settings, log_starts: Mapping[str, int] | None) -> Mapping[str, Callable[[], str]]:
    """What tells from outside that a program serves."""
    from app.adapters import probes as outside

    return outside.probes(settings, log_starts)


def migrate_database(admin_url: str, writer_password: str | None = None, reader_password: str | None = None) -> list[str]:
    """Bring the database of `admin_url` to the newest schema; return the names of the migrations applied now."""
    from app.adapters.postgres.migrate import migrate

    return migrate(admin_url, writer_password=writer_password, reader_password=reader_password)
