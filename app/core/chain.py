"""The hash chain of a log, and the Merkle root of a row of decisions.

Row hash = SHA-256(previous hash || header || payload digest), so that a payload can be redacted and the
chain still verifies. The header is the msgpack array of `EventHeader`; digests are 32 bytes.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

_encoder: Final = msgspec.msgpack.Encoder()


class EventHeader(msgspec.Struct, frozen=True, array_like=True):
    """Everything of a row that the chain covers besides the payload's digest. `outcome` is the
    encoded Outcome of a file event, empty for decisions; `recorded_at_us` is the database's clock,
    to a second, and grows from append to append.
    """

    project: str
    log: str
    position: int
    kind: str
    recorded_at_us: int
    origin: str
    incarnation: int
    sequence: int
    agent: str
    session: str
    tool_call: str
    decision: str
    task_id: str
    inode: int
    outcome: bytes


def payload_digest(payload: bytes) -> bytes:
    """Return SHA-256 of a payload."""
    return hashlib.sha256(payload).digest()


def row_hash(previous: bytes, header: EventHeader, digest: bytes) -> bytes:
    """Return the hash of a row from the hash of the row before it."""
    return hashlib.sha256(previous + _encoder.encode(header) + digest).digest()


def leaf_digest(salt: bytes, record: bytes) -> bytes:
    """Return the salted digest of one decision of a row."""
    return hashlib.sha256(b"\x00" + salt + record).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root of leaf digests; an odd one is carried up; no leaves give 32 zeros."""
    level = list(leaves)
    if not level:
        return bytes(32)
    while len(level) > 1:
        paired = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + ([level[-1]] if len(level) % 2 else [])
    return level[0]
