"""What several writers left waiting, many rows with many ends, comes into the tables as a plain fold of the events says."""

import random
from collections import Counter

import psycopg
import pytest

from app.core.ids import CHUNK_BYTES
from app.core.operations import ChunkRef, Content, Make, Rename, Unlink, decode_request

WRITERS = 4
EVENTS = 460  # a writer puts what waits by itself once it has appended 512
CHUNKS_MAX = 6


class Folder:
    """Files in one folder, as all writers know them: inode, version and size by name."""

    def __init__(self, seed, mount):
        self.random, self.inode, self.files, self.made = random.Random(seed), mount.inode(), {}, 0
        self.chunks = [mount.chunk(b"%d" % number * 9) for number in range(20)]
        mount.do(Make(1, b"of-%d" % self.inode, self.inode, 0o40755, 0, 0), chunks=self.chunks)

    def change(self, mount, sequence):
        """Draw one operation of a mount that has seen everything."""
        kind, name = self.random.random(), self.random.choice(list(self.files) or [b""])
        if len(self.files) < 8 or kind < 0.05:
            return self._make(mount)
        if kind < 0.12:
            return Unlink(self.inode, name, self.files.pop(name)[0])
        if kind < 0.18:
            other = self.random.choice([each for each in self.files if each != name])
            inode, replaced = self.files[name][0], self.files[other][0]
            self.files[other] = self.files.pop(name)
            return Rename(self.inode, name, inode, self.inode, other, replaced)
        return self._write(mount, name, sequence)

    def handed_to(self, mount):
        """Return what moves all files into a folder that a mount makes."""
        old, self.inode = self.inode, mount.inode()
        moves = [Rename(old, name, inode, self.inode, name, 0) for name, (inode, *_) in self.files.items()]
        return Make(1, b"of-%d" % self.inode, self.inode, 0o40755, 0, 0), *moves

    def _make(self, mount):
        self.made += 1
        inode, name = mount.inode(), b"%d" % self.made
        self.files[name] = inode, (0, 0), 0
        return Make(self.inode, name, inode, 0o100644, 0, 0)

    def _write(self, mount, name, sequence):
        inode, base, size = self.files[name]
        if self.random.random() < 0.7:
            size = max(size, self.random.randrange(CHUNKS_MAX * CHUNK_BYTES))
        else:
            size = self.random.randrange(size + 1)
        places = [at for at in range(-(-size // CHUNK_BYTES)) if self.random.random() < 0.6]
        refs = [ChunkRef(at, c.hash, c.size_bytes) for at, c in zip(places, self.random.choices(self.chunks, k=99))]
        refs = [ref if self.random.random() < 0.9 else ChunkRef(ref.index, b"", CHUNK_BYTES) for ref in refs]
        self.files[name] = inode, (mount.incarnation, sequence), size
        return Content(inode, base, size, sequence, False, -1, tuple(refs))


class Rows:
    """The rows of content maps that the events make, one event after the other."""

    def __init__(self):
        self.now, self.sizes, self.past = {}, Counter(), []

    def fold(self, event):
        match decode_request(event.request).operation:
            case Content() as content:
                self._replace(content, event.position)
            case Unlink(inode=inode) | Rename(replaced=inode) if inode:
                self._end(inode, 0, event.position)

    def _replace(self, content, position):
        for ref in content.chunks:
            self._end(content.inode, ref.index, position, ref.index + 1)
            if ref.hash:
                self.now[content.inode, ref.index] = ref.hash, ref.size_bytes, position
        if content.size < self.sizes[content.inode]:
            self._end(content.inode, -(-content.size // CHUNK_BYTES), position)
        self.sizes[content.inode] = content.size

    def _end(self, inode, first, position, past=CHUNKS_MAX + 1):
        for index in range(first, past):
            row = self.now.pop((inode, index), None)
            if row is not None:
                self.past.append((inode, index, *row, position))

    def stored(self):
        return sorted((*key, *row) for key, row in self.now.items()), sorted(self.past)


def rows_of(server, store):
    with psycopg.connect(server.reader_url) as connection:
        number = connection.execute("select id from projects where project = %s", (store.project,)).fetchone()

        def rows(columns, table):
            return connection.execute(f"select {columns} from {table} where project = %s", number).fetchall()

        columns = "inode, index, hash, size_bytes, since"
        stored = sorted(rows(columns, "content_chunks")), sorted(rows(f"{columns}, until", "content_chunks_past"))
        return stored, len(rows("1", "waiting_chunks")), len(rows("1", "waiting_ends"))


@pytest.mark.parametrize("seed", range(3))
def test_what_several_writers_left_waiting_is_put_as_the_events_fold(postgres_store, postgres_server, model, seed):
    mounts = [postgres_store.mount(f"m{number}") for number in range(WRITERS)]
    folders, expected, reader = [Folder(seed * 9 + at, mount) for at, mount in enumerate(mounts)], Rows(), postgres_store.read()
    for event in reader.events_after(0):
        model.fold(event)

    def take(answer):
        for event in (event for message in answer[1] for event in message.events):
            assert event.outcome.kind == "applied", event
            expected.fold(event)
            model.fold(event)

    def play(each):
        pairs = [*zip(mounts, folders, strict=True)]
        left = Counter(dict.fromkeys(range(WRITERS), each))
        while left:
            which = folders[0].random.choice(list(left))
            mount, folder = pairs[which]
            count = min(folder.random.choice([3, 20, 60]), left[which])
            first = mount.sequence + 1
            take(mount.do(*[folder.change(mount, first + at) for at in range(count)]))
            left[which] -= count
            left += Counter()

    play(EVENTS // 5)
    postgres_store.settle()
    folders.append(folders.pop(0))  # what one writer has made ends by another
    for mount, folder in zip(mounts, folders, strict=True):
        take(mount.do(*folder.handed_to(mount)))
    play(EVENTS * 4 // 5)
    _stored, rows, ends = rows_of(postgres_server, postgres_store)
    assert min(rows, ends) > 500, "there is much to settle"
    postgres_store.settle()
    assert rows_of(postgres_server, postgres_store) == (expected.stored(), 0, 0)
    assert reader.rows() == model.rows()
