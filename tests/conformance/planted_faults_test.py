"""The table bites: a filesystem that is wrong in one way of fifty is told from the native one by at least one check."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TABLE, PASS_THROUGH = HERE / "posix_table.py", HERE / "pass_through.py"
sys.path.insert(0, str(HERE))
import planted_faults  # noqa: E402
import posix_table  # noqa: E402

KINDS = {"file", "linked", "full"}
FEW = ("rename-leaves-the-old-name", "holes-are-spaces", "a-long-folder-skips-an-entry")
NAMES = [check.name for check in posix_table.checks() if check.name not in posix_table.LEFT_OUT]
PARTS = {
    "first": [n for n in NAMES if n.startswith("scenario:") or (n.startswith("root:") and n.split(":")[-1] in KINDS)],
    "stories": [n for n in NAMES if n.startswith(("story:", "sticky:", "times:"))],
}
PARTS["rest"] = sorted(set(NAMES) - set(PARTS["first"]) - set(PARTS["stories"]))
Outcomes = dict[str, Any]


@contextmanager
def pass_through(*fault: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wp-", dir="/tmp") as name:
        folder = Path(name)
        for at in (folder, folder / "point", folder / "below"):
            at.mkdir(exist_ok=True)
            at.chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, str(PASS_THROUGH), str(folder / "point"), str(folder / "below"), *fault],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "mounted\n"
            yield folder / "point" / "table"
        finally:
            subprocess.run(["umount", "-l", str(folder / "point")], check=False)
            process.terminate()
            process.wait(10)
            process.stdout.close()


def run(folder: Path, names: list[str]) -> Outcomes:
    """Return the outcomes; nothing where the fault is such that the table cannot even prepare or look."""
    folder.mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, str(TABLE), str(folder), *names], capture_output=True, text=True, timeout=250, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}


def native(names: list[str]) -> Outcomes:
    with tempfile.TemporaryDirectory(prefix="wp-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        return run(Path(name) / "table", names)


@cache
def sound(part: str) -> Outcomes:
    """What both the native filesystem and the pass-through without a fault answer: only that can tell of a fault."""
    names = PARTS[part]
    with pass_through() as folder:
        right, ours = native(names), run(folder, names)
    odd = {name for name in names if right[name] != ours[name]}
    assert len(odd) < 10, odd
    return {name: right[name] for name in names if name not in odd}


def caught_by(fault: str) -> list[str]:
    for part, names in PARTS.items():
        with pass_through(fault) as folder:
            found = run(folder, names)
        caught = [name for name, right in sound(part).items() if found.get(name) != right]
        if caught:
            return caught
    return []


def test_there_are_fifty_faults() -> None:
    assert len(planted_faults.FAULTS) == 50


@pytest.mark.parametrize(
    "fault",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.full) for name in planted_faults.FAULTS],
)
def test_a_planted_fault_is_caught(fault: str) -> None:
    caught = caught_by(fault)
    print(f"CAUGHT {fault}: {len(caught)} checks, as {', '.join(caught[:4])}")
    assert caught
