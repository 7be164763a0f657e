"""Each contract of the picture bites: a planted import against it is refused by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_LAYER = ""

VIOLATIONS = [
    ("The picture", "app/core/ids.py", "app.ports"),
    ("The picture", "config/settings.py", "app.core.ids"),
    ("The picture", "app/services/planted.py", "app.adapters"),
    ("The picture", "workers/planted.py", "fuse_mount"),
    ("Every module of app has a layer", "app/planted.py", NO_LAYER),
    ("Only bootstrap names an adapter", "app/entry/planted.py", "app.adapters.planted"),
    ("Core does no I/O", "app/core/ids.py", "socket"),
    ("Core does no I/O", "app/core/ids.py", "time"),
    ("llfuse only in fuse_mount", "app/services/planted.py", "llfuse"),
    ("Celery and kombu only in workers and app.adapters", "app/services/planted.py", "kombu"),
    ("redis and psycopg only in app.adapters and bootstrap", "fuse_mount/planted.py", "psycopg"),
]


def contracts(tree: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; sys.argv[1:] = ['--no-cache']; run()"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def copied(tree: Path) -> Path:
    for package in ("app", "workers", "fuse_mount", "config"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what is said of a tree with every violation in it: a run for each would take 7 s of `make check`."""
    tree = copied(tmp_path_factory.mktemp("planted"))
    (tree / "app/adapters/planted.py").write_text('"""A module for the violation to name."""\n')
    for _, path, module in VIOLATIONS:
        target = tree / path
        before = target.read_text() if target.exists() else '"""Planted."""\n'
        target.write_text(before + (f"\nimport {module}\n" if module else ""))
    result = contracts(tree)
    assert result.returncode != 0
    return result.stdout.partition("Broken contracts")[2]


def test_the_tree_as_it_stands_keeps_every_contract(tmp_path: Path) -> None:
    result = contracts(copied(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "path", "module"), VIOLATIONS)
def test_a_planted_violation_is_refused_by_its_contract(refused: str, contract: str, path: str, module: str) -> None:
    said = refused.partition(f"\n{contract}")[2]
    others = {f"\n{name}" for name, _, _ in VIOLATIONS} - {f"\n{contract}"}
    said = said[: min([said.index(name) for name in others if name in said], default=len(said))]
    importer = path.removesuffix(".py").replace("/", ".")
    assert (f"{importer} -> {module} (l." if module else f"- {importer}\n") in said, refused
