"""Random histories of three mounts: the rows in Postgres are what its events fold to, now and at every position."""

import random

import psycopg
import pytest

from app.core.ids import CHUNK_BYTES
from app.core.operations import (
    ChunkRef,
    Content,
    Link,
    Make,
    RemoveXattr,
    Rename,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
)

NAMES = [b"a", b"b", b"c", b"d"]


class Player:
    """Draws operations that often meet each other's; looks at the model for bases and names."""

    def __init__(self, seed, mounts, model):
        self.random, self.mounts, self.model = random.Random(seed), mounts, model
        self.inodes = [1]

    def draw(self, mount):
        pick, tree = self.random, self.model.tree
        inode = pick.choice(self.inodes[-12:])
        folders = [i for i, n in tree.nodes.items() if n.mode & 0o40000 == 0o40000 and n.mode & 0o170000 == 0o40000]
        parent, other = pick.choice([*folders, inode]), pick.choice(folders)
        name, new = pick.choice(NAMES), pick.choice(NAMES)
        there = tree.child(parent, name) or inode
        kind = pick.random()
        if kind < 0.3:
            fresh = mount.inode()
            self.inodes.append(fresh)
            return Make(parent, name, fresh, pick.choice([0o40755, 0o100644, 0o100644]), 0, 0), []
        if kind < 0.4:
            return Rename(parent, name, there, other, new, pick.choice([0, tree.child(other, new) or 0])), []
        if kind < 0.5:
            return Unlink(parent, name, there), []
        if kind < 0.56:
            return Rmdir(parent, name, there), []
        if kind < 0.62:
            return Link(there, other, new), []
        if kind < 0.68:
            return SetAttr(inode, mode=pick.randrange(0o777), mtime_ns=pick.randrange(1000)), []
        if kind < 0.72:
            return pick.choice([SetXattr(inode, b"user.x", b"1"), RemoveXattr(inode, b"user.x")]), []
        return self.content(mount, there)

    def content(self, mount, inode):
        pick, node = self.random, self.model.tree.nodes.get(inode)
        known = [v for v in self.model.maps if v[1] >= 0]
        base = node.version if node is not None and pick.random() < 0.7 else pick.choice(known)
        size = pick.randrange(4 * CHUNK_BYTES)
        appending = -1
        if node is not None and pick.random() < 0.25:
            appending = min(node.size, size) if pick.random() < 0.7 else min(size, 10)
        indexes = [i for i in range(-(-size // CHUNK_BYTES)) if pick.random() < 0.5]
        chunks = [
            mount.chunk(bytes([pick.randrange(1, 255)]) * min(CHUNK_BYTES, size - i * CHUNK_BYTES)) for i in indexes
        ]
        refs = [
            ChunkRef(i, c.hash if pick.random() < 0.9 else b"", c.size_bytes)
            for i, c in zip(indexes, chunks, strict=True)
        ]
        return Content(inode, base, size, pick.randrange(99), False, appending, tuple(refs)), chunks


def look(reader, model, shots, pick):
    """The tree now, and at positions of all kinds, is what the events fold to."""
    assert reader.rows() == model.rows()
    assert list(reader.load_tree().aliases) == list(model.tree.aliases.items())
    for at in pick.sample(sorted(shots), 40):
        snapshot = reader.tree_at(at)
        nodes, names, versions = shots[at]
        assert dict(snapshot.nodes) == nodes, at
        assert set(snapshot.dentries) == names, at
        for inode, version in versions.items():
            assert reader.chunk_map_at(inode, at) == model.maps[version], (at, inode)


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_what_the_events_fold_to_now_and_at_every_position(postgres_store, model, seed):
    writers = [postgres_store.writer(), postgres_store.writer()]
    mounts = [postgres_store.mount(f"m{i}") for i in range(3)]
    for index, mount in enumerate(mounts):
        mount.writer = writers[index % (1 + seed % 2)]  # one writer keeps what it knows, two invalidate each other
    player, reader = Player(seed, mounts, model), postgres_store.read()
    shots, kinds, position = {}, set(), 0
    for _ in range(40):
        mount = player.random.choice(mounts)
        operations, chunks = [], {}
        for _ in range(player.random.choice([1, 1, 2, 5, 12])):
            operation, brought = player.draw(mount)
            operations.append(operation)
            chunks.update({c.hash: c for c in brought})
        reply, feed = mount.do(*operations, chunks=[c for h, c in chunks.items() if h])
        assert not reply.missing
        for message in feed:
            for event in message.events:
                model.fold(event)
                kinds.add(event.outcome.kind)
                position = event.position
                names = {(p, n, i) for p, n, i in model.rows()[1]}
                shots[position] = (dict(model.tree.nodes), names, {i: n.version for i, n in model.tree.nodes.items()})
    look(reader, model, shots, player.random)
    postgres_store.settle()  # what the last appends left waiting is put into the tables: nobody sees a difference
    look(reader, model, shots, player.random)
    for version, content in model.maps.items():
        assert reader.chunk_map(0, version) == content, version
    assert reader.verify_chain().broken_at == 0
    assert {"applied", "rejected", "renamed"} <= kinds


class Author:
    """A mount that nobody meets: writes, cuts, removes and makes anew files in a folder of its own."""

    def __init__(self, seed, mount):
        self.random, self.mount, self.files = random.Random(seed), mount, {}
        self.folder = mount.inode()
        mount.do(Make(1, b"of%d" % mount.incarnation, self.folder, 0o40755, 0, 0))

    def batch(self, count):
        operations, chunks, first = [], {}, self.mount.sequence + 1
        for at in range(count):
            pick = self.random
            if len(self.files) < 3 or pick.random() < 0.1:
                inode = self.mount.inode()
                self.files[inode] = (0, 0)
                operations.append(Make(self.folder, b"%d" % inode, inode, 0o100644, 0, 0))
                continue
            inode = pick.choice(list(self.files))
            if pick.random() < 0.15:
                del self.files[inode]
                operations.append(Unlink(self.folder, b"%d" % inode, inode))
                continue
            size = pick.randrange(4 * CHUNK_BYTES)
            brought = {
                i: self.mount.chunk(bytes([pick.randrange(1, 255)]) * min(CHUNK_BYTES, size - i * CHUNK_BYTES))
                for i in range(-(-size // CHUNK_BYTES))
                if pick.random() < 0.4
            }
            refs = tuple(
                ChunkRef(i, chunk.hash if pick.random() < 0.9 else b"", chunk.size_bytes)
                for i, chunk in brought.items()
            )
            operations.append(Content(inode, self.files[inode], size, at, False, -1, refs))
            chunks.update({chunk.hash: chunk for chunk in brought.values()})
            self.files[inode] = (self.mount.incarnation, first + at)
        return self.mount.do(*operations, chunks=list(chunks.values()))


@pytest.mark.parametrize("seed", range(4))
def test_content_that_waits_is_read_as_when_it_is_put(postgres_store, postgres_server, model, seed):
    authors = [Author(seed * 10 + i, postgres_store.mount(f"m{i}")) for i in range(2)]
    reader, pick, shots = postgres_store.read(), random.Random(seed), {}
    for event in reader.events_after(0):
        model.fold(event)
    for at in range(60):
        reply, feed = pick.choice(authors).batch(pick.choice([1, 2, 5, 12]))
        assert not reply.rejected
        for event in (event for message in feed for event in message.events):
            model.fold(event)
            shots[event.position] = {i: n.version for i, n in model.tree.nodes.items()}
        if at in {20, 40}:
            postgres_store.settle()
    assert rows_of(postgres_server, postgres_store, "position", "tree_waiting"), "nothing is shown where nothing waits"
    for _ in range(2):
        for at, versions in shots.items():
            for inode, version in versions.items():
                assert reader.chunk_map_at(inode, at) == model.maps[version], (at, inode)
        postgres_store.settle()
    assert not rows_of(postgres_server, postgres_store, "position", "tree_waiting")
    columns = "inode, index, since"
    stored = [
        *rows_of(postgres_server, postgres_store, columns, "content_chunks"),
        *rows_of(postgres_server, postgres_store, columns, "content_chunks_past"),
    ]
    assert len(stored) == len(set(stored)), "a version of a chunk stands once"
    alive = {i for i, node in model.tree.nodes.items()}
    assert {row[0] for row in rows_of(postgres_server, postgres_store, columns, "content_chunks")} <= alive


def rows_of(server, store, columns, table):
    with psycopg.connect(server.reader_url) as connection:
        asked = f"select {columns} from {table} t where t.project = (select id from projects where project = %s)"
        return connection.execute(asked, (store.project,)).fetchall()


def test_what_large_files_change_is_not_left_waiting_in_thousands_of_rows(postgres_store, postgres_server):
    """Whoever reads or puts what waits unpacks all of it, while others wait to append."""
    mount = postgres_store.mount()
    inode, version = mount.inode(), (0, 0)
    mount.do(Make(1, b"large", inode, 0o100644, 0, 0))
    for count in (2048, 2048, 300, 300, 300, 3, 2048):
        chunk = mount.chunk(b"%d" % mount.sequence * 1000)
        refs = tuple(ChunkRef(i, chunk.hash, chunk.size_bytes) for i in range(count))
        size = (count - 1) * CHUNK_BYTES + chunk.size_bytes
        mount.do(Content(inode, version, size, 1, False, -1, refs), chunks=[chunk])
        version = (mount.incarnation, mount.sequence)
        waits = sum(len(rows_of(postgres_server, postgres_store, "1", t)) for t in ("waiting_chunks", "waiting_ends"))
        assert waits < 2000, count
    postgres_store.settle()
    assert len(postgres_store.read().chunk_map(inode, version)) == 2048
