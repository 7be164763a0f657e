"""Content that is not in memory: read where it is parked, or asked of this machine's disk, then of the shared cache,
then of the store, within a deadline.

Called **with llfuse.lock released**, from requests that the kernel enters with a file's lock, never with a directory's.
The asking runs on a few threads of its own, so that a server that hangs costs a request its 5 s and no more.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlinePassed
from typing import Final, NamedTuple, TypeVar

from app.core.chunks import HOLE
from app.core.errors import ContentUnavailable, Unavailable
from app.core.ids import VersionId
from app.ports import ChunkCache, FileEventReader, LocalChunks, Parking
from fuse_mount.parked import Parts, read

T = TypeVar("T")
DEADLINE_S: Final = 5.0
THREADS: Final = 4
AHEAD: Final = 8
KEEPING_MAX: Final = 8
"""Answers that wait to be written to the local disk; what comes beyond is not kept."""

ChunkMap = dict[int, tuple[bytes, int]]


class Fetched(NamedTuple):
    """A version's chunk map, and plain bytes by chunk index."""

    map: ChunkMap
    chunks: dict[int, bytes]


class ColdContent:
    """Chunks of confirmed versions. `failures` holds the last reasons, for debug/health."""

    def __init__(
        self, reader: FileEventReader, cache: ChunkCache | None, local: LocalChunks | None = None
    ) -> None:
        self.failures: list[str] = []
        self._reader = reader
        self._cache = cache
        self._local = local
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="chunk-keeper")
        self._room = threading.Semaphore(KEEPING_MAX)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cold")

    @property
    def refused(self) -> int:
        """How many chunks on this machine's disk were not what their name says."""
        return self._local.refused if self._local is not None else 0

    def fetch(
        self, inode: int, version: VersionId, known: ChunkMap | None, wanted: Sequence[int], deadline_s: float
    ) -> Fetched:
        """Return the wanted chunks and a few that follow; raises ContentUnavailable at the deadline (monotonic)."""
        return self._within(deadline_s, inode, lambda: self._ask(inode, version, known, wanted, deadline_s))

    def recall(self, inode: int, parking: Parking, places: Mapping[int, Parts], deadline_s: float) -> dict[int, bytes]:
        """Return what is parked at the places, which are held, by chunk index; waits for the disk."""
        return self._within(
            deadline_s, inode, lambda: {i: read(parking, parts, wait=True) or b"" for i, parts in places.items()}
        )

    def _within(self, deadline_s: float, inode: int, ask: Callable[[], T]) -> T:
        work = self._threads.submit(ask)
        try:
            return work.result(max(deadline_s - time.monotonic(), 0.0))
        except DeadlinePassed as error:
            work.cancel()
            raise self._failed(f"inode {inode}: no answer within {DEADLINE_S:.0f} s") from error
        except ContentUnavailable as error:
            raise self._failed(str(error)) from error

    def _failed(self, reason: str) -> ContentUnavailable:
        self.failures = [*self.failures[-9:], reason]
        return ContentUnavailable(reason)

    def _ask(
        self, inode: int, version: VersionId, known: ChunkMap | None, wanted: Sequence[int], deadline_s: float
    ) -> Fetched:
        pause_s = 0.05
        while True:
            try:
                return self._ask_once(inode, version, known, wanted)
            except Unavailable as error:
                if time.monotonic() + pause_s > deadline_s:
                    raise ContentUnavailable(f"inode {inode}: {error}") from error
                time.sleep(pause_s)
                pause_s *= 2

    def _ask_once(self, inode: int, version: VersionId, known: ChunkMap | None, wanted: Sequence[int]) -> Fetched:
        names = self._reader.chunk_map(inode, version) if known is None else known
        ahead = range(max(wanted) + 1, max(wanted) + 1 + AHEAD) if len(wanted) == 1 and max(wanted) else ()
        asked = {i: names[i][0] for i in (*wanted, *ahead) if i in names and names[i][0] != HOLE}
        found = self._chunks(list(dict.fromkeys(asked.values())))
        lost = [i for i in wanted if i in asked and asked[i] not in found]
        if lost:
            raise Unavailable(f"the store does not have chunk {lost[0]} of version {version}")
        return Fetched(names, {i: found[name] for i, name in asked.items() if name in found})

    def _chunks(self, names: list[bytes]) -> dict[bytes, bytes]:
        if self._local is None:
            return self._fetched(names)
        near = self._local.get(names)
        rest = [name for name in names if name not in near]
        if not rest:
            return near
        found = self._fetched(rest)
        if self._room.acquire(blocking=False):
            self._keeper.submit(self._keep, self._local, found)
        return {**near, **found}

    def _keep(self, local: LocalChunks, found: dict[bytes, bytes]) -> None:
        try:
            local.keep(found)
        finally:
            self._room.release()

    def _fetched(self, names: list[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        if self._cache is not None and names:
            try:
                found = self._cache.get(names)
            except Unavailable:
                found = {}
        rest = [name for name in names if name not in found]
        return {**found, **self._reader.chunks(rest)} if rest else found
