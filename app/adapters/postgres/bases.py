"""What the store's writer knows of chunks that others can be kept against, and the chunks of a batch as they are kept.

A chunk is based on one that is kept whole, never on a chain. Only what the database is known to hold whole is taken for
a base; that it still does is looked at again where the chunk is inserted, and what has lost its base is asked for anew.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from app.core import deltas
from app.core.errors import StoreRefused
from app.core.messages import ChunkData

WHOLE_BYTES_MAX: Final = 8 * 1024 * 1024
BASED_MAX: Final = 8192
ASKED_MAX: Final = 64
"""Bases that are asked for a batch: no more than are remembered."""
_ENTRY_BYTES: Final = 200
Plain = Mapping[bytes, bytes]
Find = Callable[[Sequence[bytes]], Mapping[bytes, tuple[bytes, bytes]]]
"""Names of chunks -> of each that is stored the name and the plain bytes of the one that is kept whole: itself, or its
base."""


class Bases:
    """Thread-safe; bounded. `find` asks the database."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._whole: OrderedDict[bytes, bytes] = OrderedDict()
        self._whole_bytes = 0
        self._base_of: OrderedDict[bytes, bytes] = OrderedDict()

    def packed(self, chunks: Sequence[ChunkData], plain: Plain) -> Sequence[ChunkData]:
        """Return chunks as they are kept; of those whose bytes are not in `plain`, whole. A base may be in the same
        batch. What comes of the database's side of it is no reason to refuse a batch.
        """
        based_on = [chunk for chunk in chunks if _may_pay(chunk) and chunk.hash in plain]
        if not based_on:
            return chunks
        self._learn(based_on, {chunk.hash for chunk in chunks})
        kept = []
        wholes, based = dict[bytes, bytes](), dict[bytes, bytes]()
        with self._lock:
            for chunk in chunks:
                base = self._base_of.get(chunk.base) or based.get(chunk.base) or chunk.base
                before, own = wholes.get(base) or self._whole.get(base), plain.get(chunk.hash)
                data = None
                if before and own and base != chunk.hash and _may_pay(chunk):
                    data = deltas.packed(base, before, own, len(chunk.data))
                if data is not None:
                    based[chunk.hash] = base
                elif own is not None:
                    wholes[chunk.hash] = own
                kept.append(chunk if data is None else replace(chunk, encoding=deltas.DELTA, data=data))
        return kept

    def _learn(self, chunks: Sequence[ChunkData], own: Container[bytes]) -> None:
        """Ask for the bases of a batch that are not known; a database that cannot say knows none."""
        with self._lock:
            missing = {chunk.base for chunk in chunks if chunk.base not in own}
            unknown = [name for name in missing if self._base_of.get(name, name) not in self._whole]
        if not unknown:
            return
        try:
            found = self._find(unknown[:ASKED_MAX])
        except StoreRefused:
            return
        with self._lock:
            for name, (base, plain) in found.items():
                self._keep_whole(base, plain)
                if base != name:
                    self._keep_based(name, base)

    def keep(self, chunks: Iterable[ChunkData], plain: Plain) -> None:
        """The database has taken these, as `packed` returned them."""
        with self._lock:
            for chunk in chunks:
                if chunk.encoding == deltas.DELTA:
                    self._keep_based(chunk.hash, deltas.base_of(chunk.data))
                elif chunk.hash in plain and chunk.size_bytes >= deltas.LEAST_BYTES:
                    self._keep_whole(chunk.hash, plain[chunk.hash])

    def forget(self, chunks: Iterable[ChunkData]) -> None:
        """The database has not all of what these are based on."""
        with self._lock:
            for chunk in chunks:
                if chunk.encoding == deltas.DELTA:
                    gone = self._whole.pop(deltas.base_of(chunk.data), None)
                    self._whole_bytes -= 0 if gone is None else len(gone) + _ENTRY_BYTES
                    self._base_of.pop(chunk.base, None)

    def _keep_whole(self, name: bytes, plain: bytes) -> None:
        if name in self._whole:
            self._whole.move_to_end(name)
            return
        self._whole[name] = plain
        self._whole_bytes += len(plain) + _ENTRY_BYTES
        while self._whole_bytes > WHOLE_BYTES_MAX:
            self._whole_bytes -= len(self._whole.popitem(last=False)[1]) + _ENTRY_BYTES

    def _keep_based(self, name: bytes, base: bytes) -> None:
        self._base_of[name] = base
        self._base_of.move_to_end(name)
        if base in self._whole:
            self._whole.move_to_end(base)
        while len(self._base_of) > BASED_MAX:
            self._base_of.popitem(last=False)


def _may_pay(chunk: ChunkData) -> bool:
    return bool(chunk.base) and deltas.may_pay(chunk.size_bytes, len(chunk.data))
