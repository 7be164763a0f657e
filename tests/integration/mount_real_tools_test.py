"""Real programs on the mount: what git, tar, sqlite, make and friends do on a native filesystem they do here."""

# ruff: noqa: E501 - stories read better unbroken

import ctypes
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneMount]:
    one = LoneMount(tmp_path_factory.mktemp("tools") / "one")
    yield one
    counters = one.ask("figures")["counters"]  # type: ignore[index]
    assert one.stop() == 0, one.log.read_text()
    assert not [name for name in counters if " in " in name or name.startswith("own operation")]


@pytest.fixture
def tree(mount: LoneMount, request: pytest.FixtureRequest) -> Path:
    folder = mount.tree / request.node.name
    folder.mkdir()
    return folder


def sh(command: str, cwd: Path) -> str:
    done = subprocess.run(["bash", "-ec", command], cwd=cwd, capture_output=True, text=True, timeout=120, env=ENVIRON, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_git_clone_edit_commit_gc_and_fsck(tree: Path) -> None:
    sh(f"git clone -q --no-hardlinks {ROOT} clone", tree)
    clone = tree / "clone"
    assert sh("git status --porcelain", clone) == ""
    sh(
        "echo more >> README.md && git commit -qam edit && git checkout -qb other && git mv README.md R && git commit -qm move && git checkout -q -",
        clone,
    )
    sh("git merge -q other && git gc -q && git fsck --strict", clone)
    assert sh("git status --porcelain", clone) == ""


def test_a_tree_through_tar_is_identical(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / ".venv/lib/python3.11/site-packages/celery", source, symlinks=True)
    sh(f"tar cf - --format=pax -C {source} . | tar xpf -", tree)
    sh(f"diff -r {source} .", tree)
    listing = "find . -type f -printf '%P %s %m %T@\\n' | sort"
    assert sh(listing, tree) == sh(listing, source)


def test_cp_a_rsync_like_copies_keep_everything(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    sh(
        "mkdir d; echo x > d/f; ln d/f d/g; ln -s f d/l; mkfifo p; chmod 751 d; touch -d '2001-02-03 04:05:06.789' d/f; truncate -s 1M hole",
        source,
    )
    sh(f"cp -a {source} copy && cp -a copy again && mv again moved", tree)
    sh(f"diff -r --no-dereference {source}/d moved/d", tree)
    listing = "find . -printf '%P %y %m %n %T@ %l\\n' | grep -v '^ ' | sort"
    assert sh(listing, tree / "moved") == sh(listing, source)


def test_sed_sort_patch_and_editors_replace_files(tree: Path) -> None:
    sh(
        "seq 1 2000 > n; sed -i s/1/one/g n; sort -o n n; cp n m; echo end >> m; diff -u n m > p || true; patch -s n p; cmp n m",
        tree,
    )


def test_make_builds_only_what_is_older(tree: Path) -> None:
    (tree / "Makefile").write_text("out: in\n\tcp in out\n\t@echo built\n")
    (tree / "in").write_text("x")
    assert "built" in sh("make", tree)
    assert "built" not in sh("make", tree)
    sh("sleep 0.02; echo y > in", tree)
    assert "built" in sh("make", tree)


@pytest.mark.parametrize("mode", ["delete", "wal", "truncate"])
def test_sqlite_keeps_its_promises(mount: LoneMount, mode: str) -> None:
    path = mount.tree / f"{mode}.db"
    with sqlite3.connect(path) as db:
        db.execute(f"pragma journal_mode={mode}")
        db.execute("create table t (n integer, s text)")
    db.close()

    def insert(start: int) -> None:
        own = sqlite3.connect(path, timeout=30)
        for n in range(start, start + 40):
            with own:
                own.execute("insert into t values (?, ?)", (n, "x" * 500))
        own.close()

    threads = [threading.Thread(target=insert, args=(start,)) for start in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db = sqlite3.connect(path)
    assert db.execute("select count(*), count(distinct n) from t").fetchone() == (80, 80)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()


def test_git_rebases_keeps_worktrees_and_clones_from_the_mount(tree: Path) -> None:
    sh("git init -q -b main r && cd r && seq 1 50 > f && git add f && git commit -qm one && git checkout -qb topic && sed -i s/^1$/first/ f && git commit -qam topic", tree)
    sh("git checkout -q main && sed -i s/^50$/last/ f && git commit -qam main && git checkout -q topic && git rebase -q main && git log --oneline", tree / "r")
    sh("git worktree add -q ../w main && git -C ../w status --porcelain && echo w > ../w/new && git -C ../w add new && git -C ../w commit -qm worktree", tree / "r")
    sh("git clone -q r c && cd c && git checkout -q main && test -e new && git stash list && git fsck --strict && git repack -adq && git gc -q --prune=now", tree)
    assert sh("git worktree remove ../w && git merge -q main -m m && git status --porcelain && git fsck --strict && head -1 f && tail -1 f", tree / "r") == "first\nlast\n"


def test_rsync_copies_and_then_finds_nothing_to_do(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    sh("mkdir -p d/e; seq 1 9999 > d/f; ln d/f d/g; ln -s ../d/f d/e/l; mkfifo d/p; head -c 700000 /dev/urandom > big; truncate -s 3M hole; chmod 2750 d; touch -d '1999-01-02 03:04:05.123456789' d/e big", source)
    sh(f"rsync -aHAXS --numeric-ids {source}/ here/", tree)
    assert sh(f"rsync -aHAXS --numeric-ids --checksum --itemize-changes --dry-run --delete {source}/ here/", tree) == ""
    sh(f"echo more >> {source}/big; rm {source}/d/g; rsync -a --inplace --delete {source}/ here/ && rsync -a --append-verify {source}/ here/", tree)
    assert sh(f"rsync -a --checksum --itemize-changes --dry-run --delete {source}/ here/", tree) == ""
    sh(f"rsync -a here/ {tmp_path}/back/ && diff -r --no-dereference here/d/e {tmp_path}/back/d/e && cmp here/big {tmp_path}/back/big", tree)


def test_vim_writes_a_file_with_its_swap_and_backup(tree: Path) -> None:
    (tree / "text").write_text("one\ntwo\n")
    sh("vim -u NONE -es -N --cmd 'set backup backupskip= backupcopy=no undofile' -c '%s/two/2/' -c 'wq' text", tree)
    sh("vim -u NONE -es -N --cmd 'set backup backupskip= backupcopy=yes' -c '%s/one/1/' -c 'wq' text", tree)
    assert (tree / "text").read_text() == "1\n2\n"
    assert (tree / "text~").read_text() == "one\n2\n"


def test_pip_installs_into_an_environment_on_the_mount_and_what_it_installed_runs(tree: Path) -> None:
    pip = f"{sys.executable} -m pip --disable-pip-version-check --python v/bin/python"
    with zipfile.ZipFile(tree / "greeting-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("greeting.py", "def main():\n    print('hello from the mount')\n")
        wheel.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        wheel.writestr("greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("greeting-1.0.dist-info/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        wheel.writestr("greeting-1.0.dist-info/RECORD", "")
    sh(f"{sys.executable} -m venv --without-pip v && {pip} install -q --no-index ./greeting-1.0-py3-none-any.whl", tree)
    assert sh("v/bin/greet", tree) == "hello from the mount\n"
    sh(f"{pip} uninstall -qy greeting && test ! -e v/bin/greet", tree)


def test_npm_installs_a_tree_of_packages_and_what_it_installed_runs(tree: Path) -> None:
    for name, needs in (("leaf", "{}"), ("branch", '{"leaf": "file:../leaf"}'), ("app", '{"branch": "file:../branch", "leaf": "file:../leaf-1.0.0.tgz"}')):
        (tree / name).mkdir()
        (tree / name / "package.json").write_text(f'{{"name": "{name}", "version": "1.0.0", "main": "index.js", "bin": {{"{name}": "index.js"}}, "dependencies": {needs}}}')
        (tree / name / "index.js").write_text(f"#!/usr/bin/env node\nconsole.log('{name}')\n")
    npm = "npm --offline --no-audit --no-fund --silent --install-links --cache ../cache"
    sh(f"cd leaf && {npm} pack --pack-destination .. && cd ../app && {npm} install && {npm} ls --all", tree)
    assert sh("node_modules/.bin/leaf && node -e \"require('branch')\" && node_modules/.bin/branch", tree / "app") == "leaf\nbranch\nbranch\n"
    sh(f"rm -rf node_modules && {npm} install && node_modules/.bin/branch && {npm} uninstall branch && test ! -e node_modules/branch", tree / "app")


def test_pytest_runs_in_the_mount_and_again_only_what_failed(tree: Path) -> None:
    (tree / "test_x.py").write_text("def test_good(tmp_path):\n    (tmp_path / 'f').write_text('x')\n\ndef test_bad():\n    assert 0\n")
    run = f"env -u PYTEST_ADDOPTS {sys.executable} -m pytest -q --rootdir . --basetemp base"
    assert "1 failed, 1 passed" in sh(f"{run} test_x.py || true", tree)
    assert "1 failed, 1 deselected" in sh(f"{run} --lf test_x.py || true", tree)


def test_sqlite_with_wal_and_memory_mapping_from_two_processes(tree: Path) -> None:
    write = (
        "import sqlite3, sys\ndb = sqlite3.connect('m.db', timeout=60)\ndb.execute('pragma mmap_size=100000000')\n"
        "for n in range(60):\n    with db:\n        db.execute('insert into t values (?, ?)', (int(sys.argv[1]) + n, 'y' * 3000))\n"
    )
    with sqlite3.connect(tree / "m.db") as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t (n integer primary key, s text)")
    reader = sqlite3.connect(tree / "m.db")
    reader.execute("pragma mmap_size=100000000")
    writers = [subprocess.Popen([sys.executable, "-c", write, str(start)], cwd=tree) for start in (0, 1000)]
    counts = []
    while any(writer.poll() is None for writer in writers):
        counts.append(reader.execute("select count(*) from t").fetchone()[0])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert counts == sorted(counts)
    assert reader.execute("select count(*), sum(length(s)) from t").fetchone() == (120, 360_000)
    assert reader.execute("pragma integrity_check").fetchone() == ("ok",)
    reader.close()
    db.close()


def test_tail_f_shows_each_line_as_it_is_appended(tree: Path) -> None:
    (tree / "log").touch()
    tail = subprocess.Popen(["tail", "-f", "-s", "0.05", "-n", "+1", str(tree / "log")], stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    try:
        for number in range(20):
            with (tree / "log").open("a") as log:
                log.write(f"line {number}\n")
            assert tail.stdout.readline() == f"line {number}\n"
    finally:
        tail.terminate()
        tail.wait()
        tail.stdout.close()


def test_inotify_tells_what_happens_through_this_mount(tree: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    created, modified, moved_from, moved_to, deleted, closed = 0x100, 0x2, 0x40, 0x80, 0x200, 0x8
    assert libc.inotify_add_watch(descriptor, os.fsencode(tree), created | modified | moved_from | moved_to | deleted | closed) > 0
    (tree / "f").write_text("x")
    (tree / "f").rename(tree / "g")
    (tree / "g").unlink()
    data, found = os.read(descriptor, 1 << 16), []
    os.close(descriptor)
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        found.append((mask, data[16 : 16 + length].rstrip(b"\0").decode()))
        data = data[16 + length :]
    assert found == [(created, "f"), (modified, "f"), (closed, "f"), (moved_from, "f"), (moved_to, "g"), (deleted, "g")]


def test_a_virtual_environment_works_from_the_mount(tree: Path) -> None:
    sh(f"{sys.executable} -m venv --without-pip v && v/bin/python -c 'import json, sys; print(sys.prefix)'", tree)


def test_many_writers_at_once_lose_nothing(tree: Path) -> None:
    sh(
        "for w in 1 2 3 4 5 6; do (for i in $(seq 60); do echo $w-$i > f$w-$i; echo $w-$i >> log; mv f$w-$i g$w-$i; done) & done; wait",
        tree,
    )
    assert len(list(tree.glob("g*"))) == 360
    assert sorted((tree / "log").read_text().split()) == sorted(p.read_text().strip() for p in tree.glob("g*"))


def test_a_program_runs_from_the_mount_and_large_files_are_whole(tree: Path) -> None:
    (tree / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n')
    assert sh("cc -o main main.c && ./main", tree) == "ran\n"
    data = os.urandom(12_345_678)
    (tree / "large").write_bytes(data)
    assert (tree / "large").read_bytes() == data
    sh(
        "cp large copy && cmp large copy && dd if=large of=part bs=1000 skip=130 count=300 status=none && cmp -n 300000 -i 130000:0 large part",
        tree,
    )
