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


def policy_commands(stack, folder: Path) -> dict[str, str]:
    """Return what each command of `weir policy` prints; the user's rules are left as they were."""
    users = Path(stack.environ["WEIR_HOME"]) / "policies"
    users.mkdir(exist_ok=True)
    other, bad, labelled = folder / "other", folder / "bad.yaml", folder / "labelled.jsonl"
    other.mkdir()
    blocks = "rules:\n  - {id: shaped, match: Bash(rm *), decide: block, reason: Because., examples: {match: [rm x]}}\n"
    (users / "shaped.yaml").write_text(blocks)
    (other / "shaped.yaml").write_text(blocks.replace("block", "escalate") + blocks[7:].replace("shaped", "more"))
    bad.write_text(blocks.replace("block", "perhaps"))
    labelled.write_text('{"command": "rm -rf /", "verdict": "approve"}')
    (folder / "claude.json").write_text('{"permissions": {"deny": ["Bash(shaped:*)", "Task(a)"]}}')
    version = json.loads(stack.weir("policy", "show", "--json").stdout)["version"]
    words = {
        "policy check": (),
        "policy check (refused)": (str(bad),),
        "policy test": (str(labelled),),
        "policy show": (),
        "policy show ID": ("shaped",),
        "policy diff": (str(other),),
        "policy replay": ("--policy", str(other)),
        "policy import": ("claude", str(folder / "claude.json")),
    }
    deadline = time.monotonic() + 20
    while version not in json.loads(stack.weir("policy", "show", "--json").stdout)["kept"][0].values():
        assert time.monotonic() < deadline
    printed = {name: stack.weir(*name.split()[:2], *given, "--json").stdout for name, given in words.items()}
    printed["policy rollback"] = stack.weir("policy", "rollback", version, "--json").stdout
    (users / "shaped.yaml").unlink()
    return printed


@pytest.mark.timeout(180)
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
    printed |= policy_commands(stack, tmp_path)
    found = {command: shape(json.loads(text)) for command, text in printed.items()}
    if os.environ.get("WEIR_UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    kept = json.loads(SNAPSHOT.read_text())
    assert {name: found[name] for name in found if not fits(found[name], kept.get(name))} == {}
    assert found.keys() == kept.keys()
