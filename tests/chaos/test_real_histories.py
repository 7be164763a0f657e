"""Three real mounts of one project, kill -9 and cut-off servers at random: afterwards all show one tree, that of the log,
and what returned is there once.

WEIR_HISTORIES (default 25, or as in 5-9) says how many, or which; each kills mounts and couriers some four times.
"""

import hashlib
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from history import Breaker, Writer, health  # noqa: E402

from app import bootstrap
from app.core.memory_tree import MemoryTree
from app.core.operations import decode_request
from app.core.tree import apply

FIRST, _, LAST = os.environ.get("WEIR_HISTORIES", "25").rpartition("-")
HISTORIES = range(int(FIRST), int(LAST) + 1) if FIRST else range(int(LAST))
BREAKS, SETTLED_WITHIN_S = 7, 180.0


def tree_of(folder: Path) -> dict[str, tuple[int, int, int, int, str]]:
    """Return mode, size, mtime, links and a hash of content or target of everything below a folder, by path."""
    found = {}
    for place, folders, files in sorted(os.walk(folder)):
        for name in sorted(folders + files):
            path = Path(place) / name
            info = path.lstat()
            plain = path.is_file() and not path.is_symlink()
            body = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if plain else b""
            shown = (info.st_mode, info.st_size if plain else 0, info.st_mtime_ns, info.st_nlink)
            found[str(path.relative_to(folder))] = (*shown, hashlib.sha256(body).hexdigest()[:16])
    return found


def differing(trees: list[dict]) -> dict[str, list]:
    names = sorted(set().union(*trees))
    return {name: [tree.get(name) for tree in trees] for name in names if any(tree.get(name) != trees[0].get(name) for tree in trees)}


class Places:
    """A stack with three mounts; what each history needs of it."""

    def __init__(self, stack) -> None:
        self.stack = stack
        self.mounts = [stack.mount]
        for name in ("second", "third"):
            done = stack.weir("mount", str(stack.folder / name), "--agent", name)
            assert done.returncode == 0, done.stdout + done.stderr
            self.mounts.append(stack.folder / name)

    def settled(self) -> bool:
        said = [health(mount) for mount in self.mounts]
        log = self.stack.position()
        return all(one["sequence"] == one["acked"] and not one["pending"] and one["position"] == log for one in said)

    def wait(self, holds, seconds: float, what: str) -> float:
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            try:
                if holds():
                    return time.monotonic() - begun
            except (OSError, ValueError, KeyError, AssertionError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}; {[self.said(mount) for mount in self.mounts]}")

    def said(self, mount: Path) -> dict:
        try:
            return health(mount)
        except (OSError, ValueError) as error:
            return {"error": str(error)}


@pytest.fixture(scope="module")
def places(stack) -> Places:
    return Places(stack)


def folded(stack) -> tuple[MemoryTree, MemoryTree]:
    """Return the tree that the log's events make, by the code that the simulator runs, and the one that the store gives out."""
    made, given = MemoryTree(), MemoryTree()
    reader = bootstrap.file_event_reader(stack.settings)
    try:
        position = 0
        while events := reader.events_after(position):
            for event in events:
                if event.outcome.kind not in {"rejected", "shadowed"}:
                    apply(made, decode_request(event.request), event.incarnation, event.origin_name)
            position = events[-1].position
        snapshot = reader.load_tree()
        for inode, node in snapshot.nodes:
            given.put_node(inode, node)
        for parent, name, inode in snapshot.dentries:
            given.put_child(parent, name, inode)
    finally:
        reader.close()
    return made, given


def play(places: Places, seed: int) -> tuple[list[Writer], Counter[str]]:
    """Let three writers fight while parts are killed; return them and what was broken."""
    folder = f"h-{seed}"
    (places.mounts[0] / "current" / folder).mkdir()
    for name in ("first", "second", "third"):
        (places.mounts[0] / "current" / folder / f"only-{name}").mkdir()
    names = dict(zip(("first", "second", "third"), places.mounts, strict=True))
    places.wait(lambda: all((m / "current" / folder / "only-third").is_dir() for m in places.mounts), 60, "all see the folder")
    stop = threading.Event()
    writers = [Writer(mount, folder, name, stop) for name, mount in names.items()]
    for writer in writers:
        writer.start()
    breaker = Breaker(places.mounts, places.stack.pid("store"), places.stack.pid("redis"), seed)
    breaker.run(BREAKS)
    stop.set()
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive(), "a call on a mount does not return"
    return writers, breaker.done


@pytest.mark.full
@pytest.mark.timeout(0)
def test_three_mounts_show_one_tree_after_whatever_was_killed_or_cut_off(places: Places, witness, tmp_path: Path, capsys) -> None:
    stack, total, kept = places.stack, Counter(), 0
    made: list[str] = []
    for seed in HISTORIES:
        writers, broken = play(places, seed)
        took_s = places.wait(places.settled, SETTLED_WITHIN_S, f"history {seed}: all mounts have all that is in the store")
        shown = [tree_of(mount / "current" / f"h-{seed}") for mount in places.mounts]
        if wrong := differing(shown):
            time.sleep(2)
            later = differing([tree_of(mount / "current" / f"h-{seed}") for mount in places.mounts])
            log = [line for name in wrong for line in places.stack.weir("log", f"h-{seed}/{name}", "--limit", "8", "--json").stdout.splitlines()]
            raise AssertionError(f"history {seed}: the mounts show different trees: {wrong}, two seconds later {later}; {log}")
        kept += sum(writer.check(mount / "current" / f"h-{seed}") for writer in writers for mount in places.mounts)
        made += [f"h-{seed}/only-{writer.name}/{name}" for writer in writers for name in writer.made]
        total.update(broken)
        done = sum((writer.done for writer in writers), Counter())
        with capsys.disabled():
            print(f"\nhistory {seed}: {dict(broken)}, {dict(done)}; settled in {took_s:.1f} s, {len(shown[0])} names", end="", flush=True)
    check_log(stack, witness, made)
    out = tmp_path / "out"
    assert stack.weir("export", str(out)).returncode == 0
    for seed in HISTORIES:
        assert tree_of(out / f"h-{seed}") == tree_of(stack.current / f"h-{seed}"), f"history {seed}: the export is another tree"
    with capsys.disabled():
        killed = total["mount"] + total["courier"]
        print(f"\n{len(HISTORIES)} histories, {killed} kills -9 of mounts and couriers, {dict(total)}; {kept} files and lines: none lost, none doubled")


def check_log(stack, witness, made: list[str]) -> None:
    """Sequences without gaps, each call once, no inode twice; the store's tree is what the events make."""
    assert witness.gaps(stack.reader_url) == []
    rows = witness.rows(stack.reader_url, "SELECT kind, inode, path FROM file_events WHERE kind IN ('create', 'mkdir', 'symlink')")
    inodes = Counter(inode for _, inode, _ in rows)
    assert [inode for inode, count in inodes.items() if count > 1] == [], "an inode is used twice"
    paths = Counter(os.fsdecode(bytes(path)) for kind, _, path in rows if kind == "create")
    assert [(path, paths[path]) for path in made if paths[path] != 1] == [], "a call is in the log twice, or lost"
    by_events, given = folded(stack)
    assert by_events.nodes == given.nodes
    assert {p: held for p, held in by_events.children.items() if held} == {p: held for p, held in given.children.items() if held}
