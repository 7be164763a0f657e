"""Where cold content comes from: this machine's disk first, and what came from further away is there the next time."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from app.adapters.chunk_folder import ChunkFolder
from app.core.chunks import chunk_hash, project_key
from app.core.errors import ContentUnavailable, StoreUnavailable
from fuse_mount.cold import KEEPING_MAX, ColdContent

PROJECT = "0" * 32
DATA = b"cold" * 1000
NAME = chunk_hash(project_key(PROJECT), DATA)
MAP = {0: (NAME, len(DATA))}


class Reader:
    """A store of one chunk, which may be away."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def chunks(self, names: Sequence[bytes]) -> dict[bytes, bytes]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return {name: DATA for name in names if name == NAME}


class Stuck:
    """A disk that answers and never takes anything."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()

    def get(self, names: Sequence[bytes]) -> dict[bytes, bytes]:
        return {}

    def keep(self, chunks: Mapping[bytes, bytes]) -> None:
        self.asked += 1
        self.go.wait(10)


def read(cold: ColdContent, deadline_s: float = 2) -> bytes:
    return cold.fetch(7, (1, 1), MAP, [0], time.monotonic() + deadline_s).chunks[0]


def until_kept(folder: Path) -> None:
    deadline_s = time.monotonic() + 5
    while not [path for path in folder.glob("??/*") if path.suffix != ".new"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_what_was_read_once_is_read_from_this_machine_with_the_store_away(tmp_path: Path) -> None:
    reader = Reader()
    assert read(ColdContent(reader, None, ChunkFolder(tmp_path, PROJECT))) == DATA  # type: ignore[arg-type]
    until_kept(tmp_path)
    reader.away = True
    another_mount = ColdContent(reader, None, ChunkFolder(tmp_path, PROJECT))  # type: ignore[arg-type]
    assert (read(another_mount), reader.asked) == (DATA, 1)


def test_a_damaged_chunk_is_asked_of_the_store_again(tmp_path: Path) -> None:
    reader = Reader()
    ChunkFolder(tmp_path, PROJECT).keep({NAME: DATA})
    (path,) = tmp_path.glob("??/*")
    path.write_bytes(b"warm" * 1000)
    assert (read(ColdContent(reader, None, ChunkFolder(tmp_path, PROJECT))), reader.asked) == (DATA, 1)  # type: ignore[arg-type]
    until_kept(tmp_path)
    path.write_bytes(b"warm" * 1000)
    reader.away = True
    with pytest.raises(ContentUnavailable):
        read(ColdContent(reader, None, ChunkFolder(tmp_path, PROJECT)), 0.1)  # type: ignore[arg-type]


def test_a_disk_that_hangs_while_it_is_given_chunks_holds_up_no_read() -> None:
    disk = Stuck()
    cold = ColdContent(Reader(), None, disk)  # type: ignore[arg-type]
    started_s = time.monotonic()
    assert all(read(cold) == DATA for _ in range(KEEPING_MAX * 3))
    assert time.monotonic() - started_s < 2
    disk.go.set()
    cold._keeper.shutdown()  # noqa: SLF001
    assert disk.asked <= KEEPING_MAX
