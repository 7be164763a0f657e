"""Damage to a journal costs what follows it and nothing before; another journal's records are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import JournalCorrupt, JournalForeign
from app.core.frames import (
    FRAME_BYTES,
    FRAME_FORMAT,
    JournalHeader,
    Record,
    RecordType,
    Tail,
    base_body,
    check_owner,
    encode_header,
    frame,
    frame_of_parts,
    read_header,
    records,
    split_base,
    split_write,
    write_body,
    write_head,
)

BODIES = st.lists(st.binary(max_size=40), max_size=8)


def header_of(incarnation: int = 1, project: str = "p") -> JournalHeader:
    return JournalHeader(FRAME_FORMAT, "files", project, "o", "main", incarnation, 0, 1, 0)


def written(bodies: list[bytes], header: JournalHeader | None = None) -> tuple[bytes, int, list[int]]:
    head, seed = encode_header(header or header_of())
    data, ends = head, []
    for body in bodies:
        data += frame(RecordType.OPERATION, body, seed) + body
        ends.append(len(data))
    return data, len(head), ends


def read(data: bytes) -> tuple[list[bytes], Tail]:
    _, seed, start = read_header(data)
    found = list(records(data, start, seed))
    assert isinstance(found[-1], Tail)
    return [record.body for record in found[:-1] if isinstance(record, Record)], found[-1]


@given(BODIES, st.integers(0, 10_000))
def test_a_journal_cut_anywhere_gives_every_whole_record_before_the_cut(bodies: list[bytes], cut: int) -> None:
    data, start, ends = written(bodies)
    cut = min(cut, len(data))
    if cut < start:
        with pytest.raises(JournalCorrupt):
            read_header(data[:cut])
        return
    found, tail = read(data[:cut])
    whole = [body for body, end in zip(bodies, ends, strict=True) if end <= cut]
    assert found == whole
    assert tail.offset == ([start, *ends])[len(whole)]
    assert tail.reason == ("end" if tail.offset == cut else "short")


@given(BODIES, st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_costs_its_record_and_what_follows_and_nothing_before(
    bodies: list[bytes], at: int, flip: int
) -> None:
    data, start, ends = written(bodies)
    if len(data) == start:
        return
    at = start + at % (len(data) - start)
    damaged = bytearray(data)
    damaged[at] ^= flip
    found, tail = read(bytes(damaged))
    before = [body for body, end in zip(bodies, ends, strict=True) if end <= at]
    assert found == before
    assert tail.reason in {"checksum", "short"}


def test_a_record_copied_from_another_journal_fails_its_checksum() -> None:
    mine, start, _ = written([])
    other, other_start, _ = written([b"replayed"], header_of(incarnation=2))
    found, tail = read(mine + other[other_start:])
    assert (found, tail) == ([], Tail(start, "checksum"))


def test_a_journal_of_another_project_is_refused() -> None:
    check_owner(header_of(), "p", "o")
    with pytest.raises(JournalForeign):
        check_owner(header_of(project="q"), "p", "o")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=30), st.integers(0, 2**64 - 1))
def test_a_write_framed_in_parts_is_the_same_record(inode: int, offset: int, data: bytes, seed: int) -> None:
    body = write_body(inode, offset, data)
    assert frame_of_parts(RecordType.WRITE, write_head(inode, offset), data, seed) == frame(
        RecordType.WRITE, body, seed
    )
    assert len(frame(RecordType.WRITE, body, seed)) == FRAME_BYTES
    found = split_write(body)
    assert (found[0], found[1], bytes(found[2])) == (inode, offset, data)


def test_a_base_record_keeps_a_composed_version() -> None:
    assert split_base(base_body(2**40, (7, -3), 99)) == (2**40, (7, -3), 99)
