"""What a mount wrote and the store has not confirmed exists nowhere else: it is never dropped, never asked of the store."""

import os
import random
import sys
from collections import Counter
from pathlib import Path

import llfuse
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from quiet_mount import THEIRS, Mount

from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, VersionId
from app.core.messages import Outcome
from app.core.operations import Content, Make, Rename, Unlink
from app.services.carrying import Carried

REFUSED = Outcome("rejected", reason="policy")


@pytest.fixture
def mount() -> Mount:
    mount = Mount()
    for number, name in enumerate([b"f", b"h"], 1):
        inode = (THEIRS << 32) + number
        mount.hear(mount.store.foreign(Make(1, name, inode, 0o100644, 0, 0)))
        mount.hear(mount.store.foreign(Content(inode, EMPTY_VERSION, 4, 5), b"old" + name))
    return mount


def test_content_written_before_an_unlink_that_met_a_foreign_rename_is_still_there(mount: Mount) -> None:
    inode = mount.has(b"f")
    assert inode is not None
    mount.put(b"f", b"mine")
    mount.unlink(b"f")
    mount.hear(mount.store.foreign(Rename(1, b"f", inode, 1, b"g")))
    assert mount.read(b"g") == b"mine"
    mount.ship_all()
    assert mount.read(b"g") == b"mine"


def test_content_of_a_file_that_was_renamed_over_is_still_there_when_another_mount_had_moved_it(mount: Mount) -> None:
    inode = mount.has(b"f")
    assert inode is not None
    mount.put(b"f", b"mine")
    mount.rename(b"h", b"f")
    mount.hear(mount.store.foreign(Rename(1, b"f", inode, 1, b"g")))
    assert (mount.read(b"g"), mount.read(b"f")) == (b"mine", b"oldh")


def test_a_refused_version_does_not_take_the_next_one_with_it(mount: Mount) -> None:
    mount.put(b"f", b"first")
    mount.put(b"f", b" and second", os.O_WRONLY | os.O_APPEND)
    mount.ship()  # O_TRUNC
    mount.ship(REFUSED)
    assert mount.read(b"f") == b"first and second"


def test_bytes_written_over_a_refused_version_are_kept_as_the_journal_keeps_them(mount: Mount) -> None:
    mount.put(b"f", b"first")
    handle = mount.open(b"f", os.O_WRONLY | os.O_APPEND)
    mount.write(handle, b" and more")
    mount.ship()
    mount.ship(REFUSED)
    mount.close(handle)
    assert mount.read(b"f") == b"first and more"


def test_a_truncated_file_stays_readable_when_what_was_left_of_it_is_evicted() -> None:
    mount = Mount(clean_max_bytes=CHUNK_BYTES)
    inode, old = (THEIRS << 32) + 1, os.urandom(4 * CHUNK_BYTES)
    mount.hear(mount.store.foreign(Make(1, b"f", inode, 0o100644, 0, 0)))
    mount.hear(mount.store.foreign(Content(inode, EMPTY_VERSION, len(old), 5), old))
    assert mount.read(b"f") == old
    mount.truncate(b"f", 2 * CHUNK_BYTES)
    other = (THEIRS << 32) + 2
    mount.hear(mount.store.foreign(Make(1, b"other", other, 0o100644, 0, 0)))
    mount.hear(mount.store.foreign(Content(other, EMPTY_VERSION, len(old), 5), old))
    assert mount.read(b"other") == old
    assert mount.read(b"f") == old[: 2 * CHUNK_BYTES]


def sealed(mount: Mount, handle: int, data: bytes, offset: int) -> None:
    mount.write(handle, data, offset)
    with llfuse.lock:
        mount.calls.flush(handle)


@pytest.fixture
def on_disk() -> Mount:
    """A mount that keeps nothing unconfirmed in memory, and moves the base as soon as two chunks are confirmed."""
    mount = Mount(clean_max_bytes=0, pinned_bytes=0)
    mount.state.contents.settled_max = 2
    return mount


def test_a_cut_that_the_store_does_not_have_yet_still_cuts_what_it_has(on_disk: Mount) -> None:
    on_disk.state.contents.settled_max = 1
    whole = os.urandom(3 * CHUNK_BYTES)
    on_disk.put(b"new", whole)
    on_disk.truncate(b"new", CHUNK_BYTES)
    on_disk.truncate(b"new", 3 * CHUNK_BYTES)
    shown = whole[:CHUNK_BYTES] + bytes(2 * CHUNK_BYTES)
    for _ in range(4):
        assert on_disk.read(b"new") == shown
        on_disk.ship()
    assert on_disk.read(b"new") == shown


def test_a_chunk_that_was_confirmed_and_written_again_is_not_the_confirmed_one(on_disk: Mount) -> None:
    first, second, again = (os.urandom(CHUNK_BYTES) for _ in range(3))
    handle = on_disk.open(b"new", os.O_RDWR)
    sealed(on_disk, handle, first, 0)
    sealed(on_disk, handle, second, CHUNK_BYTES)
    on_disk.ship()
    on_disk.ship()  # its making, its first version
    sealed(on_disk, handle, again, 0)
    on_disk.ship()
    assert on_disk.read(b"new") == again + second
    on_disk.ship()
    assert on_disk.read(b"new") == again + second
    assert not on_disk.journal.parking.holds


def test_a_chunk_that_is_written_while_it_is_read_from_disk_is_the_new_one(on_disk: Mount) -> None:
    first, second = os.urandom(CHUNK_BYTES), os.urandom(CHUNK_BYTES)
    handle = on_disk.open(b"new", os.O_RDWR)
    sealed(on_disk, handle, first, 0)

    def meanwhile() -> None:
        on_disk.store.while_waiting = lambda: None
        on_disk.write(handle, second)

    on_disk.journal.parking.patient = True
    on_disk.store.while_waiting = meanwhile
    assert on_disk.read(b"new") == second


NAMES = [b"a", b"b", b"c", b"d"]


def act(mount: Mount, draw: random.Random, handles: list[int]) -> None:
    """One random call of a program of this mount."""
    name, new = draw.choice(NAMES), draw.choice(NAMES)
    data = b"%d," % draw.randrange(1000)
    match draw.randrange(8):
        case 0:
            mount.put(name, data * draw.choice([1, 30_000, 90_000]))
        case 1:
            mount.put(name, data * draw.choice([1, 10_000]), os.O_WRONLY | os.O_APPEND)
        case 2 if mount.has(name) is not None:
            mount.unlink(name)
        case 3 if mount.has(name) is not None:
            mount.rename(name, new)
        case 4:
            handles.append(mount.open(name, os.O_RDWR | draw.choice([0, os.O_TRUNC, os.O_APPEND])))
        case 5 if handles:
            offset = draw.choice([0, 7, CHUNK_BYTES - 2, 2 * CHUNK_BYTES + 30_000, 5 * CHUNK_BYTES + 1])
            mount.write(draw.choice(handles), data * draw.choice([1, 10_000]), offset)
        case 6 if handles:
            mount.close(handles.pop())
        case 7 if mount.has(name) is not None:
            mount.truncate(name, draw.choice([0, 3, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]))
        case _:
            pass


def act_elsewhere(mount: Mount, draw: random.Random, made: int) -> None:
    """One random operation of another mount, which knows all that is committed."""
    tree = mount.store.tree
    name, new = draw.choice(NAMES), draw.choice(NAMES)
    inode = tree.child(1, name)
    if inode is None:
        mount.hear(mount.store.foreign(Make(1, name, (THEIRS << 32) + made, 0o100644, 0, 0)))
        return
    node = tree.nodes[inode]
    data = mount.store.bytes[node.version]
    match draw.randrange(4):
        case 0:
            event = mount.store.foreign(Content(inode, node.version, 7, 5), b"foreign")
        case 1:
            appended = Content(inode, node.version, len(data) + 1, 5, append_from=len(data))
            event = mount.store.foreign(appended, data + b"+")
        case 2 if name != new:
            event = mount.store.foreign(Rename(1, name, inode, 1, new, tree.child(1, new) or 0))
        case _:
            event = mount.store.foreign(Unlink(1, name, inode))
    if event.outcome.kind == "applied" and draw.random() < 0.5:
        comes_along(mount, (event.incarnation, event.sequence), inode)
    mount.hear(event)


def comes_along(mount: Mount, version: VersionId, inode: int) -> None:
    """Let the content of a version come with the feed."""
    data = mount.store.bytes.get(version)
    if data is not None:
        chunks = {at // CHUNK_BYTES: data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)}
        mount.state.contents.foreseen.keep(Carried(inode, version, {i: (b"h", len(part)) for i, part in chunks.items()}, chunks))


def shows_what_it_holds(mount: Mount) -> None:
    """Every visible file is read: own unconfirmed content from here, the rest from the store."""
    for name, inode in mount.state.tree.entries(1):
        node = mount.state.tree.nodes[inode]
        file = mount.state.contents.files.get(inode)
        if file is not None and file.dirty:
            continue
        written = mount.journal.written.get(node.version)
        assert mount.read(name) == (mount.store.bytes[node.version] if written is None else written)


def counts_what_it_holds(mount: Mount) -> None:
    """No chunk is counted twice or not at all, and the disk holds what some file needs, nothing else."""
    contents, parking = mount.state.contents, mount.journal.parking
    files = contents.files.values()
    assert contents.clean_bytes + contents.pinned_bytes == sum(len(c) for f in files for c in f.chunks.values())
    assert contents.clean_bytes == sum(len(contents.files[inode].chunks[index]) for inode, index in contents._clean)  # noqa: SLF001
    parked = [part for file in files for parts in file.places.values() for part in parts]
    assert contents.copied_bytes == sum(at.length for at in parked if at.place < 0)
    assert parking.holds == Counter(at.place for at in parked)


@pytest.mark.parametrize("seed", range(60))
def test_nothing_unconfirmed_is_dropped_whatever_two_mounts_do(seed: int) -> None:
    draw = random.Random(seed)
    mount = Mount(draw.choice([0, CHUNK_BYTES, 1 << 20]), draw.choice([0, 2 * CHUNK_BYTES, 1 << 20]), seed)
    mount.state.contents.settled_max = draw.choice([1, 5, 1000])
    handles: list[int] = []
    for step in range(120):
        match draw.randrange(4):
            case 0:
                act_elsewhere(mount, draw, step + 1)
            case 1 if mount.committed < len(mount.journal.requests):
                mount.ship(REFUSED if draw.random() < 0.1 else None)
            case _:
                act(mount, draw, handles)
        shows_what_it_holds(mount)
        counts_what_it_holds(mount)
    while handles:
        mount.close(handles.pop())
    mount.ship_all()
    shows_what_it_holds(mount)
    assert mount.state.tree.nodes.keys() == mount.store.tree.nodes.keys()
    assert mount.state.contents.pinned_bytes == 0
    assert not mount.journal.parking.holds
    assert mount.state.counters["own unconfirmed content asked of the store"] == 0
