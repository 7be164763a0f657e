"""What programs rely on: each check gives on the mount what it gives on the machine's own filesystem."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).with_name("posix_table.py")
sys.path.insert(0, str(TABLE.parents[1] / "integration" / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

_spec = importlib.util.spec_from_file_location("posix_table", TABLE)
assert _spec is not None
assert _spec.loader is not None
table = importlib.util.module_from_spec(_spec)
sys.modules["posix_table"] = table
_spec.loader.exec_module(table)
NAMES = [check.name for check in table.checks() if check.name not in table.LEFT_OUT]


def run(folder: Path) -> dict[str, Any]:
    folder.mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, str(TABLE), str(folder)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("posix")
    folder.chmod(0o755)
    for above in folder.parents[:2]:
        os.chmod(above, 0o755)
    mount = LoneMount(folder / "mount")
    try:
        yield run(folder / "native"), run(mount.tree / "table")
        assert mount.process.poll() is None, "a request ended the mount"
    finally:
        mount.stop()


@pytest.mark.full
def test_an_ephemeral_path_answers_as_the_native_filesystem(tmp_path: Path, outcomes: Any) -> None:
    for above in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(above, 0o755)
    mount = LoneMount(tmp_path / "mount")
    try:
        (mount.tree / "node_modules").mkdir(mode=0o755)
        found = run(mount.tree / "node_modules" / "table")
        assert mount.ask("events") == 0
    finally:
        assert mount.stop() == 0
    assert {name: found[name] for name in NAMES} == {name: outcomes[0][name] for name in NAMES}


def test_the_table_is_large_and_every_check_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(set(NAMES)) > 4_400


@pytest.mark.parametrize("name", NAMES)
def test_the_mount_answers_as_the_native_filesystem(name: str, outcomes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    native, mounted = outcomes
    assert mounted[name] == native[name]
