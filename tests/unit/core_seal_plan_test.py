"""A journal gives back each request with the bytes it seals, and what a killed mount had not sealed."""

import tracemalloc

import pytest

from app.core.chunks import Extent, ResizeTo
from app.core.errors import JournalCorrupt
from app.core.frames import Record, RecordType, base_body, write_body
from app.core.operations import Content, FileOperationRequest, Make, Operation, encode_request, kind_of
from app.core.seal_plan import PlannedRequest, SealPlan, seal_again


class Tape:
    """Feeds records and keeps what comes out."""

    def __init__(self, *, recovers: bool = True) -> None:
        self.plan = SealPlan(3, recovers=recovers)
        self.at = 0

    def write(self, inode: int, offset: int, data: bytes, segment: int = 0) -> None:
        self._feed(RecordType.WRITE, write_body(inode, offset, data), segment)

    def ask(self, sequence: int, operation: Operation, segment: int = 0) -> PlannedRequest | None:
        request = FileOperationRequest(sequence, 1, kind_of(operation), b"", "", "", "", operation)
        return self._feed(RecordType.OPERATION, encode_request(request), segment)

    def base(self, inode: int, version: tuple[int, int], size: int) -> None:
        self._feed(RecordType.BASE, base_body(inode, version, size), 0)

    def _feed(self, kind: int, body: bytes, segment: int) -> PlannedRequest | None:
        self.at += 1
        return self.plan.feed(Record(kind, body, self.at, self.at), segment)


def test_a_seal_covers_the_writes_of_its_inode_since_its_last_seal() -> None:
    tape = Tape()
    tape.write(5, 0, b"one")
    tape.write(6, 0, b"other")
    tape.write(5, 3, b"two")
    first = tape.ask(1, Content(5, (0, 0), 6, 1))
    assert first is not None
    assert first.changes == (Extent(0, b"one"), Extent(3, b"two"))
    assert (first.from_place, first.place) == ((0, 1), (0, 4))
    again = tape.ask(2, Content(5, (3, 1), 2, 1, truncated=True))
    assert again is not None
    assert again.changes == (ResizeTo(2),)
    assert tape.plan.oldest_unsealed() == (0, 2)
    assert tape.plan.unsealed_bytes == 5


def test_who_only_ships_keeps_nothing_of_files_that_are_sealed_however_many_there_were() -> None:
    tape = Tape(recovers=False)
    for number in range(300):
        everyday(tape, number)
    tracemalloc.start()
    for number in range(300, 3000):
        everyday(tape, number)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 20_000


def everyday(tape: Tape, number: int) -> None:
    inode = 1000 + number
    tape.ask(2 * number + 1, Make(1, b"x%d" % number, inode, 0o100644, 0, 0))
    tape.write(inode, 0, b"new")
    sealed = tape.ask(2 * number + 2, Content(inode, (0, 0), 3, 1))
    assert sealed is not None
    assert sealed.changes == (Extent(0, b"new"),)


def test_unsealed_writes_come_back_with_the_version_that_they_were_made_to() -> None:
    tape = Tape()
    tape.ask(1, Make(1, b"x", 5, 0o100644, 0, 0))
    tape.write(5, 0, b"new")
    tape.write(6, 2, b"unknown")
    tape.base(7, (1, -4), 9)
    tape.write(7, 9, b"foreign")
    tape.write(8, 0, b"sealed")
    tape.ask(2, Content(8, (0, 0), 6, 1))
    tape.write(8, 6, b"more")
    left = {one.inode: (one.base, one.base_size) for one in tape.plan.remainder()}
    assert left == {5: ((0, 0), 0), 6: (None, -1), 7: ((1, -4), 9), 8: ((3, 2), 6)}
    assert [one.inode for one in tape.plan.remainder()] == [5, 6, 7, 8]


def test_recovered_writes_become_a_version_of_their_base_and_them() -> None:
    tape = Tape()
    tape.base(7, (1, 4), 9)
    tape.write(7, 3, b"xy")
    request = seal_again(tape.plan.remainder()[0], (9, 9), 1, 12, 50)
    assert request.operation == Content(7, (1, 4), 9, 50)
    assert (request.origin_seq, request.operation_type) == (12, "write")


def test_nothing_behind_a_hole_in_the_numbers_is_shipped() -> None:
    tape = Tape()
    tape.ask(1, Content(5, (0, 0), 0, 1))
    with pytest.raises(JournalCorrupt):
        tape.ask(3, Content(5, (0, 0), 0, 1))


def test_a_numbered_record_that_is_no_request_is_reported() -> None:
    with pytest.raises(JournalCorrupt):
        SealPlan(1).feed(Record(RecordType.OPERATION, b"\xff", 0, 0))
