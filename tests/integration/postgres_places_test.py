"""What the log is searched by stays findable, however many appends ago; a batch under others' changes is still right."""

import random
import uuid

import msgspec
import pytest

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.links import APPLIED_BYTES, Links
from app.adapters.postgres.spans import PostgresSpans
from app.core.chain import EventHeader
from app.core.ids import first_inode
from app.core.messages import FORMAT, PersistBatch
from app.core.operations import FileOperationRequest, Make, SetAttr, encode_request, kind_of
from app.ports import EventFilter


class Origin:
    def __init__(self, writer, project):
        self.writer, self.project, self.origin, self.sequence = writer, project, uuid.uuid4().hex, 0
        self.incarnation = writer.register_incarnation(project, self.origin, "m", uuid.uuid4().hex)
        self.inode = first_inode(self.incarnation) - 1

    def fresh(self):
        self.inode += 1
        return self.inode

    def append(self, *operations, agent="agent"):
        requests = []
        for operation in operations:
            self.sequence += 1
            request = FileOperationRequest(self.sequence, 5, kind_of(operation), b"", agent, "s", "t", operation)
            requests.append(encode_request(request))
        batch_id = uuid.uuid4().hex
        batch = PersistBatch(FORMAT, self.project, self.origin, "m", self.incarnation, batch_id, "r", tuple(requests))
        reply, _ = self.writer.append(batch, "t")
        assert reply.acked == self.sequence
        assert not reply.rejected


@pytest.fixture
def pools(postgres_server):
    opened = []

    def opener(**words):
        opened.append(open_pool(postgres_server.writer_url, 2, **words))
        return opened[-1]

    yield opener
    for pool in opened:
        pool.close()


def test_a_path_a_folder_and_an_agent_are_found_in_old_spans_and_in_the_newest(pools):
    project = uuid.uuid4().hex
    origin = Origin(PostgresFileWriter(pools(writing=True)), project)
    reader = PostgresFileReader(pools(), project)
    pick, told = random.Random(7), []
    folders = {b"top": origin.fresh()}
    origin.append(Make(1, b"top", folders[b"top"], 0o40755, 0, 0))
    told.append((b"top", "agent"))
    upkeep = PostgresSpans(pools(writing=True), project)
    spanned = 0
    for step, count in enumerate((1, 1, 5, 400, 1, 30, 2, 350, 1, 1, 90, 3)):
        made = []
        folder = b"top/d%d" % len(folders)
        folders[folder] = origin.fresh()
        made.append(Make(folders[b"top"], folder[4:], folders[folder], 0o40755, 0, 0))
        paths = [folder]
        for _ in range(count):
            at, inode = pick.choice([*folders]), origin.fresh()
            made.append(Make(folders[at], b"f%d" % inode, inode, 0o100644, 0, 0))
            paths.append(at + b"/f%d" % inode)
        agent = pick.choice(["ann", "bob", "eve"])
        origin.append(*made, agent=agent)
        told += [(path, agent) for path in paths]
        if step % 3 == 0:
            spanned += upkeep.catch_up()
    assert 600 < spanned < len(told)

    def found(**words):
        return [event.path for event in reader.log(EventFilter(limit=0, ascending=True, **words))]

    for folder in folders:
        assert found(path=folder) == [p for p, _ in told if p == folder or p.startswith(folder + b"/")]
    for agent in ("ann", "bob", "eve", "nobody"):
        assert found(agent=agent) == [p for p, a in told if a == agent]
    for path, agent in pick.sample(told, 20):
        assert found(path=path, agent=agent) == [path]
        newest = next(reader.log(EventFilter(path=path, limit=1)))
        assert newest.path == path


def test_writers_in_folders_of_their_own_do_not_stop_each_other_and_the_chain_holds(pools):
    project = uuid.uuid4().hex
    origins = [Origin(PostgresFileWriter(pools(writing=True)), project) for _ in range(2)]
    reader = PostgresFileReader(pools(), project)
    for origin in origins:
        origin.folder = origin.fresh()
        origin.append(Make(1, b"of%d" % origin.incarnation, origin.folder, 0o40755, 0, 0))
    for step in range(20):
        for origin in origins:
            inode = origin.fresh()
            origin.append(
                Make(origin.folder, b"f%d" % step, inode, 0o100644, 0, 0), SetAttr(inode, mode=0o600 + step % 8)
            )
    report = reader.verify_chain()
    assert (report.sound_to, report.broken_at) == (82, 0)
    tree = reader.load_tree()
    modes = {inode: node.mode & 0o777 for inode, node in tree.nodes}
    for origin in origins:
        assert [modes[origin.folder + 1 + step] for step in range(20)] == [0o600 + step % 8 for step in range(20)]


def test_pieces_of_a_header_are_the_header():
    encode = msgspec.msgpack.encode
    request = FileOperationRequest(1, 2, "mkdir", b"", "ann\0", "s", "t", Make(1, b"x", 2**33, 0o40755, 0, 0), "d")
    links = Links("p" * 32, "o" * 32, 70_000, "task")
    number, strings = links.context("mkdir", request)
    back = links.back(2**40, strings, 2**33, b"", b"digest")
    pieces = links.front, encode(300), links.middles[number // 5], encode(2**50), back
    header = EventHeader(
        "p" * 32, "files", 300, "mkdir", 2**50, "o" * 32, 70_000, 2**40, "ann\ufffd", "s", "t", "d", "task", 2**33,
        APPLIED_BYTES,
    )  # fmt: skip
    assert b"".join(pieces) == encode(header) + b"digest"
