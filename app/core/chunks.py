"""Content as chunks of 128 KiB: sparse, immutable, named by a hash keyed with the project.

A chunk's bytes are trimmed of nothing: chunk i of a file of `size` bytes holds min(128 KiB, size - i*128 KiB)
bytes, zero-filled. A chunk that is all zeros is a hole: no chunk, an empty hash.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import blake3

from app.core.ids import CHUNK_BYTES

HOLE: Final = b""


class Extent(NamedTuple):
    """`data` lies at byte `offset` of a file."""

    offset: int
    data: bytes | memoryview


class ResizeTo(NamedTuple):
    """The file's length was set to `size` between two writes."""

    size: int


def project_key(project: str) -> bytes:
    """Return the 32 byte key under which a project's chunks are hashed."""
    return hashlib.sha256(b"weir chunk key 1\x00" + project.encode()).digest()


def chunk_hash(key: bytes, data: bytes | memoryview) -> bytes:
    """Return the name of a chunk: keyed BLAKE3, 32 bytes; HOLE for all zeros."""
    return blake3.blake3(data, key=key).digest() if any_set(data) else HOLE


def any_set(data: bytes | memoryview) -> bool:
    """Tell whether any byte is not zero."""
    plain = bytes(data)
    return plain.count(0) != len(plain)


def touched(changes: Iterable[Extent | ResizeTo], base_size: int, chunk_bytes: int = CHUNK_BYTES) -> set[int]:
    """Return the indexes of chunks whose bytes `changes` may alter, starting from a file of `base_size`.

    A chunk that only falls behind the end is not among them; one that was behind the end and is within again is.
    """
    indexes: set[int] = set()
    size = lowest = base_size
    for change in changes:
        low, high = (
            (change.offset, change.offset + len(change.data)) if isinstance(change, Extent) else (size, change.size)
        )
        if isinstance(change, Extent) and low == high:
            continue
        if isinstance(change, Extent):
            indexes.update(range(low // chunk_bytes, (high - 1) // chunk_bytes + 1))
            high = max(size, high)
        if high != size and min(size, high) % chunk_bytes:  # the last chunk is cut, or filled up with zeros
            indexes.add(min(size, high) // chunk_bytes)
        size = high
        lowest = min(lowest, size)
    grown_again = min(size, base_size)
    if lowest < grown_again:
        indexes.update(range(lowest // chunk_bytes, (grown_again - 1) // chunk_bytes + 1))
    return indexes


def compose(
    base: Mapping[int, bytes],
    base_size: int,
    changes: Iterable[Extent | ResizeTo],
    size: int,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[int, bytes]:
    """Return the new bytes of every touched chunk below `size`, which is the length that `changes` lead to.

    `base` must hold the plain bytes of each touched chunk that the base version has (absent = hole).
    """
    steps = list(changes)
    end = max(base_size, size, *map(_end, steps))
    work = {}
    for i in touched(steps, base_size, chunk_bytes):
        # no longer than the file ever was: of a file of 4 KiB, 128 KiB of zeros were most of the work
        room = min(chunk_bytes, end - i * chunk_bytes)
        work[i] = bytearray(base.get(i, b"")[:room].ljust(room, b"\0"))
    for change in steps:
        _apply(work, change, chunk_bytes)
    return {
        i: bytes(buffer[: min(chunk_bytes, size - i * chunk_bytes)])
        for i, buffer in work.items()
        if i * chunk_bytes < size
    }


def _end(change: Extent | ResizeTo) -> int:
    return change.offset + len(change.data) if isinstance(change, Extent) else change.size


def _apply(work: dict[int, bytearray], change: Extent | ResizeTo, chunk_bytes: int) -> None:
    match change:
        case Extent(offset, data):
            done = 0
            while done < len(data):
                index, within = divmod(offset + done, chunk_bytes)
                part = data[done : done + chunk_bytes - within]
                work[index][within : within + len(part)] = part
                done += len(part)
        case ResizeTo(size):
            for index, buffer in work.items():
                keep = min(max(size - index * chunk_bytes, 0), chunk_bytes)
                if keep < len(buffer):
                    buffer[keep:] = bytes(len(buffer) - keep)
