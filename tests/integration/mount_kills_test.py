"""kill -9 of the mount, again and again, in the middle of what programs do: nothing that returned is lost or doubled,
no sequence and no inode is used twice, and what was interrupted can be done again.
"""

# ruff: noqa: E501 - stories read better unbroken

import base64
import csv
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mount(short_path: Path) -> Iterator[LoneMount]:
    one = LoneMount(short_path / "one")
    yield one
    one.stop()


class Worker:
    """Does mixed things to names of its own; `files` and `log` are what returned calls left, `doing` what had not."""

    def __init__(self, number: int, folder: Path) -> None:
        self.random = random.Random(number)
        self.folder = folder / f"w{number}"
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.log: list[bytes] = []
        self.doing: tuple[str, ...] = ()
        self.made = 0
        self.folder.mkdir()
        (self.folder / "log").touch()

    def run(self) -> None:
        try:
            while True:
                self.random.choice((self.create, self.create, self.append, self.append, self.rename, self.unlink, self.mkdir, self.overwrite, self.patch))()  # fmt: skip
                self.doing = ()
        except OSError:
            pass

    def fresh(self) -> str:
        self.made += 1
        return f"n{self.made}"

    def some(self) -> str | None:
        return self.random.choice(sorted(self.files)) if self.files else None

    def create(self) -> None:
        name, data = self.fresh(), self.random.randbytes(self.random.choice((0, 10, 500, 500, 4000, 4000, 4000, 150_000)))
        self.doing = (name,)
        with (self.folder / name).open("xb") as file:
            file.write(data)
        self.files[name] = data

    def overwrite(self) -> None:
        if name := self.some():
            self.doing = (name,)
            data = self.random.randbytes(3000)
            (self.folder / name).write_bytes(data)
            self.files[name] = data

    def patch(self) -> None:
        if name := self.some():
            self.doing = (name,)
            file = os.open(self.folder / name, os.O_RDWR)
            try:
                os.pwrite(file, b"patched", 3)
            finally:
                os.close(file)
            old = self.files[name].ljust(3, b"\0")
            self.files[name] = old[:3] + b"patched" + old[10:]

    def append(self) -> None:
        line = b"%d:%d\n" % (len(self.log), self.random.randrange(1000))
        self.doing = ("log",)
        with (self.folder / "log").open("ab", buffering=0) as file:
            file.write(line)
            self.log.append(line)  # the write has returned, whatever becomes of the close

    def rename(self) -> None:
        if name := self.some():
            new = self.fresh()
            self.doing = (name, new)
            (self.folder / name).rename(self.folder / new)
            self.files[new] = self.files.pop(name)

    def unlink(self) -> None:
        if name := self.some():
            self.doing = (name,)
            (self.folder / name).unlink()
            del self.files[name]

    def mkdir(self) -> None:
        name = self.fresh()
        self.doing = (name,)
        (self.folder / name).mkdir()
        self.folders.add(name)

    def check(self) -> int:
        """Compare what is there with what returned; take over what became of the call that had not."""
        found = {p.name: p for p in self.folder.iterdir()}
        wanted = {*self.files, *self.folders, "log"}
        assert {n for n in found if n not in self.doing} == {n for n in wanted if n not in self.doing}
        for name, data in self.files.items():
            assert name in self.doing or found[name].read_bytes() == data, name
        lines = found["log"].read_bytes().splitlines(keepends=True)
        assert lines[: len(self.log)] == self.log, "an appended line is lost or doubled"
        assert len(lines) <= len(self.log) + ("log" in self.doing)
        self.log = lines
        for name in self.doing:
            if name != "log":
                self.files.pop(name, None)
                self.folders.discard(name)
                if name in found:
                    found[name].rmdir() if found[name].is_dir() else found[name].unlink()
        self.doing = ()
        return len(self.files) + len(lines)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("kills", "seed"), [(2, 0), *(pytest.param(25, seed, marks=pytest.mark.full) for seed in (1, 2, 3, 4))]
)
def test_kill_9_amid_mixed_work_loses_and_doubles_nothing(mount: LoneMount, kills: int, seed: int) -> None:
    workers = [Worker(seed * 10 + number, mount.tree) for number in range(3)]
    pause = random.Random(seed)
    held = 0
    for _ in range(kills):
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        time.sleep(pause.uniform(0.02, 0.2))
        mount.kill()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        mount.start()
        held = sum(worker.check() for worker in workers)
    mount.settle()
    numbers = mount.ask("numbers")
    by_origin: dict[int, list[int]] = {}
    for incarnation, sequence, *_ in numbers:  # type: ignore[attr-defined]
        by_origin.setdefault(incarnation, []).append(sequence)
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in by_origin.values())
    made = Counter(inode for _, _, kind, inode, _ in numbers if kind in {"create", "mkdir"})  # type: ignore[attr-defined]
    named = Counter(path for _, _, kind, _, path in numbers if kind in {"create", "mkdir"})  # type: ignore[attr-defined]
    assert max(made.values()) == 1, "an inode is used twice"
    assert max(named.values()) == 1, "a call is in the journal twice"
    counters = mount.ask("figures")["counters"]  # type: ignore[index]
    assert not [name for name in counters if " in " in name or name.startswith("own operation")]
    print(f"{kills} kills, {len(by_origin)} incarnations, {len(numbers)} events, {held} files and lines: none lost, none doubled")  # type: ignore[arg-type]
    assert mount.stop() == 0


def interrupted(mount: LoneMount, command: list[str], after_s: float) -> int:
    """Run a command, kill the mount in its middle, mount again; return the command's exit code, never 0 where it was
    killed: git clone ends with 0 where it could not read HEAD, and has checked out nothing.
    """
    environ = {**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, "GIT_CONFIG_GLOBAL": "/dev/null"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        mount.kill()
        process.wait(30)
        mount.start()
        return process.returncode or 1
    return process.returncode


def test_rsync_killed_again_and_again_ends_with_an_identical_copy(mount: LoneMount, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(400):
        place = source / f"d{number % 20}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}").write_bytes(os.urandom(number * 40))
    target, rounds = mount.tree / "copy", 0
    while interrupted(mount, ["rsync", "-a", "--delete", f"{source}/", str(target)], 0.15 + rounds * 0.1):
        rounds += 1
        assert rounds < 40
    assert rounds
    assert subprocess.run(["diff", "-r", str(source), str(target)], check=False).returncode == 0
    again = ["rsync", "-a", "--checksum", "--dry-run", "--itemize-changes", f"{source}/", str(target)]
    assert subprocess.run(again, check=True, capture_output=True).stdout == b""


def test_git_clone_killed_in_its_middle_can_be_made_again(mount: LoneMount) -> None:
    code, after_s, rounds = 1, 0.1, 0
    while code:
        code = interrupted(mount, ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(mount.tree / f"c{rounds}")], after_s)
        after_s *= 1.6
        rounds += 1
        assert rounds < 20
    clone = mount.tree / f"c{rounds - 1}"
    assert rounds > 1
    subprocess.run(["git", "-C", str(clone), "fsck", "--strict"], check=True, capture_output=True)
    assert subprocess.run(["git", "-C", str(clone), "status", "--porcelain"], check=True, capture_output=True).stdout == b""
    subprocess.run(["rm", "-rf", *[str(mount.tree / f"c{n}") for n in range(rounds)]], check=True)
    assert os.listdir(mount.tree) == []


def digest_of(data: bytes) -> str:
    """As RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def wheel_of(folder: Path, modules: int) -> Path:
    held = {f"greeting/m{number}.py": f"NUMBER = {number}\n" + "# filled\n" * number for number in range(modules)}
    held["greeting/__init__.py"] = f"from . import m{modules - 1} as last\ndef main():\n    print(last.NUMBER)\n"
    about = "greeting-1.0.dist-info"
    held[f"{about}/METADATA"] = "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
    held[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    held[f"{about}/entry_points.txt"] = "[console_scripts]\ngreet = greeting:main\n"
    held[f"{about}/RECORD"] = "".join(f"{name},{digest_of(text.encode())},{len(text)}\n" for name, text in held.items())
    wheel = folder / "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in held.items():
            file.writestr(name, text)
    return wheel


def test_pip_install_killed_in_its_middle_can_be_made_again(mount: LoneMount, tmp_path: Path) -> None:
    place = mount.tree / "v"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin/python")]
    install = [*pip, "install", "-q", "--no-index", "--ignore-installed", str(wheel_of(tmp_path, 400))]
    for present in (1, 130, 260):
        process = subprocess.Popen(install, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(site.glob("greeting/m*.py"))) < present:
            time.sleep(0.005)
        mount.kill()
        assert process.wait(30) != 0, "pip was done before the mount was killed"
        mount.start()
    subprocess.run(install, check=True, capture_output=True)
    assert subprocess.run([str(place / "bin/greet")], check=True, capture_output=True).stdout == b"399\n"
    with (site / "greeting-1.0.dist-info/RECORD").open() as record:
        named = [(site / path, digest) for path, digest, _ in csv.reader(record) if digest]
    assert len(named) > 400
    for path, digest in named:
        assert digest_of(path.read_bytes()) == digest, path
