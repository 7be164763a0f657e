"""Where chunks are kept besides the store."""

from app.ports import ChunkCache, LocalChunks
from config.settings import Settings


def chunk_cache(settings: Settings) -> ChunkCache:
    """The shared content cache."""
    from app.adapters.redis.chunk_cache import RedisChunkCache

    return RedisChunkCache(settings.redis_url, settings.key_prefix, settings.project)


def local_chunks(settings: Settings) -> LocalChunks:
    """Chunks that any mount of this project on this machine has read."""
    from app.adapters.chunk_folder import ChunkFolder

    return ChunkFolder(settings.home / "chunks", settings.project)
