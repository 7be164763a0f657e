"""Any text at all is answered, and noise around a dangerous command does not hide it."""

from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy

ROOT = Path(__file__).resolve().parents[3]


@cache
def pack() -> Policy:
    return load_policy([ROOT / "config" / "policies"])


@given(st.text(max_size=200), st.sampled_from(["Bash", "Write", "Read", "WebFetch", "X"]))
def test_judging_is_total(text: str, tool: str) -> None:
    given_input = {"command": text, "file_path": text, "url": text}
    assert pack().judge(ToolCall(tool, given_input, text[:5], "", text[:20])).verdict in set(Verdict)


@given(st.text(alphabet="ab $'\"`(){}[]<>|&;\\\n=!*?~#-/", max_size=60))
def test_a_dangerous_command_after_any_line_of_noise_is_not_approved(noise: str) -> None:
    answer = pack().judge(ToolCall("Bash", {"command": f"rm -rf /\n{noise}"}, "a", "", "/home/dev/project"))
    assert answer.verdict is not Verdict.APPROVE
