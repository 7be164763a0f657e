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


def touched(changes: Iterable[Extent | ResizeTo], base_size: int) -> set[int]:
    """Return the indexes of chunks whose bytes `changes` may alter, starting from `base_size`."""
    indexes: set[int] = set()
    size = base_size
    for change in changes:
        low, high = _reach(change, size)
        if high > low:
            indexes.update(range(low // CHUNK_BYTES, (high - 1) // CHUNK_BYTES + 1))
        size = change.size if isinstance(change, ResizeTo) else max(size, high)
    return indexes


def _reach(change: Extent | ResizeTo, size: int) -> tuple[int, int]:
    match change:
        case Extent(offset, data):
            return offset, offset + len(data)
        case ResizeTo(new):
            # only the partial last chunk changes; whole chunks past the end are dropped by size
            edge = min(new, size)
            return edge, min(max(new, size), (edge // CHUNK_BYTES + 1) * CHUNK_BYTES) if edge % CHUNK_BYTES else edge


def compose(base: Mapping[int, bytes], base_size: int, changes: Iterable[Extent | ResizeTo], size: int) -> dict[int, bytes]:
    """Return the new bytes of every touched chunk below `size`.

    `base` must hold the plain bytes of each touched chunk that the base version has (absent = hole).
    """
    steps = list(changes)
    work = {i: bytearray(base.get(i, b"").ljust(CHUNK_BYTES, b"\0")) for i in touched(steps, base_size)}
    for change in steps:
        _apply(work, change)
    return {i: bytes(buffer[: min(CHUNK_BYTES, size - i * CHUNK_BYTES)]) for i, buffer in work.items() if i * CHUNK_BYTES < size}


def _apply(work: dict[int, bytearray], change: Extent | ResizeTo) -> None:
    match change:
        case Extent(offset, data):
            done = 0
            while done < len(data):
                index, within = divmod(offset + done, CHUNK_BYTES)
                part = data[done : done + CHUNK_BYTES - within]
                work[index][within : within + len(part)] = part
                done += len(part)
        case ResizeTo(size):
            for index, buffer in work.items():
                keep = min(max(size - index * CHUNK_BYTES, 0), CHUNK_BYTES)
                buffer[keep:] = bytes(CHUNK_BYTES - keep)
