"""All that can be done with a batch before the log's lock: decode, digest, check chunks and ranges. No I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import zstandard

from app.core.chain import payload_digest
from app.core.chunks import chunk_hash
from app.core.errors import PayloadRefused
from app.core.ids import CHUNK_BYTES
from app.core.messages import ChunkData, PersistBatch
from app.core.operations import ChunkRef, Content, FileOperationRequest, decode_request, kind_of

HASH_BYTES: Final = 32
_INDEX_MAX: Final = 2**45
_I64_MAX: Final = 2**63 - 1


class Prepared(NamedTuple):
    """One request: its bytes, their digest, what they decode to (None: refused as `refusal`)."""

    payload: bytes
    digest: bytes
    request: FileOperationRequest | None
    kind: str
    refusal: str


class PreparedBatch(NamedTuple):
    """Consecutive requests from sequence `first`, and the chunks that they name and the batch does not bring."""

    first: int
    requests: Sequence[Prepared]
    named_chunks: Sequence[bytes]


def prepare(batch: PersistBatch) -> PreparedBatch:
    """Decode a batch; raises PayloadRefused where no request tells its sequence, or they do not follow each other."""
    requests = [prepare_request(payload) for payload in batch.requests]
    firsts = {p.request.origin_seq - i for i, p in enumerate(requests) if p.request is not None}
    if len(firsts) != 1 or min(firsts) < 1:
        raise PayloadRefused("the requests of a batch are not consecutive")
    brought = {chunk.hash for chunk in batch.chunks}
    named = {
        ref.hash
        for p in requests
        if p.request is not None and not p.refusal and isinstance(p.request.operation, Content)
        for ref in p.request.operation.chunks
        if ref.hash and ref.hash not in brought
    }
    return PreparedBatch(firsts.pop(), requests, sorted(named))


def prepare_request(payload: bytes) -> Prepared:
    """Decode one request."""
    digest = payload_digest(payload)
    try:
        request = decode_request(payload)
    except (msgspec.DecodeError, RecursionError):
        return Prepared(payload, digest, None, "invalid", "invalid")
    refusal = "" if _is_sound(request) else "invalid"
    return Prepared(payload, digest, request, kind_of(request.operation), refusal)


def _is_sound(request: FileOperationRequest) -> bool:
    operation = request.operation
    if not (0 <= operation.inode <= _I64_MAX and abs(request.at_ns) <= _I64_MAX):
        return False
    return not isinstance(operation, Content) or all(map(_is_sound_reference, operation.chunks))


def _is_sound_reference(ref: ChunkRef) -> bool:
    return 0 <= ref.index < _INDEX_MAX and 0 <= ref.size_bytes <= CHUNK_BYTES and len(ref.hash) in {0, HASH_BYTES}


def plain_bytes(chunk: ChunkData) -> bytes:
    """Return the plain bytes of a chunk; raises PayloadRefused."""
    try:
        plain = chunk.data if chunk.encoding == "raw" else _inflate(chunk)
    except zstandard.ZstdError as error:
        raise PayloadRefused(f"a chunk does not decompress: {error}") from error
    if len(plain) != chunk.size_bytes or len(plain) > CHUNK_BYTES:
        raise PayloadRefused(f"a chunk holds {len(plain)} bytes and says {chunk.size_bytes}")
    return plain


def _inflate(chunk: ChunkData) -> bytes:
    if chunk.encoding != "zstd":
        raise PayloadRefused(f"chunk encoding {chunk.encoding!r} is not known")
    if zstandard.frame_content_size(chunk.data) > CHUNK_BYTES:  # a declared size is allocated whole
        raise PayloadRefused(f"a chunk says that it holds more than {CHUNK_BYTES} bytes")
    return zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=CHUNK_BYTES)


def check_chunks(key: bytes, chunks: Sequence[ChunkData], kept_bytes: int = 0) -> dict[bytes, bytes]:
    """Raise PayloadRefused unless every chunk's name is the keyed hash of its plain bytes; return those of the first
    `kept_bytes` by name, no more: a small message can hold a great deal of them.
    """
    found = {}
    for chunk in chunks:
        plain = plain_bytes(chunk)
        if not chunk.hash or chunk_hash(key, plain) != chunk.hash:
            raise PayloadRefused("a chunk's name is not the hash of its bytes")
        if (kept_bytes := kept_bytes - len(plain)) >= 0:
            found[chunk.hash] = plain
    return found
