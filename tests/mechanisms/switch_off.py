"""Switch off each named mechanism in a copy of the tree and see its tests go red: `make mechanisms`.

For each switch of table.py: copy the tree, run the named tests there (all green), put the replacements in, run them
again. The tests of `red` must fail in their own call, by an assertion or a time-out; those of `green` must still pass,
so that red means "the mechanism is off" and not "the product is broken". Whatever does not match the code exactly once
is an error: the table follows the code. Exit code 0 only where every mechanism that was looked at turned red.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parent))
from table import MECHANISMS, Edit, Mechanism, Switch  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
RUN_S = 420
TEST_S = 150
ENDING_S = 45
WHY_CHARACTERS = 100
MARK = "WEIR_MECHANISMS_RUN"
PACKAGES = ("app", "config", "fuse_mount", "workers")
# a test is red for the right reason where what it claims was not so, or did not come in time; pytest.raises and
# pytest-timeout say `Failed`
RIGHT_REASONS = re.compile(r"(AssertionError|assert\b|TimeoutError|Failed: (Timeout|DID NOT RAISE))")
IMPORTED = """
import importlib.util, os, subprocess, sys
names = {names!r}
print(*(importlib.util.find_spec(name).origin for name in names), sep="\\n")
if len(sys.argv) == 1:
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", sys.orig_argv[2], "child"], check=True, cwd="/")
"""


class Outcome(NamedTuple):
    """What became of one test: passed | failed | error | absent, and the first line of why."""

    kind: str
    why: str = ""


class Result(NamedTuple):
    """One test of one switch."""

    mechanism: str
    off: str
    test: str
    before: Outcome
    after: Outcome
    wanted: str
    took_s: float

    @property
    def holds(self) -> bool:
        right = RIGHT_REASONS.match(self.after.why) if self.wanted == "failed" else True
        return self.before.kind == "passed" and self.after.kind == self.wanted and bool(right)


class StaleTable(Exception):
    """A row of the table does not fit the code."""


def copy_tree(to: Path, commit: str) -> None:
    """Copy what git does not ignore, as it stands in the working tree or in a commit."""
    if commit:
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(to)], input=packed, check=True)
        return
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # else removed, and not yet by git
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def apply_edit(tree: Path, edit: Edit) -> None:
    """Replace the text that must stand exactly once in the files of the edit; refuse what does not compile then."""
    counts = {path: path.read_text().count(edit.original) for path in tree.glob(edit.file)}
    if sum(counts.values()) != 1:
        raise StaleTable(f"{edit.file}: found {sum(counts.values())} times, must be once:\n{edit.original}")
    path = max(counts, key=lambda candidate: counts[candidate])
    changed = path.read_text().replace(edit.original, edit.replacement)
    if path.suffix == ".py":
        compile(changed, edit.file, "exec")
    path.write_text(changed)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def environment(tree: Path, mark: str) -> dict[str, str]:
    """Return an environment in which every process imports the copy, whatever is installed."""
    foreign = {name for name in os.environ if name.startswith(("WEIR_", "PYTEST_", "CELERY_"))}
    foreign |= {"REDIS_URL", "DATABASE_URL", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {"PYTHONPATH": str(tree), "WEIR_REQUIRE_SERVICES": "1", MARK: mark}


def require_copy_wins(tree: Path) -> None:
    """Raise where a process, or a process that it starts elsewhere, would import another tree than the copy."""
    program = IMPORTED.format(names=PACKAGES)
    ran = subprocess.run(
        [PYTHON, "-c", program], cwd=tree, env=environment(tree, ""), check=True, capture_output=True, text=True
    )
    places = ran.stdout.split()
    strangers = [place for place in places if not place.startswith(f"{tree}/")]
    if len(places) != 2 * len(PACKAGES) or strangers:
        raise RuntimeError(f"tests would import another tree than the copy: {strangers or places}")


def run_tests(tree: Path, tests: Sequence[str]) -> dict[str, Outcome]:
    """Run tests in a copy; return what became of each."""
    mark = uuid.uuid4().hex
    report = tree / f"report-{mark}.xml"
    argv = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_S}"]
    argv += [f"--junitxml={report}", "--override-ini=junit_family=xunit1", *tests]
    with (tree / "pytest.log").open("ab") as log:
        process = subprocess.Popen(
            argv, cwd=tree, env=environment(tree, mark), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            code = process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            code = interrupt(process)
        except BaseException:
            interrupt(process)
            raise
        finally:
            end_leftovers(mark)
    if code not in {0, 1} or not report.exists():
        said = "\n".join((tree / "pytest.log").read_text().splitlines()[-15:])
        return dict.fromkeys(tests, Outcome("error", f"pytest ended with {code}: {said}"))
    cases = list(read_report(report))
    return {test: outcome_of(test, cases) for test in tests}


def interrupt(process: subprocess.Popen[bytes]) -> int:
    """End pytest so that its fixtures still stop what they started."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def end_leftovers(mark: str) -> None:
    """Kill what a run started and left: only processes that bear its mark in their environment."""
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)


def read_report(report: Path) -> Iterator[tuple[str, Outcome]]:
    """Yield (node id, outcome); a test that fails and whose tear-down errs comes twice."""
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('file')}::{case.get('name')}"
        kinds = [(kind, found) for kind in ("failure", "error", "skipped") if (found := case.find(kind)) is not None]
        for kind, found in kinds:
            why = (found.get("message") or "").strip()
            yield name, Outcome("failed" if kind == "failure" else "error", why.splitlines()[0] if why else kind)
        if not kinds:
            yield name, Outcome("passed")


def outcome_of(test: str, cases: Sequence[tuple[str, Outcome]]) -> Outcome:
    """Return the worst of a test's cases; a failure counts before an error of its tear-down."""
    mine = [outcome for name, outcome in cases if name == test or name.startswith(f"{test}[")]
    for kind in ("failed", "error", "passed"):
        for outcome in mine:
            if outcome.kind == kind:
                return outcome
    return Outcome("absent", "pytest did not run it")


@contextmanager
def copied(commit: str) -> Iterator[Path]:
    """A copy of the tree, gone afterwards."""
    # pytest and the sockets of some tests live below it
    folder = Path(tempfile.mkdtemp(prefix="wm-", dir="/tmp")).resolve()
    try:
        copy_tree(folder, commit)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def switch_off(mechanism: Mechanism, switch: Switch, commit: str) -> list[Result]:
    """Return what became of a switch's tests, before and after; raises StaleTable."""
    tests = [*switch.red, *switch.green]
    began = time.monotonic()
    with copied(commit) as tree:
        require_copy_wins(tree)
        before = run_tests(tree, tests)
        for edit in switch.edits:
            apply_edit(tree, edit)
        after = run_tests(tree, tests)
    took_s = time.monotonic() - began
    wanted = dict.fromkeys(switch.red, "failed") | dict.fromkeys(switch.green, "passed")
    return [Result(mechanism.name, switch.off, t, before[t], after[t], wanted[t], took_s) for t in tests]


def row_of(result: Result) -> str:
    """Return a row of the printed table."""
    name = result.test.rpartition("::")[2] + ("" if result.wanted == "failed" else " (control)")
    said = f"{_colour(result.after)}{': ' if result.after.why else ''}{result.after.why[:WHY_CHARACTERS]}"
    wrong = "" if result.holds else "  <-- WRONG"
    return f"{result.mechanism:<20} | {name:<90} | {_colour(result.before):<12} | {said}{wrong}"


def _colour(outcome: Outcome) -> str:
    return {"failed": "red", "passed": "green"}.get(outcome.kind, outcome.kind)


def main() -> int:
    """Look at all mechanisms, or those of --only; return the exit code."""
    parser = argparse.ArgumentParser(prog="switch_off.py", description=(__doc__ or "").partition("\n\n")[0])
    known = [mechanism.name for mechanism in MECHANISMS]
    parser.add_argument("--only", action="append", metavar="NAME", choices=known, help=f"one of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--commit", default="", help="look at this commit instead of the working tree")
    chosen = parser.parse_args()
    shown = sys.stderr if chosen.json else sys.stdout
    results: list[Result] = []
    stale: list[str] = []
    print(f"{'mechanism':<20} | {'test':<90} | green before | red after", file=shown, flush=True)
    for mechanism in MECHANISMS:
        for switch in mechanism.switches if not chosen.only or mechanism.name in chosen.only else ():
            try:
                found = switch_off(mechanism, switch, chosen.commit)
            except StaleTable as error:
                stale.append(f"{mechanism.name}: {error}")
                print(f"{mechanism.name:<20} | STALE ROW: {error}", file=shown, flush=True)
                continue
            results += found
            print(*map(row_of, found), sep="\n", file=shown, flush=True)
    looked = [mechanism for mechanism in MECHANISMS if not chosen.only or mechanism.name in chosen.only]
    survived = sorted({r.mechanism for r in results if not r.holds} | {text.partition(":")[0] for text in stale})
    if chosen.json:
        rows = [
            r._asdict() | {"before": r.before._asdict(), "after": r.after._asdict(), "holds": r.holds} for r in results
        ]
        losses = {mechanism.name: mechanism.loss for mechanism in looked}
        print(json.dumps({"results": rows, "stale": stale, "survived": survived, "losses": losses}, indent=1))
    else:
        print(*(f"{mechanism.name}: without it, {mechanism.loss}" for mechanism in looked), sep="\n")
        turned = len(looked) - len(survived)
        print(
            f"{turned} of {len(looked)} mechanisms turned their tests red"
            + (f"; not: {', '.join(survived)}" if survived else "")
        )
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
