"""One persist batch on its way: its content ahead, then the batch, each sent again with the same bytes until answered.

Nothing here waits; time comes in. The broker may lose, double or reorder anything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import zstandard
from msgspec.structs import replace

from app.core.messages import FORMAT, ChunkBatch, ChunkData, ChunkReply, PersistBatch, encode
from app.ports import Tasks
from app.services.predecessors import Predecessors
from app.services.sealing import Shippable

REQUESTS_MAX: Final = 1000
BATCH_BYTES: Final = 1024 * 1024
INLINE_BYTES: Final = 256 * 1024
CONTENT_BYTES: Final = 16 * 1024 * 1024
AHEAD_WINDOW: Final = 8
RESEND_S: Final = 3.0
FILES_QUEUE: Final = "files"
_ZSTD_LEVEL: Final = 1
_PAYS: Final = 0.95


class Sender(NamedTuple):
    """Who sends: what stands in every batch."""

    project: str
    origin: str
    origin_name: str
    reply_to: str
    tasks: Tasks
    compresses: bool = True


class Draft:
    """A batch that still takes requests: at most REQUESTS_MAX, BATCH_BYTES and CONTENT_BYTES."""

    def __init__(self) -> None:
        self.items: list[Shippable] = []
        self._request_bytes = 0
        self._content_bytes = 0

    def add(self, item: Shippable) -> None:
        """Take one more request."""
        self.items.append(item)
        self._request_bytes += len(item.request)
        self._content_bytes += sum(map(len, item.chunks.values()))

    @property
    def is_full(self) -> bool:
        """Tell whether the next request belongs into the next batch."""
        return (
            len(self.items) >= REQUESTS_MAX
            or self._request_bytes >= BATCH_BYTES
            or self._content_bytes >= CONTENT_BYTES
        )


class Shipment:
    """A batch that takes no more requests. `first` and `last` are its sequences."""

    def __init__(
        self,
        sender: Sender,
        incarnation: int,
        batch_id: str,
        items: Sequence[Shippable],
        before: Predecessors | None = None,
    ) -> None:
        self.batch_id = batch_id
        self.incarnation = incarnation
        self.first = items[0].sequence
        self.last = items[-1].sequence
        self._sender = sender
        plain = {name: data for item in items for name, data in item.chunks.items()}
        self._chunks = packed(plain, compress=sender.compresses)
        inline = sum(len(chunk.data) for chunk in self._chunks.values()) <= INLINE_BYTES
        self._payload = encode(
            PersistBatch(
                FORMAT,
                sender.project,
                sender.origin,
                sender.origin_name,
                incarnation,
                batch_id,
                sender.reply_to,
                tuple(item.request for item in items),
                tuple(_placed(self._chunks.values(), before)) if inline else (),
            )
        )
        self._ahead: dict[str, bytes] = {} if inline else self._ahead_of(list(self._chunks.values()), "")
        self._ahead_out: dict[str, float] = {}
        self._rounds = 0
        self._sent_s: float | None = None

    def send_due(self, now_s: float) -> int:
        """Send what is new, and again what has been out for RESEND_S; return how many. Raises BrokerUnavailable."""
        window = list(self._ahead)[:AHEAD_WINDOW]
        due = [name for name in window if now_s - self._ahead_out.get(name, -RESEND_S) >= RESEND_S]
        for name in due:
            self._sender.tasks.send("weir.chunks", self._ahead[name], FILES_QUEUE)
            self._ahead_out[name] = now_s
        if not self._ahead and (self._sent_s is None or now_s - self._sent_s >= RESEND_S):
            self._sender.tasks.send("weir.persist", self._payload, FILES_QUEUE)
            self._sent_s = now_s
            return len(due) + 1
        return len(due)

    def stored(self, reply: ChunkReply) -> None:
        """Some content ahead has arrived."""
        self._ahead.pop(reply.batch_id, None)
        self._ahead_out.pop(reply.batch_id, None)

    def want(self, missing: Sequence[bytes], found: Mapping[bytes, bytes]) -> None:
        """Send `missing` ahead, from this batch or from `found` (plain bytes), then the batch again."""
        chunks = [self._chunks[name] for name in missing if name in self._chunks]
        others = {name: found[name] for name in missing if name not in self._chunks}
        chunks += packed(others, compress=self._sender.compresses).values()
        self._rounds += 1
        self._ahead = self._ahead_of(chunks, f"-{self._rounds}")
        self._ahead_out = {}
        self._sent_s = None

    def unknown(self, missing: Sequence[bytes]) -> list[bytes]:
        """Return which of `missing` are not chunks of this batch."""
        return [name for name in missing if name not in self._chunks]

    def again(self) -> None:
        """Send the batch at the next chance."""
        self._sent_s = None

    def _ahead_of(self, chunks: list[ChunkData], mark: str) -> dict[str, bytes]:
        sender = self._sender
        names = (f"c:{self.batch_id}{mark}.{i}" for i in range(len(chunks)))
        return {
            name: encode(ChunkBatch(FORMAT, sender.project, name, sender.reply_to, tuple(group)))
            for name, group in zip(names, grouped(chunks), strict=False)
        }


def packed(chunks: Mapping[bytes, bytes], *, compress: bool) -> dict[bytes, ChunkData]:
    """Return chunks as they travel: zstd where that pays, raw else."""
    if not compress:
        return {name: ChunkData(name, len(plain), "raw", plain) for name, plain in chunks.items()}
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    found = {}
    for name, plain in chunks.items():
        small = compressor.compress(plain)
        pays = len(small) < len(plain) * _PAYS
        found[name] = ChunkData(name, len(plain), "zstd" if pays else "raw", small if pays else plain)
    return found


def _placed(chunks: Iterable[ChunkData], before: Predecessors | None) -> Iterable[ChunkData]:
    """Name the chunk before of those that have one."""
    for chunk in chunks:
        base = before.of(chunk.hash) if before is not None else b""
        yield replace(chunk, base=base) if base else chunk


def grouped(chunks: Sequence[ChunkData]) -> Iterator[list[ChunkData]]:
    """Yield groups of at most BATCH_BYTES (a larger chunk travels alone)."""
    group: list[ChunkData] = []
    size = 0
    for chunk in chunks:
        if group and size + len(chunk.data) > BATCH_BYTES:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += len(chunk.data)
    if group:
        yield group
