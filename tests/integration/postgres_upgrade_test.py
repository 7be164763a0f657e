"""A store that an older release made is brought up to date with nothing lost, and migrations in use never change."""

import hashlib
import uuid
from pathlib import Path

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.links import APPLIED_BYTES
from app.adapters.postgres.migrate import FOLDER, migrate
from app.core.chain import EventHeader, payload_digest, row_hash
from app.core.ids import first_inode
from app.core.memory_tree import MemoryTree
from app.core.messages import FORMAT, PersistBatch
from app.core.operations import FileOperationRequest, Make, Unlink, decode_request, encode_request
from app.core.tree import apply
from app.ports import EventFilter

DIGESTS = Path(__file__).parent / "migrations.txt"


def test_a_migration_in_use_is_never_changed():
    """A store that has taken it would keep the older form: what changes goes into a new file, and its digest into the list."""
    listed = dict(reversed(line.split("  ")) for line in DIGESTS.read_text().splitlines())
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.sql")}


def database(server, name, before):
    """The address of a new database with the migrations whose name is below `before`."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template template0 encoding 'UTF8'")
    url = make_conninfo(server.admin_url, dbname=name)
    with psycopg.connect(url) as connection:
        connection.execute("create table migrations (name text primary key, applied_at timestamptz)")
        for path in sorted(FOLDER.glob("*.sql")):
            if path.stem < before:
                connection.execute(path.read_text().encode())
                connection.execute("insert into migrations values (%s, now())", (path.stem,))
    return url


def test_tree_changes_that_wait_in_a_store_from_before_content_waited_are_kept(own_postgres):
    """Files that were made and renamed just before the upgrade are there after it, before and after what waits is put."""
    project = uuid.uuid4().hex
    pool = open_pool(own_postgres.writer_url, 2, writing=True)
    writer = PostgresFileWriter(pool)
    origin = uuid.uuid4().hex
    incarnation = writer.register_incarnation(project, origin, "m", "r")
    first = first_inode(incarnation)
    operations = [Make(1, b"f%d" % n, first + n, 0o100644, 0, 0) for n in range(6)] + [Unlink(1, b"f2", first + 2)]
    for sequence, operation in enumerate(operations, 1):
        writer.append(one(project, origin, incarnation, sequence, operation), "task")
    pool.close()
    url = database(own_postgres, "waiting_before", "0013")
    waited = carried(own_postgres.admin_url, url)
    assert waited, "nothing was carried that waits"
    migrate(url)
    names = {b"f%d" % n for n in (0, 1, 3, 4, 5)}
    pool = open_pool(url, 2, writing=True)
    reader, writer = PostgresFileReader(pool, project), PostgresFileWriter(pool)
    assert {name for _, name, _ in reader.load_tree().dentries} == names
    assert writer.append(one(project, origin, incarnation, 8, Unlink(1, b"f3", first + 3)), "task")[0].acked == 8
    with psycopg.connect(url) as connection:
        connection.execute("select settle_tree(1, true)")
        assert not connection.execute("select from tree_waiting").fetchone()
    assert {name for _, name, _ in reader.load_tree().dentries} == names - {b"f3"}
    assert reader.verify_chain().sound_to == 8
    pool.close()


def one(project, origin, incarnation, sequence, operation):
    request = FileOperationRequest(sequence, sequence, "create", b"", "a", "s", "t", operation)
    batch_id = uuid.uuid4().hex
    return PersistBatch(FORMAT, project, origin, "m", incarnation, batch_id, "r", (encode_request(request),))


def carried(source, target):
    """Copy a store's rows, those that wait as they were before content waited: without its sections. How many wait."""
    narrow = "project, position, step, s[1:40], n, b, touched"
    with psycopg.connect(source) as give, psycopg.connect(target) as take:
        for table in ("projects", "incarnations", "inodes", "dentries", "file_appends", "tree_waiting"):
            columns = narrow if table == "tree_waiting" else "*"
            with give.cursor() as out, take.cursor() as into:
                with (
                    out.copy(f"copy (select {columns} from {table}) to stdout") as rows,
                    into.copy(f"copy {table} from stdin") as place,
                ):
                    for row in rows:
                        place.write(row)
        return take.execute("select count(*) from tree_waiting").fetchone()[0]


def test_a_store_from_before_keeps_its_events_and_goes_on(own_postgres):
    """Events that each had a row are rows of appends after the upgrade: the same chain, found by sequence, followed."""
    url = database(own_postgres, "before", "0012")
    incarnation, project = 1, uuid.uuid4().hex
    made = [Make(1, b"f%d" % n, first_inode(1) + n, 0o100644, 0, 0) for n in range(1, 9)]
    payloads = [
        encode_request(FileOperationRequest(n, n, "create", b"", "a", "s", f"t{n}", operation))
        for n, operation in enumerate(made, 1)
    ]
    with psycopg.connect(url) as connection:
        store_before(connection, project, payloads, appended=(5, 3))
    migrate(url)
    pool = open_pool(url, 2, writing=True)
    reader, writer = PostgresFileReader(pool, project), PostgresFileWriter(pool)
    assert (reader.verify_chain().sound_to, reader.verify_chain().broken_at) == (8, 0)
    assert [(e.position, e.sequence, e.request) for e in reader.events_after(0)] == [
        (n, n, payload) for n, payload in enumerate(payloads, 1)
    ]
    assert [e.tool_call for e in reader.log(EventFilter(ascending=True))] == [f"t{n}" for n in range(1, 9)]
    assert reader.last_sequence(incarnation) == 8
    batch = PersistBatch(FORMAT, project, "o", "m", 1, uuid.uuid4().hex, "r", tuple(payloads[5:]))
    reply, feed = writer.append(batch, "task")
    assert (reply.acked, reply.error, tuple(feed)) == (8, "", ()), "the same again is known"
    more = encode_request(FileOperationRequest(9, 9, "unlink", b"", "a", "s", "t9", Unlink(1, b"f1", made[0].inode)))
    assert writer.append(msgspec.structs.replace(batch, requests=(more,)), "task")[0].acked == 9
    assert reader.verify_chain().sound_to == 9
    assert b"f1" not in {name for _, name, _ in reader.load_tree().dentries}
    pool.close()


def store_before(connection, project, payloads, appended):
    """Make a store as it was when each event had a row: one incarnation, its events, the tree that they fold to."""
    connection.execute("select project_id(%s)", (project,))
    connection.execute("insert into incarnations values (1, 1, 'o', 'm', 'r', now())")
    hash_before, tree, at_us, starts = bytes(32), MemoryTree(), 0, {1: appended[0], 1 + appended[0]: appended[1]}
    for position, payload in enumerate(payloads, 1):
        request = decode_request(payload)
        at_us = 1000 + position if position in starts else at_us
        header = EventHeader(
            project, "files", position, "create", at_us, "o", 1, position, "a", "s", f"t{position}", "", "task",
            request.operation.inode, APPLIED_BYTES,
        )  # fmt: skip
        digest = payload_digest(payload)
        hash_before = row_hash(hash_before, header, digest)
        connection.execute(
            "insert into file_events (project, position, incarnation, sequence, recorded_at_us, at_ns, inode, kind, agent,"
            " session, tool_call, decision, task_id, path, payload, digest, hash, appended)"
            " values (1, %s, 1, %s, %s, %s, %s, 'create', 'a', 's', %s, '', 'task', %s, %s, %s, %s, %s)",
            (position, position, at_us, position, request.operation.inode, f"t{position}", request.operation.name,
             payload, digest, hash_before, starts.get(position)),
        )  # fmt: skip
        apply(tree, request, 1, "m")
    for inode, node in tree.nodes.items():
        connection.execute("insert into inodes values (1, %s, 8, %s)", (inode, msgspec.msgpack.encode(node)))
    for parent, held in tree.children.items():
        for name, inode in held.items():
            connection.execute("insert into dentries values (1, %s, %s, %s, 8)", (parent, name, inode))
