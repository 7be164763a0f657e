"""Small content goes along with the feed, so that who reads it on another mount asks nobody.

Only where few events go together: somebody may be waiting for them. In a stream of many, content would go to all mounts
for the few files that are read there.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

import zstandard
from msgspec.structs import replace

from app.core.chunks import HOLE
from app.core.ids import CHUNK_BYTES, VersionId
from app.core.messages import ChunkData, FeedMessage
from app.core.operations import Content, decode_request

EVENTS_MAX: Final = 8
BYTES_MAX: Final = 32 * 1024


class Carried(NamedTuple):
    """The whole content of a version: its chunk map as the store has it, and plain bytes by chunk index."""

    inode: int
    version: VersionId
    map: dict[int, tuple[bytes, int]]
    chunks: dict[int, bytes]

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return sum(map(len, self.chunks.values())) + 256


def with_content(messages: Sequence[FeedMessage], chunks: Sequence[ChunkData]) -> Sequence[FeedMessage]:
    """Return the messages of one batch; its chunks with them where they are small and few."""
    if len(messages) != 1 or not chunks or len(messages[0].events) > EVENTS_MAX:
        return messages
    if sum(len(chunk.data) for chunk in chunks) > BYTES_MAX:
        return messages
    return [replace(messages[0], chunks=tuple(chunks))]


def carried(message: FeedMessage, own: Collection[int]) -> Iterator[Carried]:
    """Yield what a message brings whole, of other mounts than those whose incarnations are `own`.

    Raises msgspec.DecodeError. The message was signed by a worker, which has compared each chunk with its name.
    """
    packed = {chunk.hash: chunk for chunk in message.chunks}
    for event in message.events if packed else ():
        operation = None if event.incarnation in own else decode_request(event.request).operation
        if isinstance(operation, Content) and event.outcome.kind == "applied":
            whole = _whole(operation, packed)
            if whole is not None:
                kept = {ref.index: (ref.hash, ref.size_bytes) for ref in operation.chunks if ref.hash != HOLE}
                yield Carried(operation.inode, (event.incarnation, event.sequence), kept, whole)


def _whole(content: Content, packed: dict[bytes, ChunkData]) -> dict[int, bytes] | None:
    """Return the plain chunks of a version, None where its base, or another message, has a part of it."""
    named = {ref.index: ref.hash for ref in content.chunks}
    last = -(-content.size // CHUNK_BYTES)
    if len(named) < last or not all(index in named for index in range(last)):  # `last`: up to 67 million
        return None
    if not {name for name in named.values() if name != HOLE} <= packed.keys():
        return None
    try:
        return {index: _plain(packed[name]) for index, name in named.items() if name != HOLE}
    except zstandard.ZstdError:  # a worker that packs otherwise: who reads asks
        return None


def _plain(chunk: ChunkData) -> bytes:
    if chunk.encoding == "raw":
        return chunk.data
    return zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=CHUNK_BYTES)
