"""Real programs on the mount: what git, tar, sqlite, make and friends do on a native filesystem they do here."""

# ruff: noqa: E501 - stories read better unbroken

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
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
