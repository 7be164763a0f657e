"""Rewrites of dangerous commands: no quoting, wrapper or encoding talks the policy into an approval."""

import base64
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
SEEDS = [
    ["rm", "-rf", "/"],
    ["rm", "-r", "-f", "/usr"],
    ["git", "push", "--force"],
    ["git", "reset", "--hard"],
    ["chmod", "-R", "000", "/etc"],
    ["dd", "if=/dev/zero", "of=/dev/sda"],
    ["cat", "/home/dev/.ssh/id_rsa"],
    ["mkfs.ext4", "/dev/sda1"],
    ["git", "clean", "-fdx"],
    ["kubectl", "delete", "ns", "prod"],
    ["terraform", "destroy"],
    ["npm", "publish"],
    ["docker", "system", "prune", "-af"],
]


@cache
def pack() -> Policy:
    return load_policy([ROOT / "config" / "policies"])


def split(word: str) -> str:
    return f"{word[:1]}''{word[1:]}" if word else "''"


def ansi(word: str) -> str:
    return "$'" + "".join(f"\\x{ord(char):02x}" for char in word) + "'"


def backslashed(word: str) -> str:
    return "".join(f"\\{char}" if char.isalpha() else shlex.quote(char) for char in word)


def by_variable(word: str) -> str:
    return f"${{UNSET_1:+x}}{shlex.quote(word)}"


def substituted(word: str) -> str:
    return f"$(printf %s {shlex.quote(word)})"


QUOTINGS: list[Callable[[str], str]] = [
    shlex.quote,
    split,
    ansi,
    backslashed,
    substituted,
    lambda w: f'"{w}"',
    lambda w: f"`echo {shlex.quote(w)}`",
]
WRAPPERS: list[Callable[[str], str]] = [
    lambda c: f"sh -c {shlex.quote(c)}",
    lambda c: f"bash -lc {shlex.quote(c)}",
    lambda c: f"eval {shlex.quote(c)}",
    lambda c: f"sudo {c}",
    lambda c: f"env A=1 {c}",
    lambda c: f"nohup timeout 5 {c}",
    lambda c: f"( {c} )",
    lambda c: f"{{ {c}; }}",
    lambda c: f"if true; then {c}; fi",
    lambda c: f"f() {{ {c}; }}; f",
    lambda c: f"echo {base64.b64encode(c.encode()).decode()} | base64 -d | sh",
    lambda c: f"bash <<< {shlex.quote(c)}",
    lambda c: f"ls && {c}",
    lambda c: f"true; {c} # note",
    lambda c: f"cat <(\n{c}\n)",
    lambda c: f"trap {shlex.quote(c)} EXIT",
    lambda c: f"for i in 1; do {c}; done",
    lambda c: f"python3 -c {shlex.quote(f'import os; os.system({c!r})')}",
    lambda c: f"bash <<'END_X'\n{c}\nEND_X",
    lambda c: f'X={shlex.quote(c)}; eval "$X"',
    lambda c: f"echo {shlex.quote(c[::-1])} | rev | bash",
    lambda c: f"! {c}",
    lambda c: f"alias zz={shlex.quote(c)}; zz",
    lambda c: f"script -q -c {shlex.quote(c)} /dev/null",
    lambda c: f"watch -n 1 {shlex.quote(c)}",
    lambda c: f"ssh localhost {shlex.quote(c)}",
    lambda c: f"echo x | while read y; do {c}; done",
    lambda c: f"echo {shlex.quote(c)} > run_me.sh; bash run_me.sh",
    lambda c: f"time {c}",
    lambda c: f"case a in a) {c};; esac",
    lambda c: f"echo $(( 1 + $({c}) ))",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SEEDS),
    st.lists(st.sampled_from(QUOTINGS), min_size=6, max_size=6),
    st.lists(st.sampled_from(WRAPPERS), max_size=3),
)
def test_no_rewrite_of_a_dangerous_command_is_approved(
    seed: list[str], quotings: list[Callable[[str], str]], wrappers: list[Callable[[str], str]]
) -> None:
    command = " ".join(quote(word) for quote, word in zip(quotings, seed, strict=False))
    for wrap in wrappers:
        command = wrap(command)
    assert (
        pack().judge(ToolCall("Bash", {"command": command}, "a", "", "/home/dev/project")).verdict
        is not Verdict.APPROVE
    ), command


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["Bash", "Write", "Read", "WebFetch", "X"]))
def test_judging_is_total(text: str, tool: str) -> None:
    given_input = {"command": text, "file_path": text, "url": text}
    assert pack().judge(ToolCall(tool, given_input, text[:5], "", text[:20])).verdict in set(Verdict)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab $'\"`(){}[]<>|&;\\\n=!*?~#-/", max_size=60))
def test_a_dangerous_command_after_any_line_of_noise_is_not_approved(noise: str) -> None:
    answer = pack().judge(ToolCall("Bash", {"command": f"rm -rf /\n{noise}"}, "a", "", "/home/dev/project"))
    assert answer.verdict is not Verdict.APPROVE
