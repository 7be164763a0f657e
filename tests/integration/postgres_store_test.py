"""The store on a real Postgres: roles, the chain under tampering, restarts, forks, poison, plans."""

import os
import subprocess
import sys
import threading
import time
import uuid

import msgspec
import psycopg
import pytest

from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_reader import PostgresFileReader
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.adapters.postgres.migrate import migrate
from app.adapters.postgres.scripts import PostgresScripts
from app.adapters.postgres.spans import PostgresSpans
from app.core.errors import ChainBroken, StoreRefused, StoreUnavailable
from app.core.ids import EMPTY_VERSION, first_inode
from app.core.messages import FORMAT, PersistBatch
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Rename,
    SetAttr,
    Unlink,
    encode_request,
    kind_of,
)
from app.core.policy import RuleFile, compile_policy
from app.core.policy.source import Tier
from app.ports import EventFilter
from app.services.path_check import PathCheck


class Origin:
    def __init__(self, writer, project=None):
        self.writer, self.project, self.origin = writer, project or uuid.uuid4().hex, uuid.uuid4().hex
        self.incarnation = writer.register_incarnation(self.project, self.origin, "m", uuid.uuid4().hex)
        self.sequence, self.first = 0, first_inode(self.incarnation)

    def batch(self, *operations, agent="agent", at_ns=5):
        requests = []
        for operation in operations:
            self.sequence += 1
            request = FileOperationRequest(self.sequence, at_ns, kind_of(operation), b"", agent, "s", "t", operation)
            requests.append(encode_request(request))
        batch_id = uuid.uuid4().hex
        return PersistBatch(FORMAT, self.project, self.origin, "m", self.incarnation, batch_id, "r", tuple(requests))

    def files(self, count, prefix=b"f"):
        start = self.first + self.sequence
        return [Make(1, b"%s%d" % (prefix, start + i), start + i, 0o100644, 0, 0) for i in range(count)]


@pytest.fixture
def pools():
    opened = []

    def opener(url, **words):
        opened.append(open_pool(url, 2, **words))
        return opened[-1]

    yield opener
    for pool in opened:
        pool.close()


@pytest.fixture
def writer(postgres_server, pools):
    return PostgresFileWriter(pools(postgres_server.writer_url, writing=True))


def tables(server):
    with psycopg.connect(server.admin_url) as connection:
        return [row[0] for row in connection.execute("select tablename from pg_tables where schemaname = 'public'")]


def refused(url, statement):
    try:
        with psycopg.connect(url) as connection:
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.errors.ReadOnlySqlTransaction:
        return True
    return False


def test_the_reader_role_can_change_nothing(postgres_server, writer):
    origin = Origin(writer)
    origin.writer.append(origin.batch(*origin.files(1)), "t")
    url = postgres_server.reader_url
    for table in tables(postgres_server):
        with psycopg.connect(url) as connection:
            connection.execute(f"select * from {table} limit 1")
            column = connection.execute(
                "select column_name from information_schema.columns where table_name = %s"
                " order by ordinal_position desc limit 1",
                (table,),
            ).fetchone()[0]
        assert refused(url, f"insert into {table} default values"), table
        assert refused(url, f"update {table} set {column} = {column}"), table
        assert refused(url, f"delete from {table}"), table
        assert refused(url, f"truncate {table}"), table
        assert refused(url, f"drop table {table}"), table
        assert refused(url, f"alter table {table} disable trigger all"), table
    for statement in (
        "create table mine (x int)",
        "create temporary table mine (x int)",
        "create schema mine",
        "set role weir_writer",
        "select project_id('x')",
        "create function f() returns int language sql as 'select 1'",
    ):
        assert refused(url, statement), statement


def test_the_writer_role_cannot_change_or_remove_events(postgres_server, writer):
    origin = Origin(writer)
    origin.writer.append(origin.batch(*origin.files(1)), "t")
    url = postgres_server.writer_url
    for table in ("file_appends", "decision_events"):
        for statement in (
            f"update {table} set project = 0",
            f"delete from {table}",
            f"truncate {table}",
            f"alter table {table} disable trigger all",
            f"drop table {table}",
        ):
            assert refused(url, statement), statement
    assert refused(postgres_server.reader_url, "select lo_create(0)"), "large objects would fill the disk"
    assert refused(postgres_server.admin_url, "delete from file_appends"), "not even by mistake of the owner"


def test_a_changed_byte_and_a_missing_row_are_found_at_their_position(postgres_server, writer, pools):
    origin = Origin(writer)
    for count in (5, 5, 10):
        origin.writer.append(origin.batch(*origin.files(count)), "t")
    reader = PostgresFileReader(pools(postgres_server.reader_url), origin.project)
    assert (reader.verify_chain().sound_to, reader.verify_chain().broken_at) == (20, 0)
    number = "(select id from projects where project = %s)"
    for change, found in (
        ("update file_appends set payloads[7] = payloads[7] || 'x' where position = 11 and project = ", 17),
        ("update file_appends set digests = overlay(digests placing sha256(payloads[7]) from 193) where position = 11 and project = ", 17),
        ("update file_appends set texts[3] = 'someone' where position = 6 and project = ", 6),
        ("delete from file_appends where position = 6 and project = ", 6),
    ):
        with psycopg.connect(postgres_server.admin_url) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(change + number, (origin.project,))
        assert reader.verify_chain().broken_at == found, change


def test_a_batch_that_another_worker_stored_amid_foreign_appends_is_not_stored_again(postgres_server, writer, pools):
    """Two origins at one worker, and one of them at another worker meanwhile: what is sent again is recognised."""
    other = PostgresFileWriter(pools(postgres_server.writer_url, writing=True))
    mine = Origin(writer)
    theirs = Origin(writer, mine.project)
    for origin in (mine, theirs, mine, theirs):
        assert writer.append(origin.batch(*origin.files(2, b"%d-" % origin.incarnation)), "t")[0].error == ""
    elsewhere = mine.batch(*mine.files(2, b"e"))
    assert other.append(elsewhere, "t")[0].acked == 6
    assert writer.append(theirs.batch(SetAttr(theirs.first, mode=0o100600)), "t")[0].error == ""
    reply, feed = writer.append(elsewhere, "t")
    assert (reply.acked, reply.error, tuple(feed)) == (6, "", ())
    reader = PostgresFileReader(pools(postgres_server.reader_url), mine.project)
    stored = [(e.incarnation, e.sequence) for e in reader.events_after(0)]
    assert len(set(stored)) == len(stored) == 11
    assert reader.verify_chain().sound_to == 11


def test_a_change_of_a_file_that_its_mount_made_at_another_worker_is_not_lost(postgres_server, writer, pools):
    """A worker that serves two mounts has not seen what one of them made elsewhere: it must look, not take it as absent."""
    other = PostgresFileWriter(pools(postgres_server.writer_url, writing=True))
    mine = Origin(writer)
    theirs = Origin(writer, mine.project)
    writer._yield_left = 2  # as after meeting others: both mounts' batches go the locked way and share what is known
    for origin in (mine, theirs):
        assert writer.append(origin.batch(*origin.files(1, b"%d-" % origin.incarnation)), "t")[0].error == ""
    made = mine.files(1, b"elsewhere")
    assert other.append(mine.batch(*made), "t")[0].error == ""
    _, feed = writer.append(theirs.batch(SetAttr(made[0].inode, mode=0o600)), "t")
    assert [event.outcome.kind for message in feed for event in message.events] == ["applied"]
    reader = PostgresFileReader(pools(postgres_server.reader_url), mine.project)
    assert dict(reader.load_tree().nodes)[made[0].inode].mode == 0o100600


def test_a_script_is_found_before_the_root_has_a_row(postgres_server, writer, pools):
    origin = Origin(writer)
    writer.append(origin.batch(SetAttr(12345, mode=0o600)), "t")  # refused: the root's row is not made by it
    writer.append(origin.batch(*origin.files(1)), "t")
    pool = pools(postgres_server.reader_url)
    pool.wait(10)  # a script is not waited for longer than it may take to judge a call
    scripts = PostgresScripts(pool, origin.project)
    assert scripts.beginning([b"f%d" % (origin.first + 1)]) == b""


@pytest.mark.parametrize("first_removed", [3, 1])
def test_a_removed_last_row_is_found(postgres_server, writer, pools, first_removed):
    origin = Origin(writer)
    for _ in range(3):
        origin.writer.append(origin.batch(*origin.files(1)), "t")
    reader = PostgresFileReader(pools(postgres_server.reader_url), origin.project)
    remove_from(postgres_server, origin.project, first_removed)
    assert reader.verify_chain().broken_at == first_removed


def test_an_end_that_is_not_the_one_seen_before_is_an_alarm_and_breaks_the_chain(postgres_server, writer, pools):
    origin = Origin(writer)
    reader = PostgresFileReader(pools(postgres_server.reader_url), origin.project)
    upkeep = PostgresSpans(pools(postgres_server.writer_url, writing=True), origin.project)
    assert upkeep.catch_up() == 0
    origin.writer.append(origin.batch(SetAttr(12345, mode=0o600)), "t")  # refused: no row of the tree tells of it
    upkeep.catch_up()
    assert reader.verify_chain().broken_at == 0
    remove_from(postgres_server, origin.project, 1)
    assert reader.verify_chain().broken_at == 1
    with pytest.raises(ChainBroken):
        upkeep.catch_up()


def remove_from(server, project, position):
    with psycopg.connect(server.admin_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "delete from file_appends where position >= %s and project = (select id from projects where project = %s)",
            (position, project),
        )


def test_writer_and_reader_heal_within_five_seconds_of_a_restart(own_postgres, pools):
    writer = PostgresFileWriter(pools(own_postgres.writer_url, writing=True))
    origin = Origin(writer)
    writer.append(origin.batch(*origin.files(2)), "t")
    reader = PostgresFileReader(pools(own_postgres.reader_url), origin.project)
    assert reader.head().position == 2
    own_postgres.kill()
    batch = origin.batch(*origin.files(1))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        writer.append(batch, "t")
    assert time.monotonic() - started < 5
    with pytest.raises(StoreUnavailable):
        reader.head()
    own_postgres.start()
    up = time.monotonic()
    while True:
        try:
            reply, _ = writer.append(batch, "t")
            assert reader.head().position == 3
            break
        except StoreUnavailable:
            assert time.monotonic() - up < 5
            time.sleep(0.05)
    assert time.monotonic() - up < 5
    assert reply.acked == 3
    assert reader.verify_chain().broken_at == 0


def test_a_stale_connection_costs_nobody_an_error(own_postgres, pools):
    writer = PostgresFileWriter(pools(own_postgres.writer_url, writing=True))
    origin = Origin(writer)
    writer.append(origin.batch(*origin.files(1)), "t")
    own_postgres.kill()
    own_postgres.start()
    assert writer.append(origin.batch(*origin.files(1)), "t")[0].acked == 2


def test_many_migrations_at_once_are_one(postgres_server):
    errors = []

    def once():
        try:
            migrate(postgres_server.admin_url)
        except Exception as error:  # noqa: BLE001 - collected for the main thread
            errors.append(error)

    threads = [threading.Thread(target=once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate(postgres_server.admin_url) == []


def test_a_poison_request_is_parked_and_its_neighbours_go_on(postgres_server, pools):
    def explode(path, _request):
        return {}[path] if path == b"bad" else None

    writer = PostgresFileWriter(pools(postgres_server.writer_url, writing=True), check_path=explode)
    origin = Origin(writer)
    a, b, c = origin.files(3)
    bad = Make(1, b"bad", b.inode, 0o100644, 0, 0)
    reply, _ = writer.append(origin.batch(a, bad, c), "t")
    assert reply.acked == 3
    assert [(r.sequence, r.reason) for r in reply.rejected] == [(2, "internal")]


def test_policy_refuses_a_path_with_its_reason_on_both_names(postgres_server, pools):
    seen = []

    def check(path, _request):
        seen.append(path)
        return "policy" if path == b"secret" else None

    writer = PostgresFileWriter(pools(postgres_server.writer_url, writing=True), check_path=check)
    origin = Origin(writer)
    reply, _ = writer.append(origin.batch(Make(1, b"secret", origin.first, 0o100644, 0, 0)), "t")
    assert [r.reason for r in reply.rejected] == ["policy"]
    assert seen == [b"secret"]
    made = Make(1, b"open", origin.first + 1, 0o100644, 0, 0)
    renamed = Rename(1, b"open", origin.first + 1, 1, b"secret")
    back = Rename(1, b"open", origin.first + 1, 1, b"plain")
    reply, _ = writer.append(origin.batch(made, renamed, back), "t")
    assert [(r.sequence, r.reason) for r in reply.rejected] == [(3, "policy")]
    assert seen[1:] == [b"open", b"secret", b"plain", b"open"]


def test_rules_are_asked_of_every_name_of_a_file_and_of_all_that_a_directory_holds(postgres_server, pools):
    """In one batch, across batches, and where another writer has moved the tree meanwhile."""
    touch = {"path": ["in/kept/**", "*.pem"]}
    stated = {"id": "kept", "touch": touch, "on": ["write"], "decide": "block", "reason": "No."}
    check = PathCheck(compile_policy([RuleFile("r", Tier.USER, [stated], [1], b"")]))
    free = PostgresFileWriter(pools(postgres_server.writer_url, writing=True))
    ruled = PostgresFileWriter(
        pools(postgres_server.writer_url, writing=True), check_path=check.path, check_move=check.move
    )
    origin = Origin(free)
    top, kept, other, file, key, plain, deep = range(origin.first, origin.first + 7)
    made = [Make(1, b"in", top, 0o40755, 0, 0), Make(top, b"kept", kept, 0o40755, 0, 0)]
    made += [Make(1, b"other", other, 0o40755, 0, 0), Make(kept, b"file", file, 0o100644, 0, 0)]
    made += [Make(other, b"deep", deep, 0o40755, 0, 0), Make(deep, b"k.pem", key, 0o100644, 0, 0)]
    made += [Make(1, b"plain", plain, 0o100644, 0, 0), Link(file, 1, b"alias")]
    free.append(origin.batch(*made), "t")
    asked = [SetAttr(file, mode=0o600), Link(file, 1, b"more"), Rename(1, b"in", top, 1, b"out")]
    asked += [Rename(1, b"other", other, 1, b"in2"), Rename(1, b"plain", plain, other, b"plain")]
    reply, _ = ruled.append(origin.batch(*asked), "t")
    assert [r.sequence - len(made) for r in reply.rejected] == [1, 2, 3, 4]
    assert all(r.reason == "block: No. [kept]" for r in reply.rejected)
    freed = [Unlink(deep, b"k.pem", key), Rename(1, b"other", other, 1, b"in2")]
    free.append(origin.batch(freed[0]), "t")
    reply, _ = ruled.append(origin.batch(freed[1], Make(deep, b"kept", plain + 9, 0o40755, 0, 0)), "t")
    assert reply.rejected == ()
    into = [Make(plain + 9, b"x", plain + 10, 0o100644, 0, 0), Rename(1, b"in", top, 1, b"in")]
    into += [Rename(1, b"in2", other, 1, b"in3"), Rename(deep, b"kept", plain + 9, top, b"kept", kept)]
    reply, _ = ruled.append(origin.batch(*into), "t")
    assert [r.reason for r in reply.rejected] == ["block: No. [kept]"] * 2


@pytest.mark.parametrize("check", [None, lambda _path, _request: None], ids=["without rules", "with rules"])
def test_a_conflict_is_found_in_the_log_by_the_name_that_it_was_committed_under(postgres_server, pools, check):
    writer = PostgresFileWriter(pools(postgres_server.writer_url, writing=True), check_path=check)
    first = Origin(writer)
    second = Origin(writer, project=first.project)
    writer.append(first.batch(Make(1, b"name", first.first, 0o100644, 0, 0)), "t")
    made, changed = Make(1, b"name", second.first, 0o100644, 0, 0), SetAttr(second.first, mode=0o600)
    writer.append(second.batch(made, changed), "t")
    reader = PostgresFileReader(pools(postgres_server.reader_url), first.project)
    (name,) = {name for _, name, _ in reader.load_tree().dentries if name.startswith(b"name.conflict-")}
    found = [(event.kind, event.outcome) for event in reader.log(EventFilter(path=name))]
    assert found == [("setattr", "applied"), ("create", "renamed")]


def test_what_does_not_decode_keeps_its_place_among_its_neighbours(writer, postgres_server, pools):
    origin = Origin(writer)
    batch = origin.batch(*origin.files(3))
    broken = msgspec.structs.replace(batch, requests=(batch.requests[0], b"\xc1 no", batch.requests[2]))
    reply, _ = writer.append(broken, "t")
    assert reply.acked == 3
    assert [(r.sequence, r.reason) for r in reply.rejected] == [(2, "invalid")]
    reader = PostgresFileReader(pools(postgres_server.reader_url), origin.project)
    assert reader.verify_chain().broken_at == 0


@pytest.mark.parametrize(
    "operation",
    [
        SetAttr(2**63, mode=1),
        SetAttr(1, mtime_ns=2**63),
        Content(5, EMPTY_VERSION, 2**63, 0),
        Make(1, b"nul\0name", 2**40, 0o100644, 0, 0),
        Make(1, b"x" * 5000, 2**40, 0o100644, 0, 0),
        Make(1, b"y", 2**63, 0o100644, 0, 0),
    ],
)
def test_numbers_and_names_that_no_column_holds_are_rejected_not_fatal(writer, operation):
    origin = Origin(writer)
    reply, _ = writer.append(origin.batch(operation, *origin.files(1), agent="nul\0agent", at_ns=2**63), "t")
    assert (reply.acked, reply.error) == (2, "")
    assert reply.rejected[0].reason in {"invalid", "internal"}


def test_log_finds_by_path_agent_and_time(writer, postgres_server, pools):
    origin = Origin(writer)
    folder = Make(1, b"src", origin.first, 0o40755, 0, 0)
    inside = Make(origin.first, b"main.py", origin.first + 1, 0o100644, 0, 0)
    beside = Make(1, b"src2", origin.first + 2, 0o100644, 0, 0)
    writer.append(origin.batch(folder, inside, agent="ann", at_ns=100), "task-7")
    writer.append(origin.batch(beside, agent="bob", at_ns=200), "t")
    reader = PostgresFileReader(pools(postgres_server.reader_url), origin.project)

    def paths(**words):
        return [event.path for event in reader.log(EventFilter(**words))]

    assert paths() == [b"src2", b"src/main.py", b"src"]
    assert paths(path=b"src") == [b"src/main.py", b"src"]
    assert paths(path=b"src/main.py") == [b"src/main.py"]
    assert paths(agent="bob") == [b"src2"]
    assert paths(until_ns=200) == [b"src/main.py", b"src"]
    assert paths(since_ns=150) == [b"src2"]
    assert paths(after=1, ascending=True, limit=1) == [b"src/main.py"]
    event = next(reader.log(EventFilter(path=b"src/main.py")))
    assert (event.kind, event.task_id, event.agent, event.origin, event.origin_seq) == (
        "create", "task-7", "ann", origin.origin, 2
    )  # fmt: skip


def test_a_role_without_rights_is_refused_clearly(postgres_server, pools):
    writer = PostgresFileWriter(pools(postgres_server.reader_url))
    with pytest.raises(StoreRefused, match="permission denied|read-only"):
        writer.register_incarnation(uuid.uuid4().hex, "o", "m", "r")


def test_two_children_that_open_after_fork_have_their_own_backends(postgres_server):
    program = (
        "import os, sys\n"
        "from app.adapters.postgres.connections import open_pool, run\n"
        "url = sys.argv[1]\n"
        "pids = []\n"
        "for _ in range(2):\n"
        "    read, write = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        pool = open_pool(url, 1)\n"
        "        pid = run(pool, lambda c: c.execute('select pg_backend_pid()').fetchone())[0]\n"
        "        os.write(write, str(pid).encode()); pool.close(); os._exit(0)\n"
        "    pids.append(os.read(read, 20))\n"
        "assert pids[0] != pids[1], pids\n"
        "print('own')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, postgres_server.reader_url],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.stdout.strip() == "own", done.stderr


def test_a_writer_forgets_what_was_removed_long_ago_and_still_answers_right(postgres_server, writer):
    """A worker that lives for weeks meets far more names and inodes than there are at any time."""
    origin = Origin(writer)
    first, sizes = None, []
    for _ in range(12):
        made = origin.files(500)
        first = first or made[0]
        assert writer.append(origin.batch(*made), "t")[0].error == ""
        gone = origin.batch(*(Unlink(1, one.name, one.inode) for one in made))
        assert writer.append(gone, "t")[0].rejected == ()
        sizes.append(len(next(iter(writer._standings.values())).tree))
    assert sizes[-1] == sizes[-2] < 6_000, "12,000 keys were met"
    again, new = Unlink(1, first.name, first.inode), Make(1, first.name, first.inode + 50_000, 0o100644, 0, 0)
    reply = writer.append(origin.batch(again, new), "t")[0]
    assert [refused.sequence - reply.acked for refused in reply.rejected] == [-1], "that name is no more; it is free"
