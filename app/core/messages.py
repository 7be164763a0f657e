"""Payloads of tasks, replies and feed between processes: msgpack arrays that start with a format version.

What does not decode, or carries another format, is refused at the border of the process that reads it.
"""

from typing import Any, Final, TypeVar

import msgspec

from app.core.errors import PayloadRefused

FORMAT: Final = 1
FILES: Final = "files"
DECISIONS: Final = "decisions"


class ChunkData(msgspec.Struct, frozen=True, array_like=True):
    """One chunk: `hash` is the keyed BLAKE3 of the plain bytes, `encoding` is 'raw' or 'zstd'.

    `base`: the chunk that stood in its place before, where it may be much the same; the store may keep the difference.
    """

    hash: bytes
    size_bytes: int
    encoding: str
    data: bytes
    base: bytes = b""


class PersistBatch(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.persist: consecutive encoded FileOperationRequests of one incarnation."""

    format: int
    project: str
    origin: str
    origin_name: str
    incarnation: int
    batch_id: str
    reply_to: str
    requests: tuple[bytes, ...]
    chunks: tuple[ChunkData, ...] = ()


class Rejection(msgspec.Struct, frozen=True, array_like=True):
    """An operation that the store refused; it still has its position. `reason` is a closed word."""

    sequence: int
    position: int
    reason: str


class PersistReply(msgspec.Struct, frozen=True, array_like=True):
    """Answer to a persist batch.

    `acked`: highest sequence of the incarnation that is in Postgres. `missing`: chunk hashes to send
    again (nothing was appended). `error`: '' or gap | digest-mismatch | unknown-incarnation | invalid.
    """

    format: int
    batch_id: str
    incarnation: int
    acked: int
    position: int
    rejected: tuple[Rejection, ...] = ()
    missing: tuple[bytes, ...] = ()
    error: str = ""


class ChunkBatch(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.chunks: content sent ahead of the batch that names it."""

    format: int
    project: str
    batch_id: str
    reply_to: str
    chunks: tuple[ChunkData, ...]


class ChunkReply(msgspec.Struct, frozen=True, array_like=True):
    """Answer to weir.chunks: these hashes are in Postgres."""

    format: int
    batch_id: str
    stored: tuple[bytes, ...]


class IncarnationRequest(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.incarnation: an origin asks for a fresh incarnation number."""

    format: int
    project: str
    origin: str
    origin_name: str
    request_id: str
    reply_to: str


class IncarnationReply(msgspec.Struct, frozen=True, array_like=True):
    """Answer to weir.incarnation; the same request_id always gets the same number."""

    format: int
    request_id: str
    incarnation: int


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of an operation at its position.

    `kind`: applied | renamed (committed as `name`) | merged (into `inode`) | shadowed (history only)
    | composed (`chunks` replace the request's) | rejected (`reason`).
    """

    kind: str = "applied"
    name: bytes = b""
    inode: int = 0
    reason: str = ""
    size: int = -1
    chunks: tuple[tuple[int, bytes, int], ...] = ()


APPLIED: Final = Outcome()


class FeedEvent(msgspec.Struct, frozen=True, array_like=True):
    """One committed file event as mounts apply it; `request` is the encoded FileOperationRequest."""

    position: int
    incarnation: int
    sequence: int
    origin_name: str
    request: bytes
    outcome: Outcome
    hash: bytes


class OriginRange(msgspec.Struct, frozen=True, array_like=True):
    """Positions first_position.. hold sequences first_sequence..last_sequence of one incarnation."""

    incarnation: int
    first_sequence: int
    last_sequence: int
    first_position: int


class FeedMessage(msgspec.Struct, frozen=True, array_like=True):
    """What pub/sub carries for one transaction, or the head as a heartbeat (last = first - 1).

    `exceptions` are positions whose outcome is not `applied`. `events` is empty where the message
    would pass its size bound: the reader takes them from Postgres. `chunks`: content that the events name,
    where there is little of it.
    """

    format: int
    project: str
    log: str
    first: int
    last: int
    prev_hash: bytes
    hash: bytes
    ranges: tuple[OriginRange, ...] = ()
    exceptions: tuple[int, ...] = ()
    events: tuple[FeedEvent, ...] = ()
    chunks: tuple[ChunkData, ...] = ()


class RecordBatch(msgspec.Struct, frozen=True, array_like=True):
    """Argument of weir.record: consecutive encoded DecisionRecords of one spool, from `first_sequence`."""

    format: int
    project: str
    spool: str
    batch_id: str
    reply_to: str
    first_sequence: int
    records: tuple[bytes, ...]


class RecordReply(msgspec.Struct, frozen=True, array_like=True):
    """Answer to weir.record: highest sequence of the spool that is in Postgres."""

    format: int
    batch_id: str
    spool: str
    acked: int
    position: int
    error: str = ""


_encoder: Final = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {}
M = TypeVar("M", bound=msgspec.Struct)


def encode(message: msgspec.Struct) -> bytes:
    """Return the wire form of any message of this module."""
    return _encoder.encode(message)


def decode(kind: type[M], data: bytes) -> M:
    """Decode a message of `kind`; raises PayloadRefused for anything else or another format."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        message: M = decoder.decode(data)
    except msgspec.DecodeError as error:
        raise PayloadRefused(f"{kind.__name__}: {error}") from error
    wanted = getattr(kind, "FORMAT", FORMAT)
    if getattr(message, "format", wanted) != wanted:
        raise PayloadRefused(f"{kind.__name__}: format {getattr(message, 'format', None)}, this process reads {wanted}")
    return message
