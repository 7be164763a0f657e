"""Composing chunks equals writing to one flat array of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.chunks import Extent, ResizeTo, chunk_hash, compose, project_key, touched

CHUNK = 8
CHANGES = st.lists(
    st.one_of(
        st.builds(Extent, st.integers(0, 60), st.binary(max_size=20)),
        st.builds(ResizeTo, st.integers(0, 70)),
    ),
    max_size=8,
)


def flat(base: bytes, changes: list[Extent | ResizeTo]) -> bytes:
    data = bytearray(base)
    for change in changes:
        if isinstance(change, ResizeTo):
            data = data[: change.size].ljust(change.size, b"\0")
        elif change.data:
            data = data.ljust(change.offset, b"\0")
            data[change.offset : change.offset + len(change.data)] = change.data
    return bytes(data)


def split(data: bytes) -> dict[int, bytes]:
    return {i // CHUNK: data[i : i + CHUNK] for i in range(0, len(data), CHUNK)}


@given(st.binary(max_size=50), CHANGES)
def test_a_composed_version_holds_the_bytes_of_every_write_and_truncation(
    base: bytes, changes: list[Extent | ResizeTo]
) -> None:
    want = flat(base, changes)
    indexes = touched(changes, len(base), CHUNK)
    needed = {i: chunk for i, chunk in split(base).items() if i in indexes}
    made = compose(needed, len(base), changes, len(want), CHUNK)
    kept = {i: chunk for i, chunk in split(base).items() if i * CHUNK < len(want) and i not in made}
    assert {i: c for i, c in (kept | made).items() if any(c)} == {i: c for i, c in split(want).items() if any(c)}


@given(st.binary(max_size=50), CHANGES)
def test_every_chunk_below_the_length_has_its_whole_length(base: bytes, changes: list[Extent | ResizeTo]) -> None:
    want = flat(base, changes)
    made = compose(split(base), len(base), changes, len(want), CHUNK)
    assert all(len(chunk) == min(CHUNK, len(want) - i * CHUNK) for i, chunk in made.items())


def test_truncating_a_terabyte_touches_no_million_chunks() -> None:
    assert len(touched([ResizeTo(5)], 2**40)) == 1
    assert len(touched([ResizeTo(2**40)], 5)) == 1


def test_the_same_bytes_have_another_name_in_another_project() -> None:
    data = b"secret"
    assert chunk_hash(project_key("a" * 32), data) != chunk_hash(project_key("b" * 32), data)
    assert chunk_hash(project_key("a" * 32), bytes(9)) == b""
