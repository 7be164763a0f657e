"""Chunks on this machine's disk: one file each, named by its hash, shared by all mounts of a project.

Nothing in it is trusted or missed: what is not what its name says is removed and asked for elsewhere. A file appears
whole (rename). It is bounded by bytes: whoever has added a sixteenth of the bound looks whether the oldest must go, one
process at a time. A look-up makes a file young again, once an hour.
"""

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from app.adapters.journal.folder import try_lock
from app.core.chunks import chunk_hash, project_key
from app.core.ids import CHUNK_BYTES

BYTES_MAX: Final = 1024 * 1024 * 1024
YOUNG_S: Final = 3600
TORN_S: Final = 600


class ChunkFolder:
    """See ports.LocalChunks. `refused` counts files that were not what their name says."""

    def __init__(self, folder: Path, project: str, *, bytes_max: int = BYTES_MAX) -> None:
        self.refused = 0
        self._folder = folder
        self._key = project_key(project)
        self._bytes_max = bytes_max
        self._added = bytes_max  # the first look is at what earlier processes left
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ports.LocalChunks."""
        found = {}
        for name in hashes:
            data = self._read(name)
            if data is not None:
                found[name] = data
        return found

    def keep(self, chunks: Mapping[bytes, bytes]) -> None:
        """See ports.LocalChunks."""
        for name, data in chunks.items():
            with contextlib.suppress(OSError):
                self._write(name, data)
        if self._added >= self._bytes_max // 16:
            self._added = 0
            with contextlib.suppress(OSError):
                self.clean()

    def clean(self) -> int:
        """Remove the longest unused down to seven eighths of the bound, and torn files; return how many went."""
        lock = try_lock(self._folder / "clean.lock")
        if lock is None:
            return 0
        try:
            return self._clean(time.time())
        finally:
            os.close(lock)

    def _clean(self, now_s: float) -> int:
        files = sorted((status.st_mtime, status.st_size, path) for path, status in self._files())
        total, removed = sum(size for _, size, _ in files), 0
        over = total > self._bytes_max
        for used_s, size, path in files:
            torn = path.suffix == ".new" and now_s - used_s > TORN_S
            if torn or (over and total > self._bytes_max * 7 // 8):
                path.unlink(missing_ok=True)
                total -= size
                removed += 1
        return removed

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                found.append((path, path.stat()))
        return found

    def _read(self, name: bytes) -> bytes | None:
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            data = os.read(descriptor, CHUNK_BYTES + 1)
            if chunk_hash(self._key, data) == name:
                self._touch(descriptor)
                return data
        except OSError:
            return None
        finally:
            os.close(descriptor)
        self.refused += 1
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def _touch(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            if time.time() - os.fstat(descriptor).st_mtime > YOUNG_S:
                os.utime(descriptor)

    def _write(self, name: bytes, data: bytes) -> None:
        path = self._path(name)
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            whole = os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)
        if whole:
            fresh.replace(path)
            self._added += len(data)
        else:
            fresh.unlink()

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return self._folder / text[:2] / text[2:]
