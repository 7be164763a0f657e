"""`weir import` and `weir export` through real Redis, worker and Postgres: what comes out is what went in."""

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import bootstrap
from app.core.errors import RequestInvalid
from app.ports import EventFilter
from app.services.exporting import export_tree
from app.services.importing import Options, import_folder
from app.services.source_folder import data_from
from config.settings import Settings, load

REPOSITORY = Path(__file__).resolve().parents[2]
WEIR = str(Path(sys.executable).parent / "weir")


@pytest.fixture(scope="module")
def environ(server_folder: Path, redis_server, postgres_server) -> dict[str, str]:
    return os.environ | {
        "WEIR_HOME": str(server_folder / "transfer-home"),
        "WEIR_MOUNT": str(server_folder / "transfer-mnt"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def settings(environ, start_worker) -> Settings:
    start_worker(environ, "files", "--pool", "prefork", "-c", "2", name="test-transfer")
    return load(environ)


@pytest.fixture
def parts(settings):
    made = bootstrap.import_parts(settings)
    yield made
    made.close()


def tree(root: Path) -> dict[bytes, tuple]:
    """What a person may rely on, by path: kind and mode, owner, size, content, target, time, hard-link group."""
    found, groups = {}, {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            one = os.lstat(path)
            relative = path[len(os.fsencode(root)) + 1 :]
            content = None
            if stat.S_ISREG(one.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            target = os.readlink(path) if stat.S_ISLNK(one.st_mode) else None
            more = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
            groups.setdefault(one.st_ino, []).append(relative)
            found[relative] = (one.st_mode, one.st_uid, one.st_gid, content, target, more, one.st_mtime_ns, one.st_ino)
    return {path: (*value[:-1], tuple(sorted(groups[value[-1]]))) for path, value in found.items()}


def make_project(root: Path, seed: int = 1, files: int = 60) -> None:
    rng = random.Random(seed)
    root.mkdir()
    folders = [root]
    for number in range(12):
        folder = rng.choice(folders) / f"folder{number}"
        folder.mkdir(mode=rng.choice([0o700, 0o755]))
        folders.append(folder)
    for number in range(files):
        path = rng.choice(folders) / f"file{number}"
        path.write_bytes(rng.randbytes(rng.choice([0, 1, 100, 5000, 131072, 131073, 300_000])))
        path.chmod(rng.choice([0o600, 0o644, 0o755, 0o4755, 0o444]))
        os.utime(path, ns=(1, 1_600_000_000_123_456_789 + number))
    (root / "big").write_bytes(rng.randbytes(20_000_000))
    with (root / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(2_000_000)
        file.write(b"island")
    os.link(root / "big", folders[-1] / "big-again")
    os.setxattr(root / "big", "user.origin", b"a\0b")
    os.setxattr(root / "big", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.setxattr(folders[1], "user.kind", b"a folder's")
    (root / "symlink").symlink_to("folder0/nowhere")
    (root / "absolute").symlink_to("/etc/passwd")
    os.utime(root / "symlink", ns=(5, 1_500_000_000_000_000_001), follow_symlinks=False)
    with open(os.fsencode(root) + b"/caf\xe9 \xff\n name", "wb") as file:
        file.write(b"not utf-8")
    for number, folder in enumerate(reversed(folders)):
        os.utime(folder, ns=(1, 1_550_000_000_000_000_777 + number))


def test_what_was_imported_is_exported_byte_for_byte(settings, parts, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    make_project(source)
    counts = import_folder(parts, source, Options(into=b"first/here"))
    assert (counts.refused, counts.rejected, counts.replaced) == ([], 0, 0)
    assert counts.acked == counts.requests
    exported = export_tree(parts.reader, target, b"first/here")
    assert tree(target) == tree(source)
    assert exported.hard_links == counts.hard_links == 1
    assert (target / "sparse").stat().st_blocks < 1000
    assert list(settings.mounts.glob("import-*")) == []


def test_a_second_import_of_the_same_folder_changes_nothing(settings, parts, tmp_path):
    source = tmp_path / "source"
    make_project(source, 2, files=20)
    import_folder(parts, source, Options(into=b"second"))
    head = parts.reader.head().position
    again = import_folder(parts, source, Options(into=b"second"))
    assert (again.requests, again.replaced) == (0, 0)
    assert again.unchanged == again.files + again.symlinks + again.hard_links
    assert parts.reader.head().position == head


def test_a_changed_file_is_replaced_and_a_new_one_added(settings, parts, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    make_project(source, 3, files=20)
    import_folder(parts, source, Options(into=b"third"))
    (source / "big").write_bytes(b"smaller now")
    (source / "new").write_bytes(b"new")
    (source / "symlink").unlink()
    (source / "symlink").symlink_to("elsewhere")
    os.removexattr(source / "folder0", "user.kind")
    again = import_folder(parts, source, Options(into=b"third"))
    assert again.replaced == 2
    export_tree(parts.reader, target, b"third")
    assert tree(target) == tree(source)


def test_sockets_are_refused_and_counted_and_fifos_come_on_request(settings, parts, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(source / "sock"))
        counts = import_folder(parts, source, Options(into=b"fourth"))
        assert sorted(counts.refused) == [(b"fifo", "fifo"), (b"sock", "socket")]
        counts = import_folder(parts, source, Options(into=b"fourth", special=True))
    assert counts.refused == [(b"sock", "socket")]
    export_tree(parts.reader, target, b"fourth")
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)


def test_a_file_where_the_project_has_a_folder_is_refused(settings, parts, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "name").mkdir(parents=True)
    two.mkdir()
    (two / "name").write_bytes(b"file")
    import_folder(parts, one, Options(into=b"fifth"))
    counts = import_folder(parts, two, Options(into=b"fifth"))
    assert [path for path, _reason in counts.refused] == [b"name"]


def test_an_export_never_writes_into_a_folder_in_use(settings, parts, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(RequestInvalid, match="--force"):
        export_tree(parts.reader, tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(RequestInvalid, match="not a folder of the project"):
        export_tree(parts.reader, tmp_path / "new", b"no/such")
    assert not (tmp_path / "new").exists()


def test_an_export_over_what_is_of_another_kind_is_refused_before_anything_is_written(parts, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    (source / "b").write_text("new")
    import_folder(parts, source, Options(into=b"kinds"))
    for name, make in (("a", lambda path: path.symlink_to("elsewhere")), ("b", lambda path: path.mkdir())):
        target.mkdir()
        make(target / name)
        before = tree(target)
        with pytest.raises(RequestInvalid, match=f"{name}' is .*in the way"):
            export_tree(parts.reader, target, b"kinds", force=True)
        assert tree(target) == before
        shutil.rmtree(target)


def test_a_path_that_cannot_be_looked_at_is_named_before_anything_is_brought_in(parts, tmp_path):
    """Longer than a system call takes."""
    head = parts.reader.head().position
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(24):
        os.mkdir("d" * 200, dir_fd=descriptor)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with pytest.raises(RequestInvalid, match="File name too long"):
        import_folder(parts, tmp_path, Options(into=b"deep"))
    assert parts.reader.head().position == head


@pytest.mark.parametrize("place", [".", "current", "current/below", "second", "home/logs"])
def test_what_is_weirs_own_is_not_brought_in_again_and_again(short_path, environ, place):
    mnt, home = short_path / "mnt", short_path / "home"
    for folder in (mnt / "current" / "below", mnt / "second", home / "logs", home / "run" / "mounts"):
        folder.mkdir(parents=True)
    (home / "run" / "mounts" / "two.json").write_text(json.dumps({"path": str(short_path / "mnt" / "second"), "pid": 0}))
    (short_path / "link").symlink_to(mnt)
    ours = environ | {"WEIR_HOME": str(home), "WEIR_MOUNT": str(mnt)}
    given = short_path / place if place.startswith("home") else short_path / "link" / place
    ran = subprocess.run([WEIR, "import", given, "--into", "m"], env=ours, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2, ran.stderr
    assert "Weir's own" in " ".join(ran.stderr.split())


def test_while_an_import_reads_it_goes_on_telling_and_waits_for_nothing(settings, parts, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(3_000_000))
    import_folder(parts, source, Options(into=b"told"))
    told = []
    import_folder(parts, source, Options(into=b"told"), told.append)
    begins = next(index for index, one in enumerate(told) if not one.waits)
    reading = told[begins:]
    assert len(reading) > 20, "one a chunk: whoever listens knows that it is at it"
    assert not any(one.waits for one in reading), "nothing is in the journal"


def test_holes_are_not_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"x")
    descriptor = os.open(path, os.O_RDONLY)
    at = data_from(descriptor, 0)
    assert 0 <= (1 << 39) - at < 1 << 21
    assert data_from(descriptor, (1 << 39) + (1 << 20)) == 1 << 40
    os.close(descriptor)


def test_a_sparse_file_is_known_again_without_reading_its_holes(settings, parts, tmp_path):
    """Two reads of a tebibyte of zeros for each of its mebibytes: an import of it a second time did not end."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 42)
        file.seek(1 << 41)
        file.write(b"x" * 200_000)
    assert import_folder(parts, source, Options(into=b"sparse")).refused == []
    again = import_folder(parts, source, Options(into=b"sparse"))
    assert (again.requests, again.unchanged) == (0, 1)
    with (source / "sparse").open("r+b") as file:
        file.seek(1 << 40)
        file.write(b"y")
    assert import_folder(parts, source, Options(into=b"sparse")).replaced == 1
    with (source / "sparse").open("r+b") as file:
        file.truncate(1 << 40)
        file.truncate(1 << 42)
    assert import_folder(parts, source, Options(into=b"sparse")).replaced == 1, "what was cut off is still there"


def test_an_import_killed_in_the_middle_is_finished_by_the_next_and_doubles_nothing(settings, parts, environ, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    make_project(source, 4, files=250)
    command = [sys.executable, "-c", "from app.entry.cli import main; main()", "import", str(source), "--into", "sixth"]
    for moment in (0.1, 0.3, 0.6):
        child = subprocess.Popen(command, env=environ, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while not list(settings.mounts.glob("import-*/journal/*.wj")) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    done = subprocess.run(
        [*command, "--json", "--agent", "me"], env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejected"] == 0
    reader = parts.reader
    export_tree(reader, target, b"sixth")
    assert tree(target) == tree(source)
    makes = [e for e in reader.log(EventFilter(path=b"sixth", limit=100_000)) if e.kind in ("create", "mkdir", "symlink")]
    assert len({event.path for event in makes}) == len(makes), "every path was made once"
    assert list(settings.mounts.glob("import-*")) == []


def test_an_import_says_within_two_seconds_that_redis_hangs_and_goes_on_when_it_is_back(
    tmp_path, short_path, own_redis, environ
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a").write_text("a")
    ours = environ | {"WEIR_HOME": str(short_path / "h"), "REDIS_URL": own_redis.url}
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    subprocess.run([WEIR, "import", "--help"], env=ours, check=True, capture_output=True)
    start_s, began = time.monotonic() - began, time.monotonic()  # how long a program takes to start beside others
    running = subprocess.Popen([WEIR, "import", tmp_path / "p", "--json"], env=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said, took_s = running.stderr.readline(), time.monotonic() - began
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)
        running.kill()
        running.communicate()
    assert "Redis does not answer" in said
    assert "weir up" in said
    assert took_s < 2 + 3 * start_s
