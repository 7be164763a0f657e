"""Journal files: what a returned call appended survives, and nothing else is ever seen."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.adapters.journal.folder import MountFolder
from app.adapters.journal.journals import FolderJournals
from app.adapters.journal.reader import JournalReader
from app.adapters.journal.recovery import CurrentContent, pending, recover
from app.core.errors import JournalCorrupt, JournalError, JournalForeign, JournalFull
from app.core.frames import RecordType, split_write
from app.core.operations import Content, FileOperationRequest, Make, SetAttr, kind_of

PROJECT = "0" * 32


def request(sequence: int, operation) -> FileOperationRequest:
    return FileOperationRequest(sequence, 5, kind_of(operation), b"a/b", "agent", "", "", operation)


def make(sequence: int) -> FileOperationRequest:
    return request(sequence, Make(1, b"n%d" % sequence, (1 << 32) + sequence, 0o100644, 0, 0))


def start(folder: MountFolder, incarnation: int = 1, last=None, current=None, **kind):
    return recover(folder, incarnation, last or {}, current or (lambda inode: None), **kind)


def read(folder: MountFolder, incarnation: int):
    reader = JournalReader(folder.files(incarnation))
    found = []
    while more := reader.poll():
        found += more
    reader.finish()
    reader.close()
    return found, reader


@pytest.fixture
def folder(tmp_path: Path) -> MountFolder:
    return MountFolder(tmp_path / "main", PROJECT)


def test_what_was_appended_is_read_back_in_order_with_its_place(folder):
    writer = start(folder).writer
    writer.append_operation(make(1))
    writer.append_write(7, 100, memoryview(b"hello"))
    writer.append_operation(make(2))
    writer.close()
    found, reader = read(folder, 1)
    assert [(p.record.type, p.sequence) for p in found] == [
        (RecordType.OPERATION, 1),
        (RecordType.WRITE, 0),
        (RecordType.OPERATION, 2),
    ]
    assert [bytes(part) if not isinstance(part, int) else part for part in split_write(found[1].record.body)] == [7, 100, b"hello"]
    assert reader.damage == []


def test_a_reader_follows_a_growing_journal_through_its_rotations(folder):
    writer = start(folder, segment_bytes=2000).writer
    reader = JournalReader(folder.files(1))
    seen = []
    for sequence in range(1, 101):
        writer.append_operation(make(sequence))
        seen += [placed.sequence for placed in reader.poll()]
    assert seen == list(range(1, 101))
    assert len(folder.files(1).numbers()) > 3
    writer.abandon()
    reader.close()


def test_every_truncation_point_costs_what_follows_it_and_nothing_before(folder, tmp_path):
    writer = start(folder).writer
    ends = {}
    for sequence in range(1, 6):
        writer.append_write(9, sequence, b"x" * sequence)
        writer.append_operation(make(sequence))
    writer.abandon()
    path = folder.files(1).path(0)
    whole = path.read_bytes()
    placed, _reader = read(folder, 1)
    ends = [p.record.end for p in placed]
    header_end = placed[0].record.offset
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        found, reader = read(folder, 1)
        assert len(found) == sum(end <= cut for end in ends), cut
        boundary = max([header_end, *(end for end in ends if end <= cut)])
        if cut > header_end and cut != boundary:
            assert [(d.offset, d.reason) for d in reader.damage] == [(boundary, "short")], cut


def test_every_flipped_byte_is_noticed(folder):
    writer = start(folder).writer
    for sequence in range(1, 4):
        writer.append_operation(make(sequence))
    writer.abandon()
    path = folder.files(1).path(0)
    whole = path.read_bytes()
    placed, _reader = read(folder, 1)
    type_bytes = {p.record.offset + 5 for p in placed}  # the one byte that the format's checksum does not cover
    for place in set(range(placed[0].record.offset, len(whole))) - type_bytes:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        found, reader = read(folder, 1)
        assert len(found) == sum(p.record.end <= place for p in placed)
        assert reader.damage


def test_a_journal_of_another_project_is_refused(folder, tmp_path):
    start(folder).writer.close()
    stranger = MountFolder(tmp_path / "main", "1" * 32)
    with pytest.raises(JournalForeign):
        JournalReader(stranger.files(1)).poll()


def test_a_record_copied_from_another_journal_is_no_record(folder, tmp_path):
    other = MountFolder(tmp_path / "other", PROJECT)
    for place in (folder, other):
        writer = start(place).writer
        writer.append_operation(make(1))
        writer.close()
    theirs, _reader = read(other, 1)
    stolen = other.files(1).path(0).read_bytes()[theirs[0].record.offset :]
    with folder.files(1).path(0).open("ab") as file:
        file.write(stolen)
    found, reader = read(folder, 1)
    assert len(found) == 1
    assert reader.damage[0].reason == "checksum"


def test_two_processes_cannot_write_one_journal(folder):
    writer = start(folder).writer
    with pytest.raises(JournalError, match="another process"):
        start(folder, 2)
    writer.close()
    start(folder, 2).writer.close()


def test_an_incarnation_is_never_used_twice(folder):
    start(folder, 3).writer.close()
    with pytest.raises(JournalError, match="not fresh"):
        start(folder, 3)


def test_a_sequence_out_of_turn_is_refused_and_leaves_nothing(folder):
    writer = start(folder).writer
    with pytest.raises(JournalError, match="sequence 2"):
        writer.append_operation(make(2))
    writer.append_operation(make(1))
    writer.close()
    assert len(read(folder, 1)[0]) == 1


def test_the_bound_stops_writes_first_and_sealing_later(folder):
    writer = start(folder, bytes_max=64_000).writer
    with pytest.raises(JournalFull):
        for _ in range(100):
            writer.append_write(1, 0, b"x" * 1000)
    writer.append_operation(request(1, Content(1, (0, 0), 1000, 0)))
    writer.close()
    found, reader = read(folder, 1)
    assert found[-1].sequence == 1
    assert reader.damage == []


def test_a_lost_middle_segment_is_said_and_not_jumped_over(folder):
    writer = start(folder, segment_bytes=1000).writer
    for sequence in range(1, 60):
        writer.append_operation(make(sequence))
    writer.close()
    middle = folder.files(1).path(1)
    middle.write_bytes(middle.read_bytes()[:-30])
    reader = JournalReader(folder.files(1))
    with pytest.raises(JournalCorrupt, match="lost"):
        while reader.poll():
            pass
    assert reader.damage[0].file == middle.name
    reader.close()


def test_sync_is_one_flush_for_all_who_wait(folder, monkeypatch):
    writer = start(folder).writer
    flushes = []
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        if threading.current_thread().name != "journal-ahead":  # it flushes zeros, and nobody waits for it
            flushes.append(descriptor)
        time.sleep(0.05)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)

    def one() -> None:
        writer.append_write(1, 0, b"x")
        writer.sync()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(flushes) <= 3
    writer.close()


def test_recovery_seals_unsealed_writes_again_once(folder):
    writer = start(folder).writer
    writer.append_operation(make(1))
    writer.append_write(50, 0, b"sealed")
    writer.append_operation(request(2, Content(50, (0, 0), 6, 0)))
    writer.append_write(50, 6, b" more")
    writer.append_write(60, 1000, b"z")
    writer.abandon()
    known = {60: CurrentContent((9, 9), 2000, b"dir/sixty")}
    second = start(folder, 2, current=known.get)
    assert second.seals == 2
    second.writer.abandon()
    found = [(p.incarnation, p.planned) for p in pending(folder, {})]
    assert [(i, p.request.origin_seq) for i, p in found] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    fifty, sixty = found[2][1], found[3][1]
    assert (fifty.request.operation.base, fifty.request.operation.size) == ((1, 2), 11)
    assert [(e.offset, bytes(e.data)) for e in fifty.changes] == [(6, b" more")]
    assert (sixty.request.operation.base, sixty.request.operation.size, sixty.request.path) == ((9, 9), 2000, b"dir/sixty")
    third = start(folder, 3, current=known.get)
    assert third.seals == 0, "the second journal names the first one as recovered"
    third.writer.abandon()


def test_power_loss_where_the_store_knows_more_leaves_its_newer_version(folder):
    writer = start(folder).writer
    writer.append_operation(make(1))
    writer.append_write(50, 0, b"old")
    writer.abandon()
    assert start(folder, 2, last={1: 5}).seals == 0


def test_a_crash_before_the_rename_changes_nothing(folder, monkeypatch):
    writer = start(folder).writer
    writer.append_write(50, 0, b"data")
    writer.abandon()

    def refuse(path: Path, target: Path) -> None:
        raise OSError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="crash"):
            start(folder, 2)
    assert folder.incarnations() == [1]
    assert start(folder, 3).seals == 1


def test_a_spare_incarnation_is_given_out_once(folder):
    assert folder.take_spare() is None
    folder.keep_spare("i:1", 0)
    assert folder.take_spare() is None
    folder.keep_spare("i:1", 12)
    assert folder.take_spare() == 12
    assert folder.take_spare() is None


def test_an_append_wakes_a_sleeping_courier(folder):
    journals = FolderJournals(folder)
    writer = start(folder).writer
    journals.announce_sleep()
    timer = threading.Timer(0.05, lambda: writer.append_operation(make(1)))
    timer.start()
    began = time.monotonic()
    journals.sleep(5)
    assert time.monotonic() - began < 2
    timer.join()
    journals.close()
    writer.close()


WRITER = """
import sys, os
sys.path.insert(0, {root!r})
from pathlib import Path
from app.adapters.journal.folder import MountFolder
from app.adapters.journal.recovery import recover
from app.core.operations import FileOperationRequest, Make, Content, kind_of
folder = MountFolder(Path({path!r}), "0" * 32)
while True:
    line = sys.stdin.readline()
    if not line:
        break
    incarnation = int(line)
    pid = os.fork()
    if pid == 0:
        writer = recover(folder, incarnation, {{}}, lambda i: None, segment_bytes=50_000).writer
        out = sys.stdout.fileno()
        n = writer.next_sequence
        while True:
            operation = Make(1, b"n%d" % n, n, 0o100644, 0, 0)
            writer.append_operation(FileOperationRequest(n, 5, "create", b"p", "", "", "", operation))
            os.write(out, b"%d %d\\n" % (incarnation, n))
            writer.append_write(77, n * 10, b"y" * 1000)
            n += 1
    os.write(1, b"pid %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


@pytest.mark.thorough
def test_kill_nine_at_any_moment_loses_no_returned_append(tmp_path):
    path = tmp_path / "main"
    root = str(Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(root=root, path=str(path))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    returned: dict[int, int] = {}
    try:
        for incarnation in range(1, 61):
            parent.stdin.write(b"%d\n" % incarnation)
            parent.stdin.flush()
            killed = False
            pid = 0
            while (line := parent.stdout.readline()) != b"dead\n":
                words = line.split()
                if words[0] == b"pid":
                    pid = int(words[1])
                else:
                    returned[int(words[0])] = max(returned.get(int(words[0]), 0), int(words[1]))
                if pid and not killed and (returned.get(incarnation) or incarnation % 5 == 0):
                    time.sleep(incarnation * 0.0001)
                    os.kill(pid, 9)
                    killed = True
            assert killed
    finally:
        parent.stdin.close()
        parent.wait()
        parent.stdout.close()
    folder = MountFolder(path, PROJECT)
    for incarnation in folder.incarnations():
        try:
            found, _reader = read(folder, incarnation)
        except JournalCorrupt as gap:  # a segment that begins behind records which are nowhere: they are lost
            raise AssertionError(str(gap)) from gap
        numbered = [p.sequence for p in found if p.sequence]
        assert numbered == list(range(1, len(numbered) + 1))
        assert len(numbered) >= returned.get(incarnation, 0)
    assert len(folder.incarnations()) >= 45
    assert sum(returned.values()) > 500


def test_attributes_need_no_content(folder):
    writer = start(folder).writer
    writer.append_operation(request(1, SetAttr(5, mode=0o600)))
    writer.close()
    assert [p.planned.changes for p in pending(folder, {})] == [()]


FULL_DISK = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from app.adapters.journal.folder import MountFolder
from app.adapters.journal.reader import JournalReader
from app.adapters.journal.recovery import recover
from app.core.errors import JournalFull
from app.core.operations import FileOperationRequest, Make
{prepare}
folder = MountFolder(Path({path!r}) / "main", "0" * 32)
writer = recover(folder, 1, {{}}, lambda i: None).writer
def operation():
    n = writer.next_sequence
    writer.append_operation(FileOperationRequest(n, 5, "create", b"p", "", "", "", Make(1, b"n%d" % n, n, 0o100644, 0, 0)))
done = refused = 0
for size in (100_000, 10_000, 1_000, 100):
    while True:
        try:
            writer.append_write(1, 0, b"x" * size)
            operation()
            done += 1
        except JournalFull:
            refused += 1
            break
reader = JournalReader(folder.files(1))
found = []
while more := reader.poll():
    found += more
reader.finish()
numbered = [p.sequence for p in found if p.sequence]
assert reader.damage == [], reader.damage
assert numbered == list(range(1, done + 1)), (len(numbered), done)
assert refused == 4 and done > 5, (refused, done)
{release}
operation()
assert writer.next_sequence == done + 2
print("whole")
"""


def full_disk(path: Path, prepare: str, release: str) -> str:
    root = str(Path(__file__).resolve().parents[2])
    return FULL_DISK.format(root=root, path=str(path), prepare=prepare, release=release)


def test_a_file_that_may_not_grow_leaves_whole_records_only(tmp_path):
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))"
    lift = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    script = full_disk(tmp_path, limit, lift)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "whole\n", done.stderr
