"""Small content that came with the feed is read at once, and never in the place of another version's."""

import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard

sys.path.insert(0, str(Path(__file__).parent))

from quiet_mount import THEIRS, Mount

from app.core.chunks import HOLE
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION
from app.core.messages import FILES, FORMAT, ChunkData, FeedEvent, FeedMessage, OriginRange, Outcome
from app.core.operations import ChunkRef, Content, FileOperationRequest, Make, encode_request
from app.services.carrying import BYTES_MAX, EVENTS_MAX, Carried, carried, with_content
from fuse_mount.foreseen import Foreseen
from fuse_mount.local_calls import SIZE_MAX

FILE = (THEIRS << 32) + 1


@pytest.fixture
def mount() -> Mount:
    mount = Mount()
    mount.hear(mount.store.foreign(Make(1, b"f", FILE, 0o100644, 0, 0)))
    return mount


def chunk(data: bytes, encoding: str = "raw") -> ChunkData:
    return ChunkData(b"h" + data[:31], len(data), encoding, data if encoding == "raw" else zstandard.compress(data))


def event(mount: Mount, data: bytes, refs: tuple[ChunkRef, ...]) -> FeedEvent:
    version = mount.state.tree.nodes[FILE].version
    return mount.store.foreign(Content(FILE, version, len(data), 5, chunks=refs), data)


def message(mount: Mount, events: list[FeedEvent], chunks: list[ChunkData]) -> FeedMessage:
    first, last = events[0].position, events[-1].position
    ranges = (OriginRange(THEIRS, events[0].sequence, events[-1].sequence, first),)
    return FeedMessage(FORMAT, "p", FILES, first, last, mount.feed.hash, b"", ranges, (), tuple(events), tuple(chunks))


def told(mount: Mount, data: bytes, brought: list[ChunkData], refs: tuple[ChunkRef, ...] | None = None) -> None:
    named = refs if refs is not None else tuple(ChunkRef(i, c.hash, c.size_bytes) for i, c in enumerate(brought))
    mount.feed.receive(message(mount, [event(mount, data, named)], brought))
    mount.state.shown.before.clear()


def asks_nobody(mount: Mount) -> None:
    mount.store.fetch = lambda *asked: pytest.fail(f"asked for {asked}")  # type: ignore[method-assign]


@pytest.mark.parametrize("encoding", ["raw", "zstd"])
def test_content_that_came_along_is_read_without_asking_anybody(mount: Mount, encoding: str) -> None:
    data = b"new " * 1000
    told(mount, data, [chunk(data, encoding)])
    asks_nobody(mount)
    assert mount.read(b"f") == data


def test_content_of_a_version_that_another_followed_is_not_shown(mount: Mount) -> None:
    told(mount, b"first", [chunk(b"first")])
    told(mount, b"second", [])
    assert mount.read(b"f") == b"second"


def test_holes_and_chunks_make_the_whole(mount: Mount) -> None:
    data = bytes(CHUNK_BYTES) + b"end"
    told(mount, data, [chunk(b"end")], (ChunkRef(0, HOLE, CHUNK_BYTES), ChunkRef(1, chunk(b"end").hash, 3)))
    asks_nobody(mount)
    assert mount.read(b"f") == data


def test_a_sparse_file_of_many_tebibytes_costs_other_mounts_no_memory() -> None:
    """A seek and one byte by anybody took gigabytes of each mount that heard of it."""
    end = SIZE_MAX // CHUNK_BYTES - 1
    far = Content(FILE, EMPTY_VERSION, SIZE_MAX, 5, chunks=(ChunkRef(end, b"h" * 32, 1),))
    request = encode_request(FileOperationRequest(1, 1, "write", b"f", "", "", "", far))
    heard = FeedEvent(1, THEIRS, 1, "theirs", request, Outcome(), b"")
    brought = FeedMessage(FORMAT, "p", FILES, 1, 1, b"", b"", (), (), (heard,), (ChunkData(b"h" * 32, 1, "raw", b"x"),))
    tracemalloc.start()
    assert list(carried(brought, ())) == []
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1024 * 1024


def test_a_version_that_came_in_part_is_asked_for_whole(mount: Mount) -> None:
    data = b"b" * CHUNK_BYTES + b"end"
    told(mount, data, [chunk(b"end")], (ChunkRef(1, chunk(b"end").hash, 3),))
    assert mount.read(b"f") == data


def test_content_that_does_not_unpack_is_asked_for(mount: Mount) -> None:
    told(mount, b"new", [ChunkData(b"h", 3, "zstd", b"no zstd")])
    assert mount.read(b"f") == b"new"


def test_own_unsealed_bytes_win_over_content_that_came_along(mount: Mount) -> None:
    handle = mount.open(b"f", 1)
    mount.write(handle, b"mine")
    told(mount, b"theirs", [chunk(b"theirs")])
    assert mount.read(b"f") == b"mine"
    mount.close(handle)
    assert mount.read(b"f") == b"mine"


def test_much_content_and_content_of_many_events_stays_behind(mount: Mount) -> None:
    small, large = chunk(b"s"), chunk(b"l" * (BYTES_MAX + 1))
    one = message(mount, [event(mount, b"s", ())], [])
    many = message(mount, [event(mount, b"s", ()) for _ in range(EVENTS_MAX + 1)], [])
    assert with_content([one], [small])[0].chunks == (small,)
    assert with_content([one], [large])[0].chunks == with_content([many], [small])[0].chunks == ()


def test_what_nobody_reads_is_bounded() -> None:
    held = Foreseen(bytes_max=10_000)
    for number in range(100):
        held.keep(Carried(number % 50, (THEIRS, number), {}, {0: bytes(1000)}))
    assert held.held_bytes <= 10_000
    assert held.take(49, (THEIRS, 49)) is None
    assert held.take(49, (THEIRS, 99)) is not None
    assert held.take(0, EMPTY_VERSION) is None
