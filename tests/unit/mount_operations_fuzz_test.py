"""No exception but FUSEError leaves a handler, whatever the kernel asks in whatever order: any other ends the mount."""

# ruff: noqa: E501 - stories read better unbroken

import contextlib
import errno
import logging
import os
import stat
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import llfuse
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import JournalFull
from app.core.ids import LOCAL
from app.core.layers import LayeredTree
from app.core.policy import RuleFile, compile_policy
from app.core.policy.source import Tier
from fuse_mount.changes import Changes
from fuse_mount.content import Contents
from fuse_mount.gate import Gate
from fuse_mount.operations import HANDLERS, Operations
from fuse_mount.sections import CURRENT, DEBUG, STREAMS, Sections
from fuse_mount.state import MountOptions, MountState
from fuse_mount.who import Who

sys.path.insert(0, str(Path(__file__).parent / "feed_site"))
from memory_parking import MemoryParking  # noqa: E402

FUZZ_S = float(os.environ.get("WEIR_FUZZ_S", "600"))
SAYS_EVERY_S = 30.0


class Journal:
    """An OperationLog in memory that refuses every `full`-th append."""

    def __init__(self, full: int = 0) -> None:
        self.incarnation = 1
        self.next_sequence = 1
        self.segment = 0
        self.bytes_on_disk = 0
        self.parking = MemoryParking()
        self._full = full
        self._appends = 0

    def _append(self) -> None:
        self._appends += 1
        if self._full and self._appends % self._full == 0:
            raise JournalFull("full")

    def append_operation(self, request: Any) -> None:
        self._append()
        assert request.origin_seq == self.next_sequence
        self.next_sequence += 1

    def append_write(self, inode: int, offset: int, data: bytes, *_base: object) -> int:
        self._append()
        return 0

    def sync(self) -> None:
        return

    def close(self) -> None:
        return


class Callers:
    """Everybody is nobody."""

    def who(self, pid: int) -> Who:
        return Who("fuzz")


class Context:
    """What llfuse says of a caller."""

    uid, gid, pid, umask = 0, 0, 1, 0


class Fields:
    """Which attributes a setattr names."""

    def __init__(self, bits: int) -> None:
        names = ("atime", "mtime", "mode", "uid", "gid", "size")
        for at, name in enumerate(names):
            setattr(self, f"update_{name}", bool(bits >> at & 1))


class Ruled:
    """Rules that guard a name at any depth, and what lies in one directory."""

    policy = compile_policy(
        [
            RuleFile(
                "fuzz",
                Tier.USER,
                [{"id": "f", "touch": {"path": ["c", "a/b/**"]}, "on": ["write"], "decide": "block", "reason": "No."}],
                [1],
                b"",
            )
        ]
    )
    alert, guards, version, stands_in = "", policy.guards, policy.version, False

    def refresh(self) -> bool:
        return False


def operations(full: int, ephemeral: Path | None = None) -> tuple[Operations, Counter[str]]:
    counters: Counter[str] = Counter()
    tree, journal = LayeredTree(1, "fuzz"), Journal(full)
    contents = Contents(1 << 20, journal.parking)
    sections = Sections(Path("/nonexistent"))
    sections.debug[b"health"] = lambda: b"{}"
    state = MountState(
        options=MountOptions("fuzz"), tree=tree, changes=Changes(tree, journal, contents, counters), contents=contents,
        cold=None, callers=Callers(), sections=sections, counters=counters,
        gate=Gate(tree, counters, Ruled() if full % 2 else None), ephemeral=ephemeral,
    )  # type: ignore[arg-type]  # fmt: skip
    return Operations(state, Path("/")), counters


NAMES = st.sampled_from([b"a", b"b", b"c", b"current", b"debug", b"health", b"", b"n" * 255, b"n" * 256, b"\xff"])
INODES = st.one_of(
    st.sampled_from([0, 1, 2, CURRENT, DEBUG, STREAMS, (1 << 62) + (1 << 41), (1 << 64) - 1]),
    st.integers(1, 12).map(lambda n: (1 << 32) + n),
)
HANDLES = st.integers(0, 12)
OFFSETS = st.one_of(st.integers(0, 300_000), st.sampled_from([-1, 1 << 43, (1 << 63) - 1]))
DATA = st.sampled_from([b"", b"x", b"data" * 100, b"y" * 131_072])
MODES = st.sampled_from(
    [0, 0o644, 0o7777, stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o600, stat.S_IFSOCK, 0xFFFFFFFF]
)
FLAGS = st.sampled_from(
    [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_EXCL, -1]
)


@st.composite
def attributes(draw: st.DrawFn) -> llfuse.EntryAttributes:
    entry = llfuse.EntryAttributes()
    entry.st_size = draw(OFFSETS)
    entry.st_mode = draw(MODES)
    entry.st_mtime_ns = draw(st.sampled_from([0, -1, 10**18]))
    return entry


FIELDS = st.integers(0, 63).map(Fields)
CALLS = st.one_of(
    st.tuples(st.just("lookup"), INODES, NAMES),
    st.tuples(st.just("getattr"), INODES),
    st.tuples(st.just("setattr"), INODES, attributes(), FIELDS, st.one_of(st.none(), HANDLES)),
    st.tuples(st.just("readlink"), INODES),
    st.tuples(st.just("mknod"), INODES, NAMES, MODES, st.sampled_from([0, 259])),
    st.tuples(st.just("mkdir"), INODES, NAMES, MODES),
    st.tuples(st.just("unlink"), INODES, NAMES),
    st.tuples(st.just("rmdir"), INODES, NAMES),
    st.tuples(st.just("symlink"), INODES, NAMES, st.sampled_from([b"t", b"t" * 5000])),
    st.tuples(st.just("rename"), INODES, NAMES, INODES, NAMES),
    st.tuples(st.just("link"), INODES, INODES, NAMES),
    st.tuples(st.just("open"), INODES, FLAGS),
    st.tuples(st.just("create"), INODES, NAMES, MODES, FLAGS),
    st.tuples(st.just("opendir"), INODES),
    st.tuples(st.just("statfs")),
    st.tuples(st.just("getxattr"), INODES, st.sampled_from([b"user.a", b"system.x", b""])),
    st.tuples(st.just("setxattr"), INODES, st.sampled_from([b"user.a", b"user." + b"n" * 300, b"system.x"]), st.sampled_from([b"", b"v", b"v" * 70_000])),
    st.tuples(st.just("listxattr"), INODES),
    st.tuples(st.just("removexattr"), INODES, st.sampled_from([b"user.a", b"x"])),
    st.tuples(st.just("access"), INODES, st.integers(0, 7)),
)  # fmt: skip
WITHOUT_CALLER = st.one_of(
    st.tuples(st.just("forget"), st.lists(st.tuples(INODES, st.integers(1, 3)), max_size=3)),
    st.tuples(st.just("read"), HANDLES, OFFSETS, st.sampled_from([0, 1, 131_072])),
    st.tuples(st.just("write"), HANDLES, OFFSETS, DATA),
    st.tuples(st.just("flush"), HANDLES),
    st.tuples(st.just("release"), HANDLES),
    st.tuples(st.just("readdir"), HANDLES, st.integers(0, 5)),
    st.tuples(st.just("releasedir"), HANDLES),
)  # fmt: skip
STEPS = st.one_of(CALLS.map(lambda call: (call, True)), WITHOUT_CALLER.map(lambda call: (call, False)))


WITHIN = st.lists(STEPS, min_size=5, max_size=60), st.sampled_from([0, 0, 3, 7])


@settings(suppress_health_check=list(HealthCheck))
@given(*WITHIN)
def test_nothing_but_fuse_error_leaves_a_handler(steps: list[Any], full: int) -> None:
    answer_all(steps, full)


def test_an_attribute_is_asked_for_without_a_caller_too_as_before_one_is_set_that_must_be_new(tmp_path: Path) -> None:
    for ephemeral in (None, tmp_path):
        mount, counters = operations(0, ephemeral)
        with pytest.raises(llfuse.FUSEError) as refused:
            mount.getxattr(CURRENT, b"user.a")
        assert (refused.value.errno, dict(counters)) == (llfuse.ENOATTR, {})


def answer_all(steps: list[Any], full: int) -> None:
    mount, counters = operations(full)
    for (name, *arguments), called in steps:
        context = [Context()] if called else []
        try:
            getattr(mount, name)(*arguments, *context)
        except llfuse.FUSEError as answer:
            assert 0 < answer.errno < 200
    surprises = {name for name in counters if " in " in name and not name.startswith(("JournalFull", "KeyError in "))}
    assert not surprises


@pytest.mark.full
@pytest.mark.timeout(0)
def test_nor_in_minutes(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    """As long as WEIR_FUZZ_S says: rounds of other examples each, every one of which must hold."""
    called = 0
    request.addfinalizer(lambda: logging.disable(logging.NOTSET))

    @settings(suppress_health_check=list(HealthCheck), max_examples=1000, database=None)
    @given(*WITHIN)
    def one_round(steps: list[Any], full: int) -> None:
        nonlocal called
        answer_all(steps, full)
        called += len(steps)

    logging.disable()  # pytest keeps each record, whose traceback keeps a whole mount
    begun, said = time.monotonic(), 0.0
    while (passed := time.monotonic() - begun) < FUZZ_S:
        one_round()
        if passed - said > SAYS_EVERY_S:
            said = passed
            with capsys.disabled():
                print(f"operations: {passed:.0f} of {FUZZ_S} s, {called} calls", flush=True)
    with capsys.disabled():
        print(f"operations: {called} calls in {time.monotonic() - begun:.0f} s, no exception but FUSEError")


EPHEMERAL = st.sampled_from([b"node_modules", b"a", b"b", b"", b"..", b"n" * 256, b"\xff"])


@pytest.mark.thorough
@settings(suppress_health_check=list(HealthCheck), max_examples=100)
@given(st.lists(STEPS, min_size=20, max_size=60), st.lists(EPHEMERAL, min_size=60, max_size=60), st.integers(0, 1))
def test_nor_one_of_an_ephemeral_path(steps: list[Any], names: list[bytes], full: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mount, counters = operations(full, Path(folder) / "ephemeral")
        mount.state.readers = contextlib.nullcontext()  # type: ignore[assignment]
        made = [mount.mkdir(CURRENT, b"node_modules", 0o755, Context()).st_ino]
        for ((name, *drawn), called), child in zip(steps, names, strict=False):
            arguments = [child if isinstance(one, bytes) and len(one) < 3 else one for one in drawn]
            if arguments and isinstance(arguments[0], int):
                arguments[0] = made[arguments[0] % len(made)] if called else LOCAL + arguments[0]
            if name in {"rename", "link"}:
                arguments[-2] = made[arguments[-2] % len(made)]
            try:
                found = getattr(mount, name)(*arguments, *([Context()] if called else []))
                if isinstance(found, llfuse.EntryAttributes) and found.st_ino >= LOCAL:
                    made.append(found.st_ino)
            except llfuse.FUSEError as answer:
                assert 0 < answer.errno < 200
        for handle in mount.local.handles.values():
            os.close(handle.descriptor) if handle.descriptor >= 0 else None
        surprises = {name for name in counters if " in " in name and not name.startswith("KeyError in ")}
        assert not surprises


def test_a_directory_is_no_name_in_itself(tmp_path: Path) -> None:
    """Its path would be looked for in a circle for ever, with all of the mount waiting."""
    mount, _ = operations(0, tmp_path / "ephemeral")
    mount.state.readers = contextlib.nullcontext()  # type: ignore[assignment]
    top = mount.mkdir(CURRENT, b"node_modules", 0o755, Context()).st_ino
    inner, other = (mount.mkdir(top, name, 0o755, Context()).st_ino for name in (b"a", b"b"))
    for call in (
        lambda: mount.lookup(inner, b"", Context()),
        lambda: mount.rename(top, b"a", other, b"", Context()),
        lambda: mount.mkdir(inner, b"", 0o755, Context()),
    ):
        with pytest.raises(llfuse.FUSEError) as refused:
            call()
        assert refused.value.errno == errno.EINVAL
    assert mount.getattr(inner, Context()).st_ino == inner


def test_every_handler_is_guarded() -> None:
    mount, _ = operations(0)
    assert {name for name in HANDLERS if not hasattr(getattr(mount, name), "__wrapped__")} == set()
