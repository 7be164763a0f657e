"""The command line's JSON keeps its shape: scripts read it. A change needs WEIR_UPDATE_SNAPSHOTS=1 and a line in the changelog."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

SNAPSHOT = Path(__file__).parent / "snapshots" / "cli.json"


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def fits(found: Any, kept: Any) -> bool:
    """Tell whether two shapes are the same; an empty list fits any list."""
    if isinstance(found, dict) and isinstance(kept, dict):
        return found.keys() == kept.keys() and all(fits(found[name], kept[name]) for name in found)
    if isinstance(found, list) and isinstance(kept, list):
        return not found or not kept or fits(found[0], kept[0])
    return bool(found == kept)


@pytest.mark.timeout(120)
def test_what_scripts_read_from_the_command_line_keeps_its_shape(stack, tmp_path: Path) -> None:
    (stack.current / "shaped.txt").write_text("shape")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("brought in")
    imported = stack.weir("import", str(tmp_path / "in"), "--into", "shaped", "--json").stdout
    validated = stack.weir("validate", "--json", "--", "rm", "-rf", "/").stdout
    deadline = time.monotonic() + 20
    while not (logged := stack.weir("log", "shaped.txt", "--json", "--limit", "1").stdout):
        assert time.monotonic() < deadline
    while not (decided := stack.weir("log", "--decisions", "--json", "--limit", "1").stdout):
        assert time.monotonic() < deadline
    printed = {
        "status": stack.weir("status", "--json").stdout,
        "doctor": stack.weir("doctor", "--json").stdout,
        "up": json.dumps(stack.shown),
        "import": imported.splitlines()[-1],
        "export": stack.weir("export", str(tmp_path / "out"), "--path", "shaped", "--json").stdout.splitlines()[-1],
        "validate": validated,
        "explain": stack.weir("explain", "--json", "--", "sudo rm -rf /").stdout,
        "log": logged.splitlines()[0],
        "log --decisions": decided.splitlines()[0],
    }
    found = {command: shape(json.loads(text)) for command, text in printed.items()}
    if os.environ.get("WEIR_UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    kept = json.loads(SNAPSHOT.read_text())
    assert {name: found[name] for name in found if not fits(found[name], kept.get(name))} == {}
    assert found.keys() == kept.keys()
