"""Ephemeral paths: what tools make again is there as anything is, survives a kill, and leaves no event."""

# ruff: noqa: E501 - stories read better unbroken

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.entry.cli.demonstration import is_ephemeral  # noqa: E402

RULES = """
rules:
  - id: keys
    touch: {path: ["*.pem"]}
    on: [write]
    decide: block
    reason: Keys are a person's business.
"""


def refused(code: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError, match=".") as found:
        call()
    assert found.value.errno == code


def problems(mount: LoneMount) -> list[str]:
    return json.loads((mount.root / "debug" / "health").read_text())["problems"]


def sh(command: str, cwd: Path) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(
        ["bash", "-ec", command], cwd=cwd, capture_output=True, text=True, timeout=200, env=environ, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def restarted(mount: LoneMount) -> None:
    mount.kill()
    subprocess.run(["umount", "-l", str(mount.root)], check=False, capture_output=True)
    mount.start()


def test_an_installed_tree_leaves_no_event_and_survives_a_kill(mount: LoneMount) -> None:
    modules = mount.tree / "node_modules"
    for number in range(50):
        (modules / f"p{number}" / "lib").mkdir(parents=True)
        (modules / f"p{number}" / "lib" / "index.js").write_text(f"exports.n = {number}\n" * 1000)
    (modules / ".bin").mkdir()
    (modules / ".bin" / "tool").symlink_to("../p1/lib/index.js")
    os.link(modules / "p1" / "lib" / "index.js", modules / "same.js")
    os.chmod(modules / "p2" / "lib" / "index.js", 0o755)
    os.setxattr(modules / "p3", "user.a", b"1")
    os.utime(modules / "p4", ns=(5, 7_000_000_009))
    os.rename(modules / "p5", modules / "p6" / "inner")
    shutil.rmtree(modules / "p7")
    mount.settle()
    assert mount.ask("events") == 0
    inode = (modules / "same.js").stat().st_ino
    restarted(mount)
    assert (modules / ".bin" / "tool").read_text() == "exports.n = 1\n" * 1000
    assert (modules / "same.js").stat().st_ino == (modules / "p1" / "lib" / "index.js").stat().st_ino == inode
    assert (modules / "same.js").stat().st_nlink == 2
    assert stat.S_IMODE((modules / "p2" / "lib" / "index.js").stat().st_mode) == 0o755
    assert os.getxattr(modules / "p3", "user.a") == b"1"
    assert (modules / "p4").stat().st_mtime_ns == 7_000_000_009
    assert (modules / "p6" / "inner" / "lib" / "index.js").exists()
    assert len(os.listdir(modules)) == 50 - 2 + 2
    assert mount.ask("events") == 0


def test_what_is_beside_it_is_recorded_as_ever(mount: LoneMount) -> None:
    (mount.tree / "node_modules").mkdir()
    (mount.tree / "package.json").write_text("{}")
    (mount.tree / "node_modules.txt").write_text("not a directory of that name")
    mount.settle()
    assert [kind for _, kind in mount.ask("requests")] == ["create", "write", "create", "write"]
    assert sorted(os.listdir(mount.tree)) == ["node_modules", "node_modules.txt", "package.json"]
    assert mount.tree.stat().st_nlink == 3


def test_the_border_is_between_two_filesystems(mount: LoneMount) -> None:
    (mount.tree / "node_modules").mkdir()
    (mount.tree / "node_modules" / "a").write_text("ephemeral")
    (mount.tree / "b").write_text("recorded")
    (mount.tree / "sub").mkdir()
    refused(errno.EXDEV, lambda: os.rename(mount.tree / "node_modules" / "a", mount.tree / "a"))
    refused(errno.EXDEV, lambda: os.rename(mount.tree / "b", mount.tree / "node_modules" / "b"))
    refused(errno.EXDEV, lambda: os.rename(mount.tree / "sub", mount.tree / ".venv"))
    refused(errno.EXDEV, lambda: os.link(mount.tree / "b", mount.tree / "node_modules" / "b"))
    refused(errno.EXDEV, lambda: os.link(mount.tree / "node_modules" / "a", mount.tree / "a"))
    sh("mv node_modules/a a && mv b node_modules/b && mv sub .venv && mv node_modules kept", mount.tree)
    assert (mount.tree / "a").read_text() == "ephemeral"
    assert (mount.tree / "kept" / "b").read_text() == "recorded"
    assert sorted(os.listdir(mount.tree)) == [".venv", "a", "kept"]
    mount.settle()
    restarted(mount)
    assert (mount.tree / "a").read_text() == "ephemeral"
    assert (mount.tree / "kept" / "b").read_text() == "recorded"


def test_it_goes_along_with_the_directory_that_it_stands_in(mount: LoneMount) -> None:
    (mount.tree / "web" / "node_modules").mkdir(parents=True)
    (mount.tree / "web" / "node_modules" / "a").write_text("1")
    (mount.tree / "empty").mkdir()
    (mount.tree / "api").mkdir()
    os.rename(mount.tree / "web", mount.tree / "site")
    os.rename(mount.tree / "site" / "node_modules", mount.tree / "api" / "node_modules")
    assert (mount.tree / "api" / "node_modules" / "a").read_text() == "1"
    refused(errno.ENOTEMPTY, lambda: os.rmdir(mount.tree / "api"))
    refused(errno.ENOTEMPTY, lambda: os.rename(mount.tree / "empty", mount.tree / "api"))
    restarted(mount)
    assert (mount.tree / "api" / "node_modules" / "a").read_text() == "1"
    shutil.rmtree(mount.tree / "api")
    assert sorted(os.listdir(mount.tree)) == ["empty", "site"]


def test_the_file_holds_at_once_for_what_is_made_after_it(mount: LoneMount) -> None:
    (mount.tree / "build").mkdir()
    (mount.tree / "build" / "old").write_text("recorded")
    (mount.tree / ".weirignore").write_text("build/\n*.log\n!\n")
    (mount.tree / "build" / "fresh").write_text("in a directory that is recorded")
    (mount.tree / "node_modules").mkdir()
    (mount.tree / "run.log").write_text("no history")
    (mount.tree / "sub").mkdir()
    (mount.tree / "sub" / "build").mkdir()
    (mount.tree / "sub" / "build" / "x").write_text("no history")
    mount.settle()
    paths = {path for *_, path in mount.ask("numbers")}
    assert paths == {"build", "build/old", ".weirignore", "build/fresh", "node_modules", "sub"}
    assert "line 3" in problems(mount)[0]
    os.unlink(mount.tree / ".weirignore")
    assert not problems(mount) or (mount.tree / "other").write_text("") == 0
    (mount.tree / "sub" / "build" / "y").write_text("still none: what is there stays what it is")
    (mount.tree / "second.log").write_text("recorded")
    mount.settle()
    assert "second.log" in {path for *_, path in mount.ask("numbers")}
    assert not any("/y" in path for *_, path in mount.ask("numbers"))
    assert problems(mount) == []


def test_another_mounts_file_holds_here_soon(mount: LoneMount) -> None:
    mount.ask("foreign", "create", ".weirignore")
    mount.settle(mount.ask("foreign", "write", ".weirignore", "out/\n"))
    deadline = time.monotonic() + 5
    while True:
        made = mount.tree / f"d{time.monotonic_ns()}" / "out"
        made.mkdir(parents=True)
        mount.settle()
        if not any(path.endswith("/out") for *_, path in mount.ask("numbers")[-1:]):
            break
        assert time.monotonic() < deadline


def test_another_mounts_name_hides_the_ephemeral_one_until_it_is_gone(mount: LoneMount) -> None:
    (mount.tree / "node_modules").mkdir()
    (mount.tree / "node_modules" / "mine").write_text("1")
    mount.settle(mount.ask("foreign", "mkdir", "node_modules"))
    assert os.listdir(mount.tree / "node_modules") == []
    assert os.listdir(mount.tree) == ["node_modules"]
    mount.settle(mount.ask("foreign", "rmdir", "node_modules"))
    assert os.listdir(mount.tree / "node_modules") == ["mine"]


def test_a_directory_that_another_mount_removes_takes_it_along(mount: LoneMount) -> None:
    (mount.tree / "web" / "node_modules").mkdir(parents=True)
    mount.settle()
    with (mount.tree / "web" / "node_modules" / "a").open("w") as held:
        mount.settle(mount.ask("foreign", "rmdir", "web"))
        refused(errno.ENOENT, lambda: os.stat(mount.tree / "web"))
        held.write("goes nowhere")
        held.flush()
        refused(errno.ENOENT, lambda: os.stat(mount.tree / "web" / "node_modules" / "a"))
    assert os.listdir(mount.tree) == []


def test_what_stood_in_a_directory_that_is_gone_leaves_the_disk_at_the_second_start(mount: LoneMount) -> None:
    (mount.tree / "node_modules").mkdir()
    home = mount.folder / "home" / "alone"
    (home / "ephemeral" / "500000001" / "node_modules").mkdir(parents=True)
    restarted(mount)
    assert [path.name for path in (home / "ephemeral-gone").iterdir()] == ["500000001"]
    restarted(mount)
    assert not (home / "ephemeral-gone").exists()
    assert [path.name for path in home.glob("ephemeral/*/*")] == ["node_modules"]


def test_the_rules_hold_there_too(short_path: Path) -> None:
    folder = short_path / "rules"
    folder.mkdir()
    (folder / "r.yaml").write_text(RULES)
    mount = LoneMount(short_path / "one", environ={"ALONE_RULES": str(folder)})
    try:
        modules = mount.tree / "a" / "node_modules"
        modules.mkdir(parents=True)
        (modules / "x").write_text("1")
        (modules / "d").mkdir()
        refused(errno.EACCES, lambda: (modules / "k.pem").write_text("key"))
        refused(errno.EACCES, (modules / "k.pem").mkdir)
        refused(errno.EACCES, lambda: (modules / "k.pem").symlink_to("x"))
        refused(errno.EACCES, lambda: os.rename(modules / "x", modules / "k.pem"))
        refused(errno.EACCES, lambda: os.link(modules / "x", modules / "k.pem"))
        home = mount.folder / "home" / "alone" / "ephemeral"
        place = next(home.glob("*/node_modules"))
        (place / "old.pem").write_text("there from before the rule")
        (place / "d" / "old.pem").write_text("there from before the rule")
        refused(errno.EACCES, lambda: (modules / "old.pem").write_text("other"))
        refused(errno.EACCES, lambda: os.truncate(modules / "old.pem", 0))
        refused(errno.EACCES, lambda: os.chmod(modules / "old.pem", 0o777))
        refused(errno.EACCES, lambda: os.setxattr(modules / "old.pem", "user.a", b"1"))
        refused(errno.EACCES, lambda: os.unlink(modules / "old.pem"))
        refused(errno.EACCES, lambda: os.rename(modules / "d", modules / "e"))
        refused(errno.EACCES, lambda: os.rename(mount.tree / "a", mount.tree / "b"))
        assert (modules / "old.pem").read_text() == "there from before the rule"
        said = json.loads((mount.root / "debug" / "last-denial").read_text())
        assert (said["path"], said["rule"], said["by"]) == ("a", "keys", "mount")
    finally:
        assert mount.stop() == 0


def test_open_files_outlive_their_names(mount: LoneMount) -> None:
    modules = mount.tree / "node_modules"
    modules.mkdir()
    with (modules / "a").open("w+b") as held:
        held.write(b"x" * 300_000)
        held.flush()
        os.unlink(modules / "a")
        (modules / "a").write_text("another")
        assert os.fstat(held.fileno()).st_nlink == 0
        os.fchmod(held.fileno(), 0o600)
        os.ftruncate(held.fileno(), 200_000)
        os.fsync(held.fileno())
        held.seek(0)
        assert held.read() == b"x" * 200_000
    assert (modules / "a").read_text() == "another"
    with (modules / "log").open("ab") as one, (modules / "log").open("ab") as two:
        for number in range(100):
            (one, two)[number % 2].write(b"%d\n" % number)
            (one, two)[number % 2].flush()
    assert (modules / "log").read_text().split() == [str(number) for number in range(100)]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_nobody_is_given_what_is_anothers(mount: LoneMount) -> None:
    for above in (mount.folder.parent, mount.folder):
        os.chmod(above, 0o755)
    (mount.tree / "node_modules").mkdir()
    os.chmod(mount.tree / "node_modules", 0o1777)
    as_nobody = "import os,sys;os.setgid(65534);os.setuid(65534);os.chdir(sys.argv[1]);"
    made = as_nobody + "os.umask(0o22);open('own','w').write('1');os.mkdir('dir')"
    subprocess.run([sys.executable, "-c", made, str(mount.tree / "node_modules")], check=True)
    found = (mount.tree / "node_modules" / "own").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o644)
    (mount.tree / "node_modules" / "roots").write_text("1")
    for call in ("open('roots','w')", "os.unlink('roots')", "os.chmod('roots',0o777)"):
        failed = subprocess.run(
            [sys.executable, "-c", as_nobody + call, str(mount.tree / "node_modules")], check=False, capture_output=True
        )
        assert b"PermissionError" in failed.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_it_does_not_take_the_last_of_the_disk(mount: LoneMount) -> None:
    small = mount.folder / "home" / "alone" / "ephemeral"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(small)], check=True)
    try:
        (mount.tree / "node_modules").mkdir()
        with (mount.tree / "node_modules" / "large").open("wb", buffering=0) as held:
            refused(errno.ENOSPC, lambda: [held.write(b"x" * 131_072) for _ in range(400)])
        (mount.tree / "recorded").write_bytes(b"x" * 1_000_000)
        os.unlink(mount.tree / "node_modules" / "large")
        (mount.tree / "node_modules" / "small").write_text("there is room again")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_git_pip_and_a_virtual_environment_work_beside_and_in_it(mount: LoneMount) -> None:
    tree = mount.tree / "project"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "tiny"\nbackend-path = ["."]\n'
    )
    (tree / "tiny.py").write_text("def answer():\n    return 42\n")
    (tree / ".gitignore").write_text(".venv/\n__pycache__/\n")
    sh("git init -q && git add . && git -c user.name=a -c user.email=a@example.org commit -qm first", tree)
    mount.settle()
    before = mount.ask("events")
    sh(
        f"{sys.executable} -m venv .venv && .venv/bin/python -c 'import tiny, sys; assert tiny.answer() == 42; assert sys.prefix.endswith(\".venv\")'",
        tree,
    )
    sh(
        f"cp tiny.py .venv/lib/python3.{sys.version_info.minor}/site-packages/ && .venv/bin/python -m compileall -q .venv/lib",
        tree,
    )
    assert "pip" in sh(".venv/bin/python -m pip list --format=freeze", tree)
    mount.settle()
    assert mount.ask("events") == before
    assert sh("git status --porcelain", tree) == ""
    sh("git clean -ndx | grep -q .venv && git clean -fdxq && git fsck --strict", tree)
    assert not (tree / ".venv").exists()


def test_with_the_flag_off_everything_is_recorded(short_path: Path) -> None:
    mount = LoneMount(short_path / "one", environ={"ALONE_FLAGS": '{"ephemeral_paths": false}'})
    try:
        (mount.tree / "node_modules").mkdir()
        (mount.tree / "node_modules" / "a").write_text("1")
        mount.settle()
        assert mount.ask("events") == 3
    finally:
        assert mount.stop() == 0


def test_weir_up_knows_by_the_file_itself_whether_it_has_a_history(mount: LoneMount) -> None:
    """What `.weirignore` says now may be another thing than what it said when the file was made."""
    ignored, recorded = mount.tree / "2-hello.txt", mount.tree / "hello.txt"
    (mount.tree / ".weirignore").write_text("2-hello.txt\n")
    for path in (ignored, recorded):
        path.write_text("x")
    (mount.tree / ".weirignore").write_text("hello.txt\n")
    assert (is_ephemeral(ignored), is_ephemeral(recorded)) == (True, False)


def test_a_time_that_a_directory_was_given_is_no_change_time_after_a_restart(mount: LoneMount) -> None:
    folder = mount.tree / "c"
    (folder / "node_modules").mkdir(parents=True)
    os.utime(folder, (2_000_000_000, 2_000_000_000))
    before = folder.stat()
    restarted(mount)
    after = (mount.tree / "c").stat()
    assert after.st_mtime == before.st_mtime == 2_000_000_000
    assert abs(after.st_ctime - before.st_ctime) < 1
