"""A tree that is read in pages is the tree: nothing at the seams is lost or doubled, and no name is another one."""

import uuid

import pytest

from app.adapters.postgres.connections import open_pool, run
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.packed_tree import packed_names, packed_nodes
from app.adapters.postgres.tree_rows import decode_node
from app.core.ids import first_inode
from app.core.messages import FORMAT, PersistBatch
from app.core.nodes import DIRECTORY, REGULAR
from app.core.operations import FileOperationRequest, Link, Make, SetXattr, encode_request, kind_of

NAMES = [b"a", b"\xff\xfe", b"n" * 255, "é".encode(), b" ", b"b"]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1000])
def test_pages_of_any_size_hold_every_row_once(postgres_server, most):
    pool = open_pool(postgres_server.writer_url, 2, writing=True)
    try:
        writer, project, origin = PostgresFileWriter(pool), uuid.uuid4().hex, uuid.uuid4().hex
        incarnation = writer.register_incarnation(project, origin, "m", uuid.uuid4().hex)
        number = run(pool, lambda c: _number(c, project))
        assert run(pool, lambda c: list(packed_nodes(c, number, most)))[0][0] == 1
        assert run(pool, lambda c: list(packed_names(c, number, most))) == []
        first = first_inode(incarnation)
        folders = [Make(1, b"d%d" % at, first + at, DIRECTORY | 0o755, 0, 0) for at in range(3)]
        files = [
            Make(first + at % 3, name, first + 3 + at, REGULAR | 0o644, 0, 0) for at, name in enumerate(NAMES)
        ]  # fmt: skip
        changes = [*folders, *files, Link(first + 3, first + 1, b"again"), SetXattr(first + 4, b"user.a", b"x" * 9000)]
        requests = tuple(
            encode_request(FileOperationRequest(at, 5 + at, kind_of(one), b"", "a", "s", "t", one))
            for at, one in enumerate(changes, 1)
        )
        batch = PersistBatch(FORMAT, project, origin, "m", incarnation, uuid.uuid4().hex, "r", requests)
        writer.append(batch, "t")
        waiting = run(pool, lambda c: (list(packed_nodes(c, number, most)), list(packed_names(c, number, most))))
        run(pool, lambda c: c.execute("select settle_tree(%s, true)", (number,)))
        nodes, names = run(pool, lambda c: (list(packed_nodes(c, number, most)), list(packed_names(c, number, most))))
        assert nodes == run(pool, lambda c: _nodes(c, number))
        assert len(nodes) == 1 + len(folders) + len(files)
        assert names == run(pool, lambda c: _names(c, number))
        assert len(names) == len(folders) + len(files) + 1
        assert waiting == (nodes, names), "before it was put into the tables"
    finally:
        pool.close()


def _number(connection, project):
    return connection.execute("select id from projects where project = %s", (project,)).fetchone()[0]


def _nodes(connection, number):
    rows = connection.execute("select inode, node from inodes where project = %s order by inode", (number,), binary=True)
    return [(inode, decode_node(node)) for inode, node in rows]


def _names(connection, number):
    rows = "select parent, name, inode from dentries where project = %s order by parent, name"
    return connection.execute(rows, (number,), binary=True).fetchall()
