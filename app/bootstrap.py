"""The composition root: the only module that names concrete adapters.

One function a process or service; adapters are imported inside it, so that each process loads only what it
needs. Nothing is opened at import: pools and clients are opened by the caller's process, after any fork.
"""

from app.ports import ChunkCache, FeedPublisher, FeedSubscriber, Replies, ReplyBox, SharedDecisions, Tasks
from config.settings import Settings


def migrate_database(admin_url: str, *, writer_password: str, reader_password: str) -> None:
    """Bring the database to the newest schema and its two roles into being; safe when many do it at once."""
    from app.adapters.postgres.migrate import migrate

    migrate(admin_url, writer_password=writer_password, reader_password=reader_password)


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
