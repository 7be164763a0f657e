"""The record frame of journals and spools: 16 bytes of header, then the body.

    u32 body_bytes | u8 format | u8 record type | u16 zero | u64 xxh3_64(body, seed ^ record type)

The seed is the xxh3_64 of the file's own header body (project, origin, incarnation), so that a record
copied from another journal, or a stale block of a reused disk area, fails its checksum.
All integers are little-endian. A file is: one HEADER frame (seed 0), then records to the end; the first
frame that is short or fails its checksum ends the file (`Tail`): it costs what follows and nothing before.
"""

import enum
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import xxhash

from app.core.errors import JournalCorrupt, JournalForeign

FRAME_FORMAT: Final = 1
FRAME_BYTES: Final = 16
BODY_MAX: Final = 16 * 1024 * 1024
_FRAME: Final = struct.Struct("<IBBHQ")
_WRITE: Final = struct.Struct("<QQ")
_BASE: Final = struct.Struct("<QQqQ")


class RecordType(enum.IntEnum):
    """HEADER opens a file; OPERATION carries a sequence; DECISIONS as many as the run of answers in it is long.

    WRITE is unsealed content.

    BASE stands before the first WRITE of an inode whose content is not this journal's own last version of it.
    """

    HEADER = 0
    OPERATION = 1
    WRITE = 2
    DECISIONS = 3
    TRUNCATE = 4
    BASE = 5


class JournalHeader(msgspec.Struct, frozen=True, array_like=True):
    """First record of every segment. `recovers`: earlier incarnations whose unsealed content was
    sealed again in this one; `first_sequence`: of the first numbered record in this segment.
    """

    format: int
    log: str
    project: str
    origin: str
    origin_name: str
    incarnation: int
    segment: int
    first_sequence: int
    created_ns: int
    recovers: tuple[int, ...] = ()


class Record(NamedTuple):
    """One record and where it stands: `offset` of its frame, `end` of its body."""

    type: int
    body: bytes
    offset: int
    end: int


class Tail(NamedTuple):
    """Where reading ended: `offset` of the first byte that is not a whole record; `reason` is
    'end', 'short' or 'checksum'.
    """

    offset: int
    reason: str


class Run(NamedTuple):
    """Encoded decisions with the sequences first, first + 1, ...: one record of a spool."""

    first: int
    bodies: list[bytes]
    size_bytes: int


_header_encoder: Final = msgspec.msgpack.Encoder()
_run_decoder: Final = msgspec.msgpack.Decoder(list[bytes])
_header_decoder: Final = msgspec.msgpack.Decoder(JournalHeader)


def encode_header(header: JournalHeader) -> tuple[bytes, int]:
    """Return the framed header and the seed of the records that follow it."""
    body = _header_encoder.encode(header)
    return frame(RecordType.HEADER, body, 0) + body, xxhash.xxh3_64_intdigest(body)


def frame(record_type: int, body: bytes, seed: int) -> bytes:
    """Return the 16 byte header of one record."""
    return _FRAME.pack(len(body), FRAME_FORMAT, record_type, 0, xxhash.xxh3_64_intdigest(body, seed ^ record_type))


def run_body(bodies: Sequence[bytes]) -> bytes:
    """Return the body of a DECISIONS record."""
    return _header_encoder.encode(bodies)


def split_run(body: bytes) -> list[bytes]:
    """Return the encoded decisions of a DECISIONS record; raises JournalCorrupt."""
    try:
        return _run_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise JournalCorrupt(f"a run of decisions: {error}") from error


def numbers_of(record: Record) -> int:
    """Return how many sequence numbers a record takes; raises JournalCorrupt."""
    if record.type == RecordType.OPERATION:
        return 1
    return len(split_run(record.body)) if record.type == RecordType.DECISIONS else 0


def write_body(inode: int, offset: int, data: bytes) -> bytes:
    """Return the body of a WRITE record: `data` was written to `inode` at `offset`."""
    return _WRITE.pack(inode, offset) + data


def write_head(inode: int, offset: int) -> bytes:
    """Return what a WRITE record's body begins with."""
    return _WRITE.pack(inode, offset)


def frame_of_parts(record_type: int, head: bytes, data: bytes | bytearray | memoryview, seed: int) -> bytes:
    """Return the frame header of the body head + data, without joining them."""
    checksum = xxhash.xxh3_64(head, seed ^ record_type)
    checksum.update(data)
    return _FRAME.pack(len(head) + len(data), FRAME_FORMAT, record_type, 0, checksum.intdigest())


def base_body(inode: int, base: tuple[int, int], size: int) -> bytes:
    """Return the body of a BASE record: the writes of `inode` that follow were made to `base`, of `size` bytes."""
    return _BASE.pack(inode, *base, size)


def split_base(body: bytes) -> tuple[int, tuple[int, int], int]:
    """Return (inode, base version, its size) of a BASE record's body."""
    inode, incarnation, sequence, size = _BASE.unpack(body)
    return inode, (incarnation, sequence), size


def split_write(body: bytes) -> tuple[int, int, memoryview]:
    """Return (inode, offset, data) of a WRITE record's body."""
    inode, offset = _WRITE.unpack_from(body)
    return inode, offset, memoryview(body)[_WRITE.size :]


def read_header(data: bytes | memoryview) -> tuple[JournalHeader, int, int]:
    """Return (header, seed, end offset); raises JournalCorrupt where the file has no whole header."""
    record = next(records(data, 0, 0), None)
    if not isinstance(record, Record) or record.type != RecordType.HEADER:
        raise JournalCorrupt("the file does not begin with a whole header")
    try:
        header = _header_decoder.decode(record.body)
    except msgspec.DecodeError as error:
        raise JournalCorrupt(f"header: {error}") from error
    return header, xxhash.xxh3_64_intdigest(record.body), record.end


def check_owner(header: JournalHeader, project: str, origin: str) -> None:
    """Raise JournalForeign unless the file is of this project and origin."""
    if (header.project, header.origin) != (project, origin):
        raise JournalForeign(f"journal of project {header.project} origin {header.origin}, not of {project} {origin}")


def records(data: bytes | memoryview, start: int, seed: int) -> Iterator[Record | Tail]:
    """Yield the whole records from `start`, then one Tail. Never raises on content."""
    view, offset, end = memoryview(data), start, len(data)
    while offset + FRAME_BYTES <= end:
        size, version, kind, zero, checksum = _FRAME.unpack_from(view, offset)
        stop = offset + FRAME_BYTES + size
        if version != FRAME_FORMAT or zero or size > BODY_MAX:
            yield Tail(offset, "checksum")
            return
        if stop > end:
            break
        body = bytes(view[offset + FRAME_BYTES : stop])
        if xxhash.xxh3_64_intdigest(body, seed ^ kind) != checksum:
            yield Tail(offset, "checksum")
            return
        yield Record(kind, body, offset, stop)
        offset = stop
    yield Tail(offset, "end" if offset == end else "short")
