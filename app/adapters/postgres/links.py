"""A row's header in pieces: what its writer knows ahead, so that Postgres adds position and time and hashes the chain.

front + packed(position) + middle + packed(recorded_at_us) + back is app.core.chain's header, then the payload's digest.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from app.adapters.postgres.arrays import clean
from app.core.chain import EventHeader
from app.core.messages import APPLIED, FILES, encode
from app.core.operations import FileOperationRequest

APPLIED_BYTES: Final = encode(APPLIED)
_encode: Final = msgspec.msgpack.Encoder().encode
_ARRAY: Final = bytes([0x90 | len(EventHeader.__struct_fields__)])
_APPLIED_PACKED: Final = _encode(APPLIED_BYTES)

Context = tuple[str, str, str, str, str]
"""kind, agent, session, tool call, decision"""


def hashes_of(
    previous: bytes, front: bytes, first: int, at_us: int, middles: Sequence[bytes], rows: Iterable[tuple[int, bytes]]
) -> list[bytes]:
    """Return the hashes of events from position `first` on, recorded at one time; each is its context and its back."""
    at, hashes, position = _encode(at_us), list[bytes](), first
    ends = [middle + at for middle in middles]
    for context, back in rows:
        previous = sha256(b"".join((previous, front, _encode(position), ends[context // 5], back))).digest()
        hashes.append(previous)
        position += 1
    return hashes


class Links:
    """The pieces of one batch's rows; requests that share kind and agent share their strings."""

    def __init__(self, project: str, origin: str, incarnation: int, task_id: str) -> None:
        self.front = _ARRAY + _encode(project) + _encode(FILES)
        self.contexts: list[Context] = []
        self.middles: list[bytes] = []
        self._before = _encode(origin) + _encode(incarnation)
        self._after = _encode(task_id)
        self._known: dict[Context, tuple[int, bytes]] = {}

    def context(self, kind: str, request: FileOperationRequest | None) -> tuple[int, bytes]:
        """Return the place of a request's texts among the batch's (2, 7, ...; 1: the task), and its packed strings."""
        if request is None:
            key = (kind, "", "", "", "")
        else:
            key = (kind, request.agent_id, request.session, request.tool_call, request.decision)
        known = self._known.get(key)
        if known is None:
            kept = (kind, *map(clean, key[1:]))
            self.contexts.append(kept)  # type: ignore[arg-type]
            self.middles.append(_encode(kind))
            known = self._known[key] = len(key) * len(self.contexts) - 3, b"".join(map(_encode, kept[1:])) + self._after
        return known

    def back(self, sequence: int, strings: bytes, inode: int, outcome: bytes, digest: bytes) -> bytes:
        """Return the last piece; `outcome` is b'' for applied."""
        shown = _encode(outcome) if outcome else _APPLIED_PACKED
        return b"".join((self._before, _encode(sequence), strings, _encode(inode), shown, digest))
