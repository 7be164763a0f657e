"""The house keeps its shape: sizes, names, wide excepts, and nothing that points outside the repository."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("app", "workers", "fuse_mount", "config")
WIDE_EXCEPT_ROOMS = {
    "a request must be answered": {
        "app/entry/gateway",
        "app/services/validation.py",
        "app/services/worker_validation.py",
    },
    "a kernel request must be answered": {"fuse_mount"},
    "the supervisor": {"app/entry", "app/adapters/supervision.py"},
}
WIDE_EXCEPTS_AT_MOST = 3


def tracked(*suffixes: str) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return [ROOT / name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in CODE]


def test_no_source_file_grows_past_four_hundred_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_nothing_but_sources_words_and_pictures_is_kept() -> None:
    kinds = {".py", ".pyi", ".c", ".sh", ".sql", ".md", ".json", ".yaml", ".toml", ".txt", ".lock", ".png", ".svg", ""}
    assert [path for path in tracked("") if path.suffix not in kinds] == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(p.relative_to(ROOT)) for p in sources() if not (ast.get_docstring(ast.parse(p.read_text())) or "").strip()
    ]
    assert not silent


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = re.compile(r"(^|_)(managers?|handlers?|utils?|helpers?|common|misc|v2|optimized|secure|new)($|_)")
    assert not [str(p.relative_to(ROOT)) for p in sources() if empty.search(p.stem)]


def test_wide_excepts_stand_in_at_most_three_files() -> None:
    wide = {
        str(path.relative_to(ROOT))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    }
    assert len(wide) <= WIDE_EXCEPTS_AT_MOST, wide
    rooms = tuple(room for places in WIDE_EXCEPT_ROOMS.values() for room in places)
    assert all(name.startswith(rooms) for name in wide), wide


def test_no_file_names_a_place_outside_the_repository_or_a_registry() -> None:
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "deb.debian" + ".org", "registry.npmjs" + ".org"]
    places = ["/work" + "/", "../" + "shared", "../" + ".library"]
    bad = re.compile("|".join(re.escape(text) for text in hosts + places))
    texts = tracked(
        ".py", ".md", ".toml", ".sh", ".yaml", ".yml", ".lock", ".txt", ".json", "Makefile", "Procfile", "run", ".sql"
    )
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in texts if (m := bad.search(p.read_text(errors="replace")))]
    assert not found


def test_every_procfile_line_execs_so_that_signals_reach_the_process() -> None:
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert not [line for line in lines if not re.match(r"^[a-z]+: exec ", line)]


def test_tests_never_patch_our_own_names() -> None:
    patched = re.compile(r"patch(\.object)?\(\s*[\"']?(app|workers|fuse_mount|config)\b")
    assert not [str(p) for p in tracked(".py") if p.is_relative_to(ROOT / "tests") and patched.search(p.read_text())]


def test_no_test_skips_for_a_missing_service() -> None:
    skipped = re.compile(
        r"pytest\.(skip|importorskip|mark\.skip|mark\.xfail)(?!if\(os\.geteuid\(\))"
    )  # who runs it may matter
    tests = [p for p in tracked(".py") if p.is_relative_to(ROOT / "tests") and p != Path(__file__)]
    assert not [str(p) for p in tests if skipped.search(p.read_text())]


def test_every_switch_of_a_mechanism_fits_the_code_and_names_tests_that_exist() -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "tests/mechanisms/table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    switches = [switch for mechanism in table.MECHANISMS for switch in mechanism.switches]
    edits = [edit for switch in switches for edit in switch.edits]
    assert len(table.MECHANISMS) >= 15
    for edit in edits:
        assert sum(path.read_text().count(edit.original) for path in ROOT.glob(edit.file)) == 1, edit
    for test in {test for switch in switches for test in (*switch.red, *switch.green)}:
        place, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / place).read_text(), test


PLANTED = '''"""A planted fault."""

import asyncio


async def record() -> None:
    """Stand for background work."""


async def answer() -> None:
    """Forget it."""
    {lines}
'''


@pytest.mark.parametrize(
    ("lines", "tool"),
    [
        (
            ["record()", "asyncio.gather(record())"],
            # a cache for it alone: without one, the standard library is read anew each time
            ["mypy", "--strict", "--enable-error-code=unused-awaitable", f"--cache-dir={ROOT}/.mypy_cache/planted"],
        ),
        (
            ["asyncio.create_task(record())"],
            ["ruff", "check", "--isolated", "--select", "RUF006", "--output-format", "concise"],
        ),
    ],
)
def test_dropped_coroutines_and_tasks_are_refused(tmp_path: Path, lines: list[str], tool: list[str]) -> None:
    (tmp_path / "kept.py").write_text(PLANTED.format(lines="await record()"))
    (tmp_path / "dropped.py").write_text(PLANTED.format(lines="\n    ".join(lines)))
    command = [sys.executable, "-m", *tool, "kept.py", "dropped.py"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    named = re.findall(r"^(\w+)\.py:(\d+):.*(?:error:|RUF006)", found.stdout, re.MULTILINE)
    assert named == [("dropped", str(12 + n)) for n in range(len(lines))], found.stdout
