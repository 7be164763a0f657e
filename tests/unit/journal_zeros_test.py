"""Zeros ahead of a flushed journal are a clean end: they cost no record, hide no damage, and are nothing to be shipped."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.journal import zeros_ahead
from app.adapters.journal.folder import MountFolder
from app.adapters.journal.journals import FolderJournals
from app.adapters.journal.reader import JournalReader
from app.adapters.journal.recovery import CurrentContent, recover
from app.adapters.journal.segment import Segment
from app.adapters.journal.writer import JournalWriter
from app.adapters.journal.zeros_ahead import AHEAD_BYTES, ENOUGH_BYTES, SLICE, STEP_BYTES
from app.core.operations import FileOperationRequest, Make, kind_of
from app.ports import PlacedRecord, TailDamage

PROJECT = "0" * 32


def make(sequence: int) -> FileOperationRequest:
    operation = Make(1, b"n%d" % sequence, (1 << 32) + sequence, 0o100644, 0, 0)
    return FileOperationRequest(sequence, 5, kind_of(operation), b"a/b", "agent", "", "", operation)


def start(folder: MountFolder, incarnation: int = 1, segment_bytes: int = 8 * AHEAD_BYTES) -> JournalWriter:
    def nothing_known(_inode: int) -> CurrentContent | None:
        return None

    return recover(folder, incarnation, {}, nothing_known, segment_bytes=segment_bytes).writer


def read(folder: MountFolder, incarnation: int = 1) -> tuple[list[PlacedRecord], list[TailDamage]]:
    reader = JournalReader(folder.files(incarnation))
    found: list[PlacedRecord] = []
    while more := reader.poll():
        found += more
    reader.finish()
    reader.close()
    return found, reader.damage


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@pytest.fixture
def folder(tmp_path: Path) -> MountFolder:
    return MountFolder(tmp_path / "main", PROJECT)


def append(writer: JournalWriter, size_bytes: int) -> None:
    for _ in range(size_bytes // len(SLICE)):
        writer.append_write(7, 0, b"x" * len(SLICE))


def flushed(folder: MountFolder, records: int = 3) -> tuple[JournalWriter, Path]:
    """Return a writer after a flush, when its zeros are there, and its file."""
    writer = start(folder)
    for sequence in range(1, records + 1):
        writer.append_operation(make(sequence))
    path = folder.files(1).path(0)
    written = path.stat().st_size
    writer.sync()
    until(lambda: path.stat().st_size == written + AHEAD_BYTES)
    return writer, path


def test_zeros_that_writes_without_a_flush_used_up_are_there_again_before_the_next_flush(folder: MountFolder) -> None:
    writer, path = flushed(folder)
    full = path.stat().st_size
    append(writer, AHEAD_BYTES - ENOUGH_BYTES + STEP_BYTES)
    until(lambda: path.stat().st_size > full)
    writer.abandon()


def test_flushes_one_after_the_other_are_not_held_up_by_filling_while_zeros_are_left(
    folder: MountFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, path = flushed(folder)
    monkeypatch.setattr(zeros_ahead, "QUIET_S", 60)
    full = path.stat().st_size
    append(writer, AHEAD_BYTES - len(SLICE))
    writer.sync()
    time.sleep(0.1)
    assert path.stat().st_size == full
    append(writer, 2 * len(SLICE))
    writer.sync()
    assert full + STEP_BYTES <= path.stat().st_size <= full + STEP_BYTES + 2 * len(SLICE)
    writer.abandon()


def test_records_take_the_place_of_zeros_and_the_file_does_not_grow(folder: MountFolder) -> None:
    writer, path = flushed(folder)
    before = path.stat().st_size
    for sequence in range(4, 104):
        writer.append_operation(make(sequence))
        writer.append_write(7, sequence, b"\0" * 1000)
    assert path.stat().st_size == before
    found, damage = read(folder)
    assert [one.sequence for one in found if one.sequence] == list(range(1, 104))
    assert damage == []
    writer.abandon()


def test_an_end_with_zeros_is_clean_and_nothing_waits_there(folder: MountFolder) -> None:
    writer, _path = flushed(folder)
    writer.append_write(7, 0, b"unsealed")
    writer.abandon()
    found, damage = read(folder)
    assert (len(found), damage) == (4, [])
    journals = FolderJournals(folder)
    assert journals.pending_bytes(1, 0, found[-1].record.end) == 0
    assert 0 < journals.pending_bytes(1, 0, found[1].record.end) < 1000
    journals.close()
    again = start(folder, 2)
    assert again.next_sequence == 2
    again.close()


def test_no_flush_no_zeros_and_none_are_left_by_a_rotation_or_a_close(folder: MountFolder) -> None:
    writer = start(folder, segment_bytes=3 * AHEAD_BYTES)
    writer.append_write(7, 0, b"x" * AHEAD_BYTES)
    first, second = folder.files(1).path(0), folder.files(1).path(1)
    written = first.stat().st_size
    writer.sync()
    until(lambda: first.stat().st_size == written + AHEAD_BYTES)
    writer.append_write(7, 0, b"x" * (AHEAD_BYTES * 3 // 2))
    writer.append_write(7, 0, b"x" * (AHEAD_BYTES * 3 // 2))
    found, damage = read(folder)
    assert damage == []
    assert first.stat().st_size == found[1].record.end
    writer.sync()
    writer.close()
    assert second.stat().st_size == found[2].record.end


@pytest.mark.parametrize("at", [0, 1, 15, 16, 17, 5000, AHEAD_BYTES - 1])
def test_a_byte_among_the_zeros_is_damage_and_costs_no_record(folder: MountFolder, at: int) -> None:
    writer, path = flushed(folder)
    writer.abandon()
    found, _ = read(folder)
    end = found[-1].record.end
    with path.open("r+b") as file:
        file.seek(end + at)
        file.write(b"\1")
    left, damage = read(folder)
    assert len(left) == len(found)
    assert [one.offset for one in damage] == [end]


def test_every_cut_of_a_record_in_the_zeros_costs_that_record_only(folder: MountFolder) -> None:
    writer, path = flushed(folder)
    end = read(folder)[0][-1].record.end
    whole = path.read_bytes()[: end + 1000]
    writer.append_operation(make(4))
    record = path.read_bytes()[end : end + 1000].rstrip(b"\0")
    writer.abandon()
    for kept in range(1, len(record) - 1):
        path.write_bytes(whole[:end] + record[:kept] + whole[end + kept :])
        found, damage = read(folder)
        assert (len(found), [one.offset for one in damage]) == (3, [end])


def test_appends_and_flushes_beside_the_filling_thread_lose_nothing(folder: MountFolder) -> None:
    writer = start(folder, segment_bytes=2 * AHEAD_BYTES)

    def flush() -> None:
        for _ in range(60):
            writer.sync()

    flushing = [threading.Thread(target=flush) for _ in range(2)]
    for thread in flushing:
        thread.start()
    for sequence in range(1, 1500):
        writer.append_operation(make(sequence))
        writer.append_write(7, sequence, os.urandom(3000))
    for thread in flushing:
        thread.join()
    writer.abandon()
    found, damage = read(folder)
    assert damage == []
    assert [one.sequence for one in found if one.sequence] == list(range(1, 1500))
    assert len(found) == 2 * 1499


def test_a_disk_without_room_for_zeros_takes_records_all_the_same(
    folder: MountFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def no_room(_segment: Segment, _zeros: bytes) -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Segment, "fill", no_room)
    writer = start(folder)
    writer.append_operation(make(1))
    writer.sync()
    assert tried.wait(20)
    writer.append_operation(make(2))
    writer.sync()
    writer.close()
    found, damage = read(folder)
    assert ([one.sequence for one in found], damage) == ([1, 2], [])
