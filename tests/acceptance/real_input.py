"""Real programs on a running stack's mount, counted from outside: python tests/acceptance/real_input.py [--sdist FILE]

usage: real_input.py [--name weir] [--sdist SOURCE.tar.gz] [--no-tests]

Clones this repository into current/NAME, then status, edit, commit, checkout, gc and fsck there, each under strace: the
changing system calls, counted by the table in docs/reference/events.md, are the events by kind, and the origin's
sequence has no gap. Then the unit tests run there; a source distribution is unpacked and compared with a native copy;
the whole is exported and compared. Prints a line a check; exit code 1 where one does not hold. Needs `make up`, strace
and git; the programs of nobody else may change the folder meanwhile.
"""

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from outside_count import run_counted

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"


def weir(*arguments: str) -> str:
    """Run the command; raises CalledProcessError."""
    done = subprocess.run([BIN / "weir", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def logged(name: str) -> list[dict[str, object]]:
    """Return the events below current/NAME once all that is sealed has been stored."""
    mount = Path(json.loads(weir("status", "--json"))["mounts"][0]["path"])
    while (at := json.loads((mount / "debug" / "position").read_text()))["acked"] < at["sequence"]:
        time.sleep(0.1)
    lines = weir("log", name, "--json", "--limit", "1000000").splitlines()
    return [json.loads(line) for line in lines]


def same(one: Path, other: Path) -> int:
    """Return how many entries of two trees differ in name, type, mode, content, link target or modification time."""
    differing = 0
    names = [{str(p.relative_to(place)): p for p in place.rglob("*")} for place in (one, other)]
    for name in names[0].keys() | names[1].keys():
        pair = [found.get(name) for found in names]
        differing += None in pair or not _alike(*(path for path in pair if path is not None))
    return differing


def _alike(one: Path, other: Path) -> bool:
    infos = [path.lstat() for path in (one, other)]
    if infos[0].st_mode != infos[1].st_mode:
        return False
    if one.is_symlink():
        return os.readlink(one) == os.readlink(other)
    if not one.is_file():
        return True
    return infos[0].st_mtime_ns == infos[1].st_mtime_ns and filecmp.cmp(one, other, shallow=False)


class Checks:
    """Prints each check; remembers whether all held."""

    def __init__(self) -> None:
        self.held = True

    def say(self, what: str, held: bool, figure: str) -> None:
        """Print one check."""
        self.held = self.held and held
        print(f"{'holds' if held else 'FAILS'}  {what}: {figure}", flush=True)


def with_git(checks: Checks, current: Path, name: str, scratch: Path) -> None:
    """Clone, use and check this repository in current/NAME."""
    place, made = current / name, Counter[str]()
    setting = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    readme = f"echo '# edited' >> {place}/README.md"
    steps: list[tuple[list[str], Path]] = [
        (["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(place)], current),
        (["git", "status", "--porcelain"], place),
        (["sh", "-c", readme], place),
        (["git", *setting, "commit", "-qam", "edited"], place),
        (["git", "checkout", "-q", "HEAD~5"], place),
        (["git", "checkout", "-q", "-"], place),
        (["git", "gc", "-q"], place),
        (["git", "fsck", "--strict"], place),
    ]
    for number, (argv, cwd) in enumerate(steps):
        made += run_counted(argv, cwd, place, scratch / f"trace{number}")
    asked = ["git", "--no-optional-locks", "status", "--porcelain"]
    clean = subprocess.run(asked, cwd=place, capture_output=True, text=True, check=True)
    checks.say("git status after clone, commit, checkout, gc, fsck", not clean.stdout, clean.stdout.strip() or "clean")
    seen = logged(name)
    kinds = Counter(str(event["kind"]) for event in seen)
    difference = {kind: (made[kind], kinds[kind]) for kind in made | kinds if made[kind] != kinds[kind]}
    figure = f"{made.total()} calls, {difference or dict(kinds)}"
    checks.say("calls counted outside = events by kind", not difference, figure)


def gapless(checks: Checks) -> None:
    """Each start of each origin has sequences 1..N, the log positions 1..N."""
    events = [json.loads(line) for line in weir("log", "--json", "--limit", "10000000").splitlines()]
    positions = sorted(event["position"] for event in events)
    checks.say("positions gapless", positions == list(range(1, len(positions) + 1)), f"1..{len(positions)}")
    starts: dict[tuple[str, int], list[int]] = {}
    for event in events:
        starts.setdefault((event["origin"], event["incarnation"]), []).append(event["origin_seq"])
    whole = all(sorted(sequences) == list(range(1, len(sequences) + 1)) for sequences in starts.values())
    checks.say("sequences gapless", whole, ", ".join(f"1..{len(sequences)}" for sequences in starts.values()))


def with_sdist(checks: Checks, mounted: Path, sdist: Path, native: Path) -> None:
    """Unpack a source tree on the mount and natively, and compare."""
    for place in (mounted, native):
        place.mkdir()
        subprocess.run(["tar", "xf", sdist, "-C", place], check=True)
    differing = subprocess.run(["diff", "-r", mounted, native], capture_output=True, check=False)
    count = sum(1 for path in native.rglob("*") if path.is_file())
    checks.say("diff -r of an unpacked sdist", differing.returncode == 0, f"{count} files")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="weir")
    parser.add_argument("--sdist", type=Path)
    parser.add_argument("--no-tests", action="store_true")
    wanted = parser.parse_args()
    current = Path(json.loads(weir("status", "--json"))["mounts"][0]["path"]) / "current"
    scratch = Path(tempfile.mkdtemp(prefix="real-input-"))
    checks = Checks()
    try:
        with_git(checks, current, wanted.name, scratch)
        if wanted.sdist:
            with_sdist(checks, current / f"{wanted.name}-sdist", wanted.sdist, scratch / f"{wanted.name}-sdist")
        out = scratch / "out"
        weir("export", str(out))
        for name in [wanted.name, *([f"{wanted.name}-sdist"] if wanted.sdist else [])]:
            differing = same(current / name, out / name)
            checks.say(f"export of {name}", not differing, f"{differing} entries differ")
        if not wanted.no_tests:
            chosen = ["-m", "not full and not thorough", "-p", "no:cacheprovider", "tests/unit"]
            argv = [str(BIN / "python"), "-m", "pytest", "-q", *chosen]
            done = subprocess.run(argv, cwd=current / wanted.name, capture_output=True, text=True, check=False)
            checks.say("unit tests on the mount", done.returncode == 0, done.stdout.strip().splitlines()[-1])
        gapless(checks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if checks.held else 1


if __name__ == "__main__":
    sys.exit(main())
