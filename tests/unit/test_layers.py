"""Each contract of the picture bites: a planted import against it is refused by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

VIOLATIONS = [
    ("The picture", "app/core/ids.py", "import app.ports"),
    ("The picture", "config/settings.py", "import app.core.ids"),
    ("The picture", "app/services/planted.py", '"""."""\nimport app.adapters'),
    ("The picture", "workers/planted.py", '"""."""\nimport fuse_mount'),
    ("Every module of app has a layer", "app/planted.py", '"""."""'),
    ("Only bootstrap names an adapter", "app/entry/planted.py", '"""."""\nimport app.adapters.planted'),
    ("Core does no I/O", "app/core/ids.py", "import socket"),
    ("Core does no I/O", "app/core/ids.py", "import time"),
    ("llfuse only in fuse_mount", "app/services/planted.py", '"""."""\nimport llfuse'),
    ("Celery and kombu only in workers and app.adapters", "app/services/planted.py", '"""."""\nimport kombu'),
    ("redis and psycopg only in app.adapters and bootstrap", "fuse_mount/planted.py", '"""."""\nimport psycopg'),
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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in ("app", "workers", "fuse_mount", "config"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_as_it_stands_keeps_every_contract(tree: Path) -> None:
    result = contracts(tree)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "path", "line"), VIOLATIONS)
def test_a_planted_violation_is_refused_by_its_contract(tree: Path, contract: str, path: str, line: str) -> None:
    (tree / "app/adapters/planted.py").write_text('"""A module for the violation to name."""\n')
    target = tree / path
    target.write_text((target.read_text() if target.exists() else "") + f"\n{line}\n")
    result = contracts(tree)
    assert result.returncode != 0
    assert (
        any(contract in row and "BROKEN" in row for row in result.stdout.splitlines())
        or contract in result.stdout.partition("Broken")[2]
    ), result.stdout
