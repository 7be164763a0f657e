"""What is acknowledged or read survives a fall of Postgres, also where the log's lock is given back before the flush."""

import threading
import time
import uuid

import psycopg
import pytest

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.core.errors import StoreUnavailable
from app.core.ids import first_inode
from app.core.messages import DECISIONS, FORMAT, PersistBatch
from app.core.operations import FileOperationRequest, Make, encode_request, kind_of


class Origin:
    """One incarnation with a writer of its own: makes files, remembers what was acknowledged."""

    def __init__(self, url, project):
        self.pool = open_pool(url, 1, writing=True)
        self.writer, self.project, self.origin = PostgresFileWriter(self.pool), project, uuid.uuid4().hex
        self.incarnation = self.writer.register_incarnation(project, self.origin, "m", uuid.uuid4().hex)
        self.sequence, self.acked = 0, 0

    def batch(self, count):
        requests = []
        for _ in range(count):
            self.sequence += 1
            made = Make(1, b"f%d-%d" % (self.incarnation, self.sequence), self.inode(), 0o100644, 0, 0)
            request = FileOperationRequest(self.sequence, time.time_ns(), kind_of(made), b"", "a", "s", "t", made)
            requests.append(encode_request(request))
        batch_id = uuid.uuid4().hex
        return PersistBatch(FORMAT, self.project, self.origin, "m", self.incarnation, batch_id, "r", tuple(requests))

    def inode(self):
        return first_inode(self.incarnation) + self.sequence

    def send(self, batch):
        reply, feed = self.writer.append(batch, "task")
        assert reply.error == "", reply
        self.acked = reply.acked
        return feed

    def send_until(self, stopped):
        while not stopped.is_set():
            batch = self.batch(2)
            while True:
                try:
                    self.send(batch)
                    break
                except StoreUnavailable:
                    time.sleep(0.02)


@pytest.fixture
def origins(own_postgres):
    project, made = uuid.uuid4().hex, []

    def make(count):
        made.extend(Origin(own_postgres.writer_url, project) for _ in range(count))
        return made

    yield make
    for origin in made:
        origin.pool.close()


def events(reader):
    position, found = 0, []
    while page := reader.events_after(position):
        found += page
        position = page[-1].position
    return found


def test_a_fall_amid_four_writers_takes_back_nothing_that_was_acknowledged_or_read(own_postgres, origins):
    writers = origins(4)
    pool = open_pool(own_postgres.reader_url, 1)
    reader = PostgresFileReader(pool, writers[0].project)
    stopped, heads = threading.Event(), []

    def read():
        while not stopped.is_set():
            try:
                heads.append(reader.head())
            except StoreUnavailable:
                time.sleep(0.02)

    threads = [
        threading.Thread(target=read),
        *(threading.Thread(target=w.send_until, args=(stopped,)) for w in writers),
    ]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.4)
        own_postgres.kill()
        own_postgres.start()
    time.sleep(0.4)
    stopped.set()
    for thread in threads:
        thread.join()
    stored = events(reader)
    assert [e.position for e in stored] == list(range(1, len(stored) + 1))
    for writer in writers:
        assert [e.sequence for e in stored if e.incarnation == writer.incarnation] == list(range(1, writer.acked + 1))
    by_position = {e.position: e.hash for e in stored}
    assert len(heads) > 10
    assert all(head.position == 0 or by_position[head.position] == head.hash for head in heads)
    assert reader.verify_chain().broken_at == 0
    assert reader.verify_chain().sound_to == len(stored)
    pool.close()


def test_a_reader_waits_for_the_flush_of_what_it_read(own_postgres, origins):
    (writer,) = origins(1)
    writer.send(writer.batch(1))
    pool = open_pool(own_postgres.reader_url, 1)
    reader = PostgresFileReader(pool, writer.project)
    assert reader.head(DECISIONS).position == 0
    with psycopg.connect(own_postgres.admin_url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("update log_heads set position = 77 where log = 'decisions'")
    assert reader.head(DECISIONS).position == 77
    pool.close()
    own_postgres.kill()
    own_postgres.start()
    with psycopg.connect(own_postgres.admin_url) as connection:
        assert connection.execute("select position from log_heads where log = 'decisions'").fetchone() == (77,)


def test_appends_that_a_writer_hashed_and_that_the_server_hashed_are_one_chain(own_postgres, origins):
    first, second = origins(2)
    for writer in (first, first, first, second, first, second, second, second):
        writer.send(writer.batch(150))
    pool = open_pool(own_postgres.reader_url, 1)
    report = PostgresFileReader(pool, first.project).verify_chain()
    assert (report.sound_to, report.broken_at) == (1200, 0)
    pool.close()
