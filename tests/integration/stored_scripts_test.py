"""Scripts of the project, read by a real validation worker from a real Postgres when a call would run them."""

import os
import signal
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app import bootstrap
from app.adapters.postgres.connections import open_pool
from app.adapters.postgres.file_writer import PostgresFileWriter
from app.core.chunks import chunk_hash, project_key
from app.core.decisions import Asked, Ruling, ValidateBatch, ValidateReply, Verdict
from app.core.ids import EMPTY_VERSION, ROOT_INODE, first_inode
from app.core.messages import FORMAT, ChunkData, PersistBatch, decode, encode
from app.core.operations import ChunkRef, Content, FileOperationRequest, Make, Operation, encode_request, kind_of
from app.core.shell.stored import SCRIPT_BYTES_MAX
from config.settings import Settings, load
from tests.conftest import PostgresServer

pytestmark = pytest.mark.timeout(120)
IN_TIME_S = 0.5
"""For a worker's answer with a store that hangs: what a call waits for is 20 ms, the rest is a busy machine."""
LATE = "script-unreadable"
LATE_MAX = 5
"""Answers in a row that a busy machine may make late."""


class Mount:
    """What a courier of the project's mount would send."""

    def __init__(self, settings: Settings, writer_url: str) -> None:
        self.writer = PostgresFileWriter(open_pool(writer_url, 1, writing=True))
        self.project, self.origin = settings.project, uuid.uuid4().hex
        self.incarnation = self.writer.register_incarnation(self.project, self.origin, "main", uuid.uuid4().hex)
        self.sequence = 0
        self.inodes: dict[str, int] = {}
        self.versions: dict[str, tuple[int, int]] = {}

    def make(self, name: str, mode: int, parent: int = ROOT_INODE, target: bytes = b"") -> None:
        self.inodes[name] = first_inode(self.incarnation) + len(self.inodes)
        self.do(Make(parent, os.fsencode(name.rpartition("/")[2]), self.inodes[name], mode, 0, 0, 0, target))

    def write(self, name: str, content: bytes) -> None:
        if name not in self.inodes:
            folder = name.rpartition("/")[0]
            self.make(name, 0o100755, self.inodes[folder] if folder else ROOT_INODE)
        held = content[: 128 * 1024]
        chunk = ChunkData(chunk_hash(project_key(self.project), held), len(held), "raw", held)
        base = self.versions.get(name, EMPTY_VERSION)
        self.do(Content(self.inodes[name], base, len(content), 1, chunks=(ChunkRef(0, chunk.hash, len(held)),)), chunk)
        self.versions[name] = (self.incarnation, self.sequence)

    def do(self, operation: Operation, *chunks: ChunkData) -> None:
        self.sequence += 1
        request = FileOperationRequest(self.sequence, 1, kind_of(operation), b"x", "a", "", "", operation)
        ids = (self.project, self.origin, "main", self.incarnation, uuid.uuid4().hex, "r")
        reply, _ = self.writer.append(PersistBatch(FORMAT, *ids, (encode_request(request),), chunks), "task")
        assert not reply.error, reply


class Site:
    """Worker, store and mount of one project."""

    def __init__(self, folder: Path, postgres: PostgresServer, redis_url: str, start_worker) -> None:
        self.postgres = postgres
        environ = os.environ | {
            "WEIR_HOME": str(folder / "h"),
            "WEIR_MOUNT": str(folder / "mnt"),
            "REDIS_URL": redis_url,
            "DATABASE_URL": postgres.reader_url,
            "WEIR_WRITER_URL": postgres.writer_url,
            "PYTHONUNBUFFERED": "1",
        }
        self.settings = load(environ)
        self.mount = Mount(self.settings, postgres.writer_url)
        self.tasks, self.box = bootstrap.tasks(self.settings), bootstrap.reply_box(self.settings)
        self.cwd = str(folder / "mnt" / "current")
        self.worker = start_worker(environ, "validate", "--pool", "solo", name="test-scripts")

    def ask(self, *commands: str, cwd: str = "") -> tuple[list[Ruling], ValidateReply]:
        calls = tuple(Asked("Bash", {"command": command}, "agent", cwd=cwd or self.cwd) for command in commands)
        batch = ValidateBatch(2, self.settings.project, os.urandom(8).hex(), self.box.address, 45, calls)
        self.tasks.send("weir.validate", encode(batch), "validate")
        while (reply := decode(ValidateReply, self.box.wait(10) or b"")).batch_id != batch.batch_id:
            pass
        return list(reply.rulings), reply

    def verdict(self, command: str, cwd: str = "") -> str:
        (found,), _ = self.ask(command, cwd=cwd)
        return found.verdict.value

    def verdict_read(self, command: str, cwd: str = "") -> str:
        """The verdict once the script was read: on a busy machine the store may be late, which is a doubt, no answer."""
        for _ in range(LATE_MAX + 1):
            (found,), _ = self.ask(command, cwd=cwd)
            if LATE not in found.ground.reason:
                return found.verdict.value
            time.sleep(0.1)
        raise AssertionError(f"the script is not read: {command}")

    def until(self, command: str, verdict: Verdict) -> None:
        give_up = time.monotonic() + 30
        while self.verdict(command) != verdict.value:
            assert time.monotonic() < give_up, f"never {verdict}: {command}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site(server_folder: Path, redis_server, start_worker) -> Iterator[Site]:
    folder = server_folder / "scripts"
    folder.mkdir()
    postgres = PostgresServer(folder)
    made = Site(folder, postgres, redis_server.url, start_worker)
    yield made
    made.tasks.close()
    made.box.close()
    made.mount.writer.close()
    made.worker.process.stop()
    postgres.stop()


def test_a_script_s_verdict_follows_its_content_at_once(site: Site) -> None:
    site.mount.make("bin", 0o040755)
    for content, verdict in (
        (b"ls -la\n", "approve"),
        (b"rm -rf ~\n", "block"),
        (b"unheard-of\n", "escalate"),
        (b"ls\n", "approve"),
    ):
        site.mount.write("bin/x.sh", content)
        for command in ("bash bin/x.sh", "./bin/x.sh", "cd bin && sh x.sh", f"bash {site.cwd}/bin/x.sh"):
            assert site.verdict_read(command) == verdict, (command, content)
    (found,), reply = site.ask("bash bin/x.sh")
    assert (found.ground.reads, reply.layers) == (("script",), ("policy",))


def test_make_and_npm_run_what_their_files_say_now(site: Site) -> None:
    for recipe, verdict in (("ls", "approve"), ("rm -rf ~", "block"), ("ls -la", "approve")):
        site.mount.write("Makefile", f"all: list\nlist:\n\t@{recipe}\nother:\n\trm -rf /\n".encode())
        site.mount.write("package.json", f'{{"scripts": {{"list": "{recipe}", "other": "rm -rf /"}}}}'.encode())
        assert [site.verdict_read(command) for command in ("make", "make -j 2 list", "npm run list", "yarn list")] == [
            verdict
        ] * 4


def test_what_cannot_be_understood_or_is_reached_through_a_link_is_not_approved(site: Site) -> None:
    site.mount.make("link.sh", 0o120777, target=b"/tmp/x.sh")
    for content in (b"ls\n" * SCRIPT_BYTES_MAX, b"ls\n" * 5000, b"ls \xff\n"):
        site.mount.write("odd.sh", content)
        assert site.verdict("bash odd.sh") == "escalate"
    assert site.verdict("bash link.sh") == "escalate"
    assert site.verdict("bash link.sh/x.sh") == "escalate"
    assert site.verdict_read("bash not-there.sh") == "approve"  # as everywhere: nothing is known against it
    site.mount.write("program", b"\x7fELF" + bytes(SCRIPT_BYTES_MAX))
    assert site.verdict_read("./program") == "approve"


def test_the_same_name_outside_of_the_mount_is_another_file(site: Site) -> None:
    site.mount.write("y.sh", b"rm -rf ~\n")
    assert site.verdict_read("bash y.sh") == "block"
    assert site.verdict("bash y.sh", "/home/dev/elsewhere") == "approve"


def test_a_store_that_hangs_or_is_gone_is_doubt_in_time_and_heals(site: Site) -> None:
    site.mount.write("z.sh", b"ls\n")
    assert site.verdict_read("bash z.sh") == "approve"
    site.mount.writer.close()
    with_backends = [site.postgres.process.pid, *_children(site.postgres.process.pid)]
    _signal(with_backends, signal.SIGSTOP)
    try:
        took = []
        for _ in range(5):
            started_s = time.monotonic()
            found, _ = site.ask(*["bash z.sh"] * 20, "ls")
            took.append(time.monotonic() - started_s)
            assert [one.verdict for one in found] == [Verdict.ESCALATE] * 20 + [Verdict.APPROVE]
        assert statistics.median(took) < IN_TIME_S
    finally:
        _signal(with_backends, signal.SIGCONT)
    site.until("bash z.sh", Verdict.APPROVE)
    site.postgres.kill()
    assert site.verdict("bash z.sh") == "escalate"
    assert site.verdict("ls") == "approve"
    site.postgres.start()
    site.until("bash z.sh", Verdict.APPROVE)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the writer's backend leaves meanwhile
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
