"""Everyday commands of an agent in a project: a pack that stops for them is a pack that is switched off."""

from collections import Counter
from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = (Path(__file__).parent / "everyday_commands.txt").read_text().splitlines()
APPROVED_SHARE_MIN = 0.95


@pytest.mark.parametrize("cwd", ["/home/dev/project", "/srv/project"])
def test_nearly_every_everyday_command_is_approved_and_none_is_blocked(cwd: str) -> None:
    policy = load_policy([ROOT / "config" / "policies"])
    verdicts = Counter(
        policy.judge(
            ToolCall("Bash", {"command": line.replace("\\n", "\n") if "<<" in line else line}, "a", "", cwd)
        ).verdict
        for line in COMMANDS
    )
    assert len(COMMANDS) >= 300
    assert verdicts[Verdict.BLOCK] == 0
    assert verdicts[Verdict.APPROVE] >= APPROVED_SHARE_MIN * len(COMMANDS), verdicts
