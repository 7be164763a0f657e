"""Versions kept as what differs from one before: each is read back as it was written, also where its base is gone."""

import random
import uuid

import psycopg
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.postgres.bases import WHOLE_BYTES_MAX
from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.prepared import check_chunks
from app.adapters.postgres.scripts import PostgresScripts
from app.core.chunks import chunk_hash, project_key
from app.core.errors import PayloadRefused
from app.core.ids import CHUNK_BYTES, EMPTY_VERSION, first_inode
from app.core.messages import FORMAT, ChunkData, PersistBatch
from app.core.operations import ChunkRef, Content, FileOperationRequest, Make, encode_request, kind_of
from app.services.persist import Persister
from app.services.shipment import packed


class Edited:
    """One file, written again and again through the store's writer."""

    def __init__(self, server, **words):
        self.pool = open_pool(server.writer_url, 2, writing=True)
        self.read_pool = open_pool(server.reader_url, 2)
        self.project, self.origin = uuid.uuid4().hex, uuid.uuid4().hex
        self.writer = PostgresFileWriter(self.pool, **words)
        self.reader = PostgresFileReader(self.read_pool, self.project)
        self.key = project_key(self.project)
        self.incarnation = self.writer.register_incarnation(self.project, self.origin, "m", uuid.uuid4().hex)
        self.inode, self.sequence, self.version, self.server = first_inode(self.incarnation), 0, EMPTY_VERSION, server
        self.before = b""
        self.append([self.request(Make(1, b"edited", self.inode, 0o100644, 0, 0))])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.close()
        self.read_pool.close()

    def request(self, operation):
        self.sequence += 1
        return FileOperationRequest(self.sequence, 5, kind_of(operation), b"", "a", "s", "t", operation)

    def batch(self, requests, chunks=()):
        sent = tuple(map(encode_request, requests))
        return PersistBatch(FORMAT, self.project, self.origin, "m", self.incarnation, "p:x", "r", sent, tuple(chunks))

    def append(self, requests, chunks=()):
        return self.writer.append(self.batch(requests, chunks), "t")[0]

    def edit(self, *contents):
        """Write contents in one batch; return its reply and the request and chunks that were sent."""
        requests, chunks = [], []
        for plain in contents:
            name = chunk_hash(self.key, plain)
            chunk = packed({name: plain}, compress=True)[name]
            chunks.append(ChunkData(name, len(plain), chunk.encoding, chunk.data, self.before))
            content = Content(self.inode, self.version, len(plain), 5, chunks=(ChunkRef(0, name, len(plain)),))
            requests.append(self.request(content))
            self.version, self.before = (self.incarnation, self.sequence), name
        return self.append(requests, chunks), requests, chunks

    def rows(self):
        with psycopg.connect(self.server.admin_url) as connection:
            return connection.execute(
                "select encoding, length(data) from chunks where project = (select id from projects where project = %s)",
                (self.project,),
            ).fetchall()

    def forget(self, condition):
        with psycopg.connect(self.server.admin_url) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(
                f"delete from chunks where {condition} and project = (select id from projects where project = %s)",
                (self.project,),
            )

    def read(self, plain):
        name = chunk_hash(self.key, plain)
        return self.reader.chunks([name])[name]


def source(seed=1, lines=400):
    """Return text that zstd alone makes a third of, as source is."""
    some = random.Random(seed)
    words = ["".join(some.choices("abcdefghijklmnop", k=some.randint(2, 9))) for _ in range(300)]
    return "\n".join(" ".join(some.choices(words, k=8)) for _ in range(lines)).encode()


def edits(count, seed=2):
    some, text = random.Random(seed), source().split(b"\n")
    for number in range(count):
        text[some.randrange(len(text))] = b"line that was edited %d" % number
        yield b"\n".join(text)


def test_forty_edits_take_a_fraction_and_each_version_reads_back(postgres_server):
    with Edited(postgres_server) as file:
        versions = [source(), *edits(40)]
        for plain in versions:
            assert file.edit(plain)[0].error == ""
        kept = file.rows()
        assert [encoding for encoding, _ in kept].count("delta") > 30
        alone = sum(len(zstandard.compress(plain, 1)) for plain in versions)
        assert sum(size for _, size in kept) < alone / 4
        for plain in versions:
            assert file.read(plain) == plain


def test_edits_within_one_batch_are_kept_against_the_first_of_them(postgres_server):
    with Edited(postgres_server) as file:
        versions = [source(), *edits(20)]
        reply = file.edit(*versions)[0]
        assert (reply.error, reply.missing, reply.acked) == ("", (), len(versions) + 1)
        assert sorted(encoding for encoding, _ in file.rows()) == ["delta"] * 20 + ["zstd"]
        assert all(file.read(plain) == plain for plain in versions)


def test_a_writer_that_knows_nothing_finds_the_base_in_the_store(postgres_server):
    with Edited(postgres_server) as file:
        versions = [source(), *edits(6)]
        for plain in versions:
            file.writer = PostgresFileWriter(file.pool)
            assert file.edit(plain)[0].error == ""
        assert [encoding for encoding, _ in file.rows()].count("delta") == 6
        assert all(file.read(plain) == plain for plain in versions)


def test_what_has_lost_its_base_is_asked_for_and_kept_whole(postgres_server):
    """A store restored from a backup has not all that its writer saw it take."""
    with Edited(postgres_server) as file:
        first, second, third = source(), *edits(2)
        file.edit(first)
        file.forget("true")
        reply, requests, chunks = file.edit(second)
        assert reply.missing == (chunk_hash(file.key, second),), "nothing is appended that nobody could read"
        file.writer.put_chunks(file.project, chunks)
        assert file.append(requests).error == ""
        assert file.read(second) == second
        file.edit(third)
        assert [encoding for encoding, _ in file.rows()] == ["zstd", "delta"]
        assert file.read(third) == third


def test_a_base_that_is_itself_a_difference_is_none(postgres_server):
    """A chain of differences would be lost with any of its links."""
    with Edited(postgres_server) as file:
        first, second, third = source(), *edits(2)
        file.edit(first, second)
        stored = chunk_hash(file.key, second)
        with psycopg.connect(file.server.writer_url, autocommit=True) as connection:
            connection.execute(
                "select put_deltas((select id from projects where project = %s), %s, %s, %s)",
                (file.project, [chunk_hash(file.key, third)], [len(third)], [stored + b"frame"]),
            )
        assert len(file.rows()) == 2


def test_a_difference_from_outside_is_refused(postgres_server):
    """Whoever reaches the queue names bytes that hash to the chunk's name, or nothing is stored."""
    with Edited(postgres_server) as file:
        file.edit(source())
        plain = next(edits(1))
        name = chunk_hash(file.key, plain)
        forged = ChunkData(name, len(plain), "delta", file.before + zstandard.compress(plain), file.before)
        content = Content(file.inode, file.version, len(plain), 5, chunks=(ChunkRef(0, name, len(plain)),))
        assert file.append([file.request(content)], [forged]).error == "invalid"
        wrong = ChunkData(name, 9, "raw", b"different", file.before)
        right = ChunkData(name, len(plain), "raw", plain, file.before)
        assert file.append([file.request(content)], [wrong, right]).error == "invalid", "each of two by one name"
        assert len(file.rows()) == 1


def test_a_base_that_does_not_unpack_is_none(postgres_server):
    """One row that is spoilt must not stop a mount's log."""
    with Edited(postgres_server) as file:
        first, second = source(), next(edits(1))
        file.edit(first)
        with psycopg.connect(postgres_server.admin_url) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute("update chunks set data = 'junk' where hash = %s", (file.before,))
        file.writer = PostgresFileWriter(file.pool)
        assert file.edit(second)[0].error == ""
        assert file.read(second) == second


def test_a_small_message_of_much_content_takes_little_memory():
    """What repeats itself is small on its way; a worker that keeps all of it plain needs a thousand times as much."""
    key = project_key("p")
    plain = [number.to_bytes(8) + b"x" * (CHUNK_BYTES - 8) for number in range(1, 200)]
    chunks = list(packed({chunk_hash(key, one): one for one in plain}, compress=True).values())
    assert sum(len(chunk.data) for chunk in chunks) < 100_000
    assert len(check_chunks(key, chunks, WHOLE_BYTES_MAX)) == WHOLE_BYTES_MAX // len(plain[0])
    bomb = ChunkData(b"h" * 32, 1 << 29, "zstd", zstandard.compress(bytes(1 << 24)))
    with pytest.raises(PayloadRefused):
        check_chunks(key, [bomb])


def test_a_base_that_names_anything_at_all_changes_nothing(postgres_server):
    with Edited(postgres_server) as file:
        for before in (b"", b"x", bytes(32), b"\xff" * 32, b"y" * 100_000):
            file.before = before
            plain = source(len(before) + 7, 50)
            assert file.edit(plain)[0].error == ""
            file.before = chunk_hash(file.key, plain)
            assert file.edit(plain)[0].error == "", "a chunk before itself"
            assert file.read(plain) == plain
        assert {encoding for encoding, _ in file.rows()} == {"zstd"}


def test_switched_off_each_is_whole_and_what_was_kept_reads_on(postgres_server):
    with Edited(postgres_server) as file:
        first, second, third = source(), *edits(2)
        file.edit(first, second)
        file.writer = PostgresFileWriter(file.pool, keeps_deltas=False)
        file.edit(third)
        assert sorted(encoding for encoding, _ in file.rows()) == ["delta", "zstd", "zstd"]
        assert [file.read(plain) for plain in (first, second, third)] == [first, second, third]


def test_a_script_that_is_kept_as_a_difference_is_followed(postgres_server):
    with Edited(postgres_server) as file:
        first, second = source(), next(edits(1))
        file.edit(first, second)
        assert [encoding for encoding, _ in file.rows()] == ["zstd", "delta"]
        assert PostgresScripts(file.read_pool, file.project).beginning([b"edited"]) == second
        assert file.reader.root_file(b"edited", 1 << 20) == second


def test_what_other_mounts_and_the_cache_get_is_whole(postgres_server):
    with Edited(postgres_server) as file:
        file.edit(source())
        seen = []

        class Seen:
            put = push = publish = staticmethod(lambda *given: seen.extend(given))

        plain = next(edits(1))
        file.append = lambda requests, chunks: Persister(file.project, file.writer, Seen, Seen, Seen).persist(
            file.batch(requests, chunks), "t"
        )
        file.edit(plain)
        assert [encoding for encoding, _ in file.rows()] == ["zstd", "delta"]
        chunks = [seen[-1][0], seen[0].chunks[0]]
        assert [zstandard.ZstdDecompressor().decompress(chunk.data) for chunk in chunks] == [plain, plain]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 9_000), st.binary(max_size=300), st.integers(0, 400), st.booleans()), max_size=12))
def test_any_edits_in_any_batches_read_back(postgres_server, steps):
    with Edited(postgres_server) as file:
        plain, batch, versions = source(5, 100), [], []
        for at, inserted, removed, closes in steps:
            plain = plain[:at] + inserted + plain[at + removed :]
            if plain.strip(b"\0"):
                batch.append(plain)
                versions.append(plain)
            if closes and batch:
                assert file.edit(*batch)[0].error == ""
                batch = []
        if batch:
            assert file.edit(*batch)[0].error == ""
        assert [file.read(one) for one in versions] == versions


