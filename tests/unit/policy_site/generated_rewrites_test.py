"""What the grammar of rewrites makes of dangerous commands is never approved, and costs no more than it may."""

import os
import random
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy
from app.core.shell.embedded import LITERAL, literals_of
from app.core.shell.launch import run_words
from app.core.shell.reading import STEPS_MAX, Frame, Reading
from app.core.shell.scope import Scope
from app.core.shell.script import run_node, run_text
from app.core.shell.syntax import parse

sys.path.insert(0, str(Path(__file__).parent))

from rewrites import SEEDS, TEXTS, rewritten

ROOT = Path(__file__).resolve().parents[3]
CASES = 1500
CPU_MAX_MS = 20.0
BEYOND_MAX_MS = 1.0
ROUNDS = 9
WITHIN = {
    "many commands": "ls a\n" * 290,
    "many searches": "grep -rn 'a.*b' ./x ../y /etc/z;" * 190,
    "loops in loops": "for a in 1 2 3 4 5 6 7 8 9; do for b in 1 2 3 4 5 6 7; do cat $a/$b ../$a > /x/$b; done; done",
    "many paths": "cat " + "a/b/../c* " * 700,
    "many globs": "rm " + "*/.?* " * 900,
    "one long glob": "cp " + "?*?*?*?*/" * 600 + " b",
    "many substitutions": "echo " + "$(ls a) " * 240,
    "many braces": "echo {a,b}{a,b}{a,b}{a,b}{a,b} " * 40,
    "many pipes": "cat a|" * 290 + "wc",
    "many functions": "f(){ cat ../x /etc/y; }; " + "f;" * 300,
    "many wrappers": "nohup nice timeout 5 " * 7 + "cat ../a",
    "a long program": "awk '" + "{print $1} /x/ " * 500 + "'",
}
HARD = {
    "a script of backslashes": "sed '" + "\\/" * 3900 + "' x",
    "flags that never come": "sed '" + "s|" * 3900 + "' x",
    "subscripts that never end": "(( x[ " * 1300,
    "pipes of nothing": "| b " * 1900,
    "brackets where none belong": "rm " + "( a ) " * 1300,
    "heredocs that never end": "<<A " * 1900,
    "quotes of another language": 'python3 -c "' + "%q{" * 2600 + '"',
    "quotes whose end is beyond the bound": "python3 - <<'E'\nos.system('" + "\\'\"\\'\"" * 900 + "')\nE",
    "code in code": 'python3 -c "' + "os.system(r'''" * 12 + "rm ../x " * 300 + "''')" * 12 + '"',
    "a long document": "python3 <<'E'\n" + "[[a]]" * 60_000 + "\nE",
    "ends of what never began": ")$" * 4000,
    "short ends of what never began": ")$" * 60,
    "assignments that end": "a=)" * 170,
    "tests and subscripts": "[[ (( x[ " + "> ~" * 160,
    "short texts full of errors": "".join([f"sh -c '{number}{')$' * 55}';" for number in range(60)]),
    "longer texts full of errors": "".join([f"sh -c '{number}{')$' * 200}';" for number in range(19)]),
    "errors that end at once": "@(;" + "} < f(){ " * 900,
    "a pipe and nothing": "; test  | b  \t   | " * 400,
    "functions that are files": "f()>$x" * 800,
    "ends of blocks in a case": "(\ncase a in" + " } if" * 1600,
    "a long pipe of options": "-a|" * 2700,
    "redirections of nothing": "<" + "$[]2>&1" * 1100,
    "values that grow": "x=aaaaaaaaaaaaaaaa\n" + 'x="$x$x"\necho "$x"\n' * 12 + 'rm "$x" "$x" "$x"\n' * 60,
    "many words": "ssh " + "'s/a/b/' " * 880,
}
"""Each took 24 ms to for ever: the grammar, or an expression, looked ahead from every place."""
BEYOND = {
    "too long": "ls " * 3000,
    "far too long": "a;" * 500_000,
    "a null byte": "ls\0",
    "no text": "ls \udcff",
}


@cache
def pack() -> Policy:
    return load_policy([ROOT / "config" / "policies"])


def judged(command: str) -> Verdict:
    return pack().judge(ToolCall("Bash", {"command": command}, "a", "", "/home/dev/project")).verdict


def cpu_ms(command: str) -> float:
    """The least of several rounds: what a neighbour on the same core adds is not the judge's."""
    times = []
    for _ in range(ROUNDS):
        begun_ns = time.thread_time_ns()
        judged(command)
        times.append((time.thread_time_ns() - begun_ns) / 1e6)
    return min(times)


def test_no_seed_is_approved_as_it_stands() -> None:
    commands = [" ".join(seed) for seed in SEEDS] + list(TEXTS)
    assert [command for command in commands if judged(command) is Verdict.APPROVE] == []


def test_no_generated_rewrite_is_approved() -> None:
    approved = [case for case in range(CASES) if judged(rewritten(random.Random(case))) is Verdict.APPROVE]
    assert approved == [], rewritten(random.Random(approved[0]))


@pytest.mark.full
@pytest.mark.timeout(0)  # it lasts as long as it is told to
def test_no_generated_rewrite_is_approved_or_slow_however_long_one_tries() -> None:
    lasts_s = float(os.environ.get("WEIR_SAFETY_S", "1800"))
    start = case = random.SystemRandom().randrange(1 << 40)
    approved, slow, end_s = [], [], time.monotonic() + lasts_s
    while time.monotonic() < end_s:
        command = rewritten(random.Random(case))
        begun_ns = time.thread_time_ns()
        if judged(command) is Verdict.APPROVE:
            approved.append(case)
        if time.thread_time_ns() - begun_ns > CPU_MAX_MS * 1e6 and cpu_ms(command) > CPU_MAX_MS:
            slow.append(case)
        case += 1
    print(f"\n{case - start} rewrites from {start} in {lasts_s:.0f} s: {len(approved)} approved, {len(slow)} slow")
    assert approved == [], rewritten(random.Random(approved[0]))
    assert slow == [], rewritten(random.Random(slow[0]))


def test_literals_of_code_are_what_one_expression_finds() -> None:
    draw = random.Random(1)
    pieces = ["'", '"', "\\", "a", "r", "\n", "'''", '"""', "[[", "]]", "`", "%q{", "}", "q(", ")"]
    for _ in range(3000):
        code = "".join(draw.choices(pieces, k=draw.randrange(1, 40)))
        assert list(literals_of(code)) == [found[0] for found in LITERAL.finditer(code)], code


@pytest.mark.parametrize("name", HARD)
def test_what_looks_ahead_from_everywhere_ends(name: str) -> None:
    assert judged(HARD[name]) is not Verdict.APPROVE or name == "a long document"
    assert cpu_ms(HARD[name]) < 10 * CPU_MAX_MS, "the square of the length, or worse"


@pytest.mark.parametrize("name", WITHIN)
def test_reading_ends_with_its_budget_of_steps(name: str) -> None:
    reading = Reading(run_node, run_text, run_words)
    parsed = parse(WITHIN[name])
    if parsed.root is not None:
        run_node(reading, parsed.root, Frame(Scope("/home/dev/project", ""), parsed.source, parsed.bodies))
    assert len(reading.commands) <= STEPS_MAX
    assert reading.steps < 4 * STEPS_MAX, "what is counted after the budget is gone is not read"


@pytest.mark.full
@pytest.mark.parametrize("name", [*WITHIN, *HARD])
def test_no_text_within_the_bounds_takes_long(name: str) -> None:
    assert cpu_ms({**WITHIN, **HARD}[name]) < CPU_MAX_MS


@pytest.mark.full
@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_the_bounds_is_escalated_at_once(name: str) -> None:
    assert judged(BEYOND[name]) is Verdict.ESCALATE
    assert cpu_ms(BEYOND[name]) < BEYOND_MAX_MS
