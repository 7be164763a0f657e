"""Chunks on this machine's disk: never another content than was asked for, never more than the bound, never in the way."""

import os
import stat
from pathlib import Path

import pytest

from app.adapters.chunk_folder import ChunkFolder
from app.core.chunks import chunk_hash, project_key

PROJECT = "0" * 32
KEY = project_key(PROJECT)


def chunks(number: int, size: int = 1000) -> dict[bytes, bytes]:
    found = [os.urandom(size) for _ in range(number)]
    return {chunk_hash(KEY, data): data for data in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "chunks"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def test_what_one_mount_kept_another_finds(folder):
    kept = chunks(5)
    ChunkFolder(folder, PROJECT).keep(kept)
    assert ChunkFolder(folder, PROJECT).get([*kept, b"\x01" * 32]) == kept
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(folder)} == {0o600}


@pytest.mark.parametrize("damage", [b"", b"another", b"x" * (1 << 20)], ids=["empty", "changed", "large"])
def test_what_is_not_what_its_name_says_is_a_miss_and_goes(folder, damage):
    kept = chunks(1)
    cache = ChunkFolder(folder, PROJECT)
    cache.keep(kept)
    (path,) = files(folder)
    path.write_bytes(damage)
    assert cache.get(list(kept)) == {}
    assert (cache.refused, files(folder)) == (1, [])
    cache.keep(kept)
    assert cache.get(list(kept)) == kept


def test_a_link_that_somebody_laid_is_not_followed(folder, tmp_path):
    kept = chunks(1)
    cache = ChunkFolder(folder, PROJECT)
    cache.keep(kept)
    (path,) = files(folder)
    outside = tmp_path / "outside"
    outside.write_bytes(*kept.values())
    path.unlink()
    path.symlink_to(outside)
    assert cache.get(list(kept)) == {}
    assert outside.exists()


def test_another_project_reads_nothing_of_it(folder):
    kept = chunks(1)
    ChunkFolder(folder, PROJECT).keep(kept)
    assert ChunkFolder(folder, "1" * 32).get(list(kept)) == {}


def test_the_oldest_go_where_the_bound_is_reached(folder):
    cache = ChunkFolder(folder, PROJECT, bytes_max=100_000)
    old, new = chunks(60), chunks(60)
    cache.keep(old)
    for path in files(folder):
        os.utime(path, (1, 1))
    cache.keep(new)
    assert cache.get(list(new)) == new
    assert sum(path.stat().st_size for path in files(folder)) <= 100_000


def test_what_is_read_becomes_young_again(folder):
    kept = chunks(1)
    cache = ChunkFolder(folder, PROJECT)
    cache.keep(kept)
    (path,) = files(folder)
    os.utime(path, (1, 1))
    cache.get(list(kept))
    assert path.stat().st_mtime > 1


def test_a_disk_that_refuses_is_a_miss(folder):
    kept = chunks(1)
    cache = ChunkFolder(folder, PROJECT)
    (name,) = kept
    (folder / name.hex()[:2]).write_text("a file where a folder should be")
    cache.keep(kept)
    assert cache.get(list(kept)) == {}
