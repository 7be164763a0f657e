"""What a mount wrote is read back from its journal, or from a copy, as long as it is held; nothing else ever stands there."""

import os
from pathlib import Path

import pytest

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.journals import FolderJournals
from app.adapters.journal.recovery import recover
from app.adapters.journal.writer import JournalWriter
from app.core.errors import ContentUnavailable
from app.core.ids import CHUNK_BYTES

PROJECT = "0" * 32


@pytest.fixture
def folder(tmp_path: Path) -> MountFolder:
    return MountFolder(tmp_path / "main", PROJECT)


@pytest.fixture
def writer(folder: MountFolder):
    writer = recover(folder, 1, {}, lambda _inode: None, segment_bytes=3 * CHUNK_BYTES).writer
    yield writer
    writer.close()


def appended(writer: JournalWriter, number: int, size: int = CHUNK_BYTES) -> dict[int, bytes]:
    """Append writes and hold them; return what is at which place."""
    found = {}
    for _ in range(number):
        data = os.urandom(size)
        place = writer.append_write(7, 0, data)
        assert writer.parking.hold(place)
        found[place] = data
    return found


def open_segments() -> int:
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and _is_open(fd)]
    return sum(".wj" in name for name in names)


def _is_open(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_what_was_written_is_read_back_after_the_courier_has_removed_its_segment(folder, writer):
    written = appended(writer, 9)
    assert writer.segment > 2
    FolderJournals(folder).remove_below(1, writer.segment)
    assert all(writer.parking.read(place, wait=True) == data for place, data in written.items())


def test_segments_that_nobody_reads_are_closed(writer):
    before = open_segments()
    written = appended(writer, 9)
    assert open_segments() > before + 2
    for place in written:
        writer.parking.let_go(place)
    writer.sync()
    assert open_segments() <= before + 1


def test_removed_segments_give_their_room_back_though_nobody_ever_flushes(folder, writer):
    before = open_segments()
    for _ in range(10):
        for place in appended(writer, 3):
            writer.parking.let_go(place)
        FolderJournals(folder).remove_below(1, writer.segment)
    assert writer.segment > 9
    assert open_segments() <= before + 3
    kept = appended(writer, 1)
    writer.sync()
    assert all(writer.parking.read(place, wait=True) == data for place, data in kept.items())


def test_a_place_in_a_segment_that_is_gone_cannot_be_held(folder, writer):
    place = writer.append_write(7, 0, b"x")
    appended(writer, 9)
    FolderJournals(folder).remove_below(1, 1)
    writer.parking._held.clear()  # noqa: SLF001 - as if it had not been opened while it was there
    assert not writer.parking.hold(place)


def test_copies_are_kept_apart_and_their_room_is_used_again(writer):
    parking = writer.parking
    copies = {parking.copy(data): data for data in (os.urandom(size) for size in (1, 5000, CHUNK_BYTES, 0))}
    assert all(parking.read(place, wait=True) == data for place, data in copies.items())
    first = min(copies, key=abs)
    parking.hold(first)
    parking.let_go(first)
    assert parking.copy(b"other") not in copies
    assert parking.read(first, wait=True) == copies[first]
    parking.let_go(first)
    assert parking.copy(b"in its place") == first
    assert parking.read(first, wait=True) == b"in its place"


def test_what_is_not_what_was_written_is_never_given_out(folder, writer):
    (place,) = appended(writer, 1)
    path = folder.files(1).path(0)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 1)
        last = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([last[0] ^ 1]))
    copy = writer.parking.copy(b"copy")
    os.pwrite(writer.parking._copies._descriptor, b"c0py", 0)  # noqa: SLF001
    for damaged in (place, copy):
        assert writer.parking.read(damaged, wait=False) is None
        with pytest.raises(ContentUnavailable):
            writer.parking.read(damaged, wait=True)


def test_a_disk_that_takes_no_copy_is_no_failure(folder, writer):
    os.close(os.open(folder.path, os.O_RDONLY))
    writer.parking.let_go(writer.parking.copy(b"x"))
    os.close(writer.parking._copies._descriptor)  # noqa: SLF001
    full = os.open("/dev/full", os.O_RDWR)
    writer.parking._copies._descriptor = full  # noqa: SLF001
    assert writer.parking.copy(b"x") == 0
