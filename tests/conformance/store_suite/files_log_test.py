"""What every store of the files log promises, whatever it is made of."""

import threading

import pytest

from app.core.errors import StoreUnavailable
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, GENESIS_HASH
from app.core.messages import ChunkData
from app.core.operations import ChunkRef, Content, Make, Rename, Rmdir, SetAttr, Unlink

FILE, FOLDER = 0o100644, 0o40755


def make(mount, parent, name, mode=FILE):
    inode = mount.inode()
    return inode, Make(parent, name, inode, mode, 0, 0)


def test_the_same_request_id_gets_the_same_incarnation_and_another_gets_another(store):
    writer = store.writer()
    first = writer.register_incarnation(store.project, "o" * 32, "m", "r1")
    assert writer.register_incarnation(store.project, "o" * 32, "m", "r1") == first
    assert writer.register_incarnation(store.project, "o" * 32, "m", "r2") == first + 1


def test_positions_are_gapless_with_four_writers_at_once(store):
    mounts = [store.mount(f"m{i}") for i in range(4)]

    def write(mount):
        for number in range(25):
            _, operation = make(mount, 1, b"%s-%d" % (mount.name.encode(), number))
            _, further = make(mount, 1, b"%s-x%d" % (mount.name.encode(), number))
            reply, _ = mount.do(operation, further)
            assert not reply.rejected

    threads = [threading.Thread(target=write, args=(mount,)) for mount in mounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = store.read().events_after(0)
    assert [event.position for event in events] == list(range(1, 201))
    for mount in mounts:
        assert [e.sequence for e in events if e.incarnation == mount.incarnation] == list(range(1, 51))
    assert store.read().head().position == 200


def test_a_batch_sent_again_is_stored_once_and_answered_as_stored(store):
    mount = store.mount()
    batch = mount.batch(make(mount, 1, b"a")[1], Unlink(1, b"none", 77))
    first, feed = mount.writer.append(batch, "task-1")
    again, silence = mount.writer.append(batch, "task-2")
    assert feed and not silence
    assert (again.acked, again.position, again.error) == (2, 2, "")
    assert again.rejected == first.rejected != ()
    other, silence = store.writer().append(batch, "task-3")
    assert other.acked == 2 and not silence
    assert store.read().head().position == 2


def test_a_batch_that_overlaps_what_is_stored_adds_only_the_rest(store):
    mount = store.mount()
    old = mount.batch(make(mount, 1, b"a")[1], make(mount, 1, b"b")[1])
    mount.writer.append(old, "t")
    new = mount.batch(make(mount, 1, b"c")[1])
    reply, feed = mount.writer.append(mount.packed([*old.requests[1:], *new.requests]), "t")
    assert (reply.acked, reply.position) == (3, 3)
    assert [event.sequence for message in feed for event in message.events] == [3]


def test_a_gap_is_refused_and_nothing_is_appended(store):
    mount = store.mount()
    mount.do(make(mount, 1, b"a")[1])
    mount.sequence += 3
    reply, feed = mount.writer.append(mount.batch(make(mount, 1, b"b")[1]), "t")
    assert (reply.error, reply.acked, feed) == ("gap", 1, ())
    assert store.read().head().position == 1


def test_another_operation_under_a_used_sequence_is_an_alarm(store):
    mount = store.mount()
    mount.do(make(mount, 1, b"a")[1])
    mount.sequence = 0
    reply, feed = mount.writer.append(mount.batch(make(mount, 1, b"other")[1]), "t")
    assert (reply.error, reply.acked, feed) == ("digest-mismatch", 1, ())


def test_an_incarnation_that_was_never_given_out_is_refused(store):
    mount = store.mount()
    mount.incarnation += 7
    reply, _ = mount.writer.append(mount.batch(make(mount, 1, b"a")[1]), "t")
    assert reply.error == "unknown-incarnation"
    assert store.read().head().position == 0


def test_an_incarnation_of_another_origin_is_refused(store):
    mount = store.mount()
    mount.origin = "f" * 32
    reply, _ = mount.writer.append(mount.batch(make(mount, 1, b"a")[1]), "t")
    assert reply.error == "unknown-incarnation"


def test_a_chunk_that_is_nowhere_is_asked_for_and_nothing_is_appended(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    chunk = mount.chunk(b"hello")
    batch = mount.batch(made, Content(inode, EMPTY_VERSION, 5, 1, chunks=(ChunkRef(0, chunk.hash, 5),)))
    reply, feed = mount.writer.append(batch, "t")
    assert (reply.missing, reply.acked, feed) == ((chunk.hash,), 0, ())
    assert store.read().head().position == 0
    mount.writer.put_chunks(store.project, [chunk])
    reply, _ = mount.writer.append(batch, "t")
    assert (reply.missing, reply.acked) == ((), 2)
    assert store.read().chunks([chunk.hash]) == {chunk.hash: b"hello"}


def test_a_version_that_is_not_stored_yet_is_not_an_empty_one(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    mount.do(made)
    with pytest.raises(StoreUnavailable):
        store.read().chunk_map(inode, (mount.incarnation, 2))
    assert store.read().chunk_map(inode, EMPTY_VERSION) == {}


def test_chunks_in_the_batch_are_stored_with_it(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    chunk = mount.chunk(b"x" * 1000)
    content = Content(inode, EMPTY_VERSION, 1000, 1, chunks=(ChunkRef(0, chunk.hash, 1000),))
    mount.do(made, content, chunks=[chunk])
    version = (mount.incarnation, 2)
    assert store.read().chunk_map(inode, version) == {0: (chunk.hash, 1000)}
    assert store.read().chunks([chunk.hash, bytes(32)]) == {chunk.hash: b"x" * 1000}


def test_a_rejected_operation_keeps_its_position_and_changes_nothing(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"d", FOLDER)
    reply, feed = mount.do(made, make(mount, inode, b"f")[1], Rmdir(1, b"d", inode), SetAttr(inode, mode=0o700))
    assert [(r.sequence, r.position, r.reason) for r in reply.rejected] == [(3, 3, "not-empty")]
    assert reply.acked == reply.position == 4
    assert feed[0].exceptions == (3,)
    nodes, names = store.read().rows()
    assert nodes[inode].mode == 0o40700
    assert len(names) == 2


def test_feed_messages_carry_the_hash_before_them_and_join_up(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    messages = [*mount.do(made)[1], *mount.do(SetAttr(inode, mode=0o600), SetAttr(inode, uid=3))[1]]
    assert messages[0].prev_hash == GENESIS_HASH
    assert messages[1].prev_hash == messages[0].hash
    assert [(m.first, m.last) for m in messages] == [(1, 1), (2, 3)]
    assert store.read().head().hash == messages[1].hash
    assert messages[1].ranges[0][:] if isinstance(messages[1].ranges[0], tuple) else True
    span = messages[1].ranges[0]
    assert (span.incarnation, span.first_sequence, span.last_sequence, span.first_position) == (
        mount.incarnation,
        2,
        3,
        2,
    )


def test_a_reader_gets_the_events_of_the_feed(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    feed = [*mount.do(made)[1], *mount.do(Rename(1, b"a", inode, 1, b"b"), Unlink(1, b"b", inode))[1]]
    assert list(store.read().events_after(0)) == [event for message in feed for event in message.events]
    assert [e.position for e in store.read().events_after(1, limit=1)] == [2]
    assert store.read().last_sequence(mount.incarnation) == 3


def test_two_appends_to_one_file_keep_both_ends(store):
    first, second = store.mount("one"), store.mount("two")
    inode, made = make(first, 1, b"log")
    start = first.chunk(b"0123456789")
    base = (first.incarnation, 2)
    content = Content(inode, EMPTY_VERSION, 10, 1, append_from=0, chunks=(ChunkRef(0, start.hash, 10),))
    first.do(made, content, chunks=[start])
    one, two = first.chunk(b"0123456789one"), second.chunk(b"0123456789two!")
    first.do(Content(inode, base, 13, 2, append_from=10, chunks=(ChunkRef(0, one.hash, 13),)), chunks=[one])
    reply, feed = second.do(
        Content(inode, base, 14, 3, append_from=10, chunks=(ChunkRef(0, two.hash, 14),)), chunks=[two]
    )
    outcome = feed[0].events[0].outcome
    assert (outcome.kind, outcome.size, reply.rejected) == ("composed", 17, ())
    node = store.read().rows()[0][inode]
    found = store.read().chunk_map(inode, node.version)
    assert store.read().chunks([found[0][0]])[found[0][0]] == b"0123456789onetwo!"
    own = store.read().chunk_map(inode, (second.incarnation, 1))
    assert own == {0: (two.hash, 14)}, "the writer's own version keeps its name"


def test_a_stale_write_is_its_base_and_its_changes_whole(store):
    first, second = store.mount("one"), store.mount("two")
    inode, made = make(first, 1, b"f")
    a, b, c, d = (first.chunk(bytes([65 + i]) * CHUNK_BYTES) for i in range(4))
    whole = 2 * CHUNK_BYTES
    two_chunks = (ChunkRef(0, a.hash, CHUNK_BYTES), ChunkRef(1, b.hash, CHUNK_BYTES))
    first.do(made, Content(inode, EMPTY_VERSION, whole, 1, chunks=two_chunks), chunks=[a, b])
    base = (first.incarnation, 2)
    first.do(Content(inode, base, whole, 2, chunks=(ChunkRef(0, c.hash, CHUNK_BYTES),)), chunks=[c])
    second.do(Content(inode, base, whole, 3, chunks=(ChunkRef(1, d.hash, CHUNK_BYTES),)), chunks=[d])
    version = store.read().rows()[0][inode].version
    assert version == (second.incarnation, 1)
    assert store.read().chunk_map(inode, version) == {0: (a.hash, CHUNK_BYTES), 1: (d.hash, CHUNK_BYTES)}
    middle = {0: (c.hash, CHUNK_BYTES), 1: (b.hash, CHUNK_BYTES)}
    assert store.read().chunk_map(inode, (first.incarnation, 3)) == middle, "both are in history"


def test_a_write_to_a_removed_file_is_kept_in_history(store):
    first, second = store.mount("one"), store.mount("two")
    inode, made = make(first, 1, b"f")
    chunk = second.chunk(b"late")
    first.do(made, Unlink(1, b"f", inode))
    _, feed = second.do(Content(inode, EMPTY_VERSION, 4, 1, chunks=(ChunkRef(0, chunk.hash, 4),)), chunks=[chunk])
    assert feed[0].events[0].outcome.kind == "shadowed"
    assert inode not in store.read().rows()[0]
    assert store.read().chunk_map(inode, (second.incarnation, 1)) == {0: (chunk.hash, 4)}


def test_projects_do_not_meet(store):
    mount = store.mount()
    inode, made = make(mount, 1, b"a")
    mount.do(made)
    other = type(mount)(mount.writer, "f" * 31 + store.project[0])
    other.do(make(other, 1, b"b")[1])
    chunk = mount.chunk(b"secret of one project")
    mount.writer.put_chunks(store.project, [chunk])
    reply, _ = other.writer.append(
        other.batch(Content(inode, EMPTY_VERSION, 3, 1, chunks=(ChunkRef(0, chunk.hash, 3),))), "t"
    )
    assert reply.missing == (chunk.hash,)
    assert store.read().head().position == 1
    assert [n for _, n, _ in store.read().rows()[1]] == [b"a"]


def test_bytes_under_a_false_name_are_refused(store):
    mount = store.mount()
    chunk = mount.chunk(b"true")
    try:
        mount.writer.put_chunks(store.project, [ChunkData(chunk.hash, 5, "raw", b"false")])
    except Exception as error:  # noqa: BLE001 - only its name matters
        assert type(error).__name__ == "PayloadRefused"
    assert store.read().chunks([chunk.hash]) == {}
