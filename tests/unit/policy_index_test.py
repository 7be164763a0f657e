"""The index finds what trying every rule finds, however many rules there are and whatever they ask for."""

import random
import string
from functools import cache
from typing import Any

import pytest

from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy, RuleFile, compile_policy
from app.core.policy.calls import seen_of
from app.core.policy.glob import compiled, needles, path_expression
from app.core.policy.match import matches
from app.core.policy.source import Tier

CWD = "/home/dev/project"
PROGRAMS = ["git", "npm", "foo", "foo2", "fo*", "*o", "*"]
WORDS = ["push", "pull", "a", "ab", "abc", "left-pad-1", "left-pad-12", "x.pem", "src/a.py", "../b", "/etc/c", "./d/e"]
FLAGS = ["-f", "-x", "--force", "--force-it", "--for", "--fo", "--other", "--other=1"]
GLOBS = ["a*", "*c", "ab", "left-pad-1*", "left-pad-*2", "*.pem", "*", "a*c", "src/*"]
PATHS = ["src/**", "*.pem", "/etc/**", "a", "src/a.*", "**/e", "./d/e", "/home/dev/b", "**", "d/?"]
TEXTS = ["git push*", "git *", "foo:*", "foo a*c", "* push", "fo* a", "npm left-pad-1*", "npm * --force", "git", "*"]
HOSTS = ["a.b.c", "*.b.c", "*.c", "*", "b.c"]
AGENTS = ["a", "b", "a*", "*"]
TOOLS = ["mcp__x__*", "mcp__x", "mcp__y__z", "*", "Web*", "WebFetch"]


def some(draw: random.Random, values: list[str]) -> list[str]:
    return draw.sample(values, draw.choice([1, 1, 1, 2]))


def condition(draw: random.Random) -> dict[str, Any]:
    match draw.randrange(8):
        case 0:
            return {"match": [f"Bash({text})" for text in some(draw, TEXTS)]}
        case 1:
            return {"match": [f"{draw.choice(['Write', 'Read'])}({path})" for path in some(draw, PATHS)]}
        case 2:
            return {"match": [f"WebFetch({host})" for host in some(draw, HOSTS)]}
        case 3:
            return {"match": some(draw, TOOLS)}
        case 4:
            return {"touch": {"path": some(draw, PATHS)}}
        case 5:
            return {"match": [f"Bash({draw.choice(TEXTS)})", f"Write({draw.choice(PATHS)})", draw.choice(TOOLS)]}
        case _:
            return {"command": commanded(draw)}


def commanded(draw: random.Random) -> dict[str, Any]:
    asked: dict[str, Any] = {"program": some(draw, PROGRAMS)}
    for name, values in (("args", GLOBS), ("flags", FLAGS), ("subcommand", ["push", "pull a", "* ab", "a"])):
        if draw.random() < 0.4:
            asked[name] = some(draw, values)
    if draw.random() < 0.1:
        asked["all_flags"] = ["-f|--force"]
    return asked


def stated(draw: random.Random, index: int) -> dict[str, Any]:
    said = {"id": f"r{index}", "decide": draw.choice([v.value for v in Verdict]), "reason": "R.", **condition(draw)}
    if draw.random() < 0.3:
        said["when"] = {"agent": some(draw, AGENTS)}
    return said


def call(draw: random.Random) -> ToolCall:
    agent = draw.choice(["a", "b", "ab", "c"])
    match draw.randrange(6):
        case 0:
            return ToolCall(
                "WebFetch", {"url": f"https://{draw.choice(['a.b.c', 'b.c', 'x.c', 'c'])}/"}, agent, "", CWD
            )
        case 1:
            path = draw.choice(["src/a.py", "/etc/c", "d/e", f"{CWD}/src/x.pem", "/home/dev/b", "a/b"])
            return ToolCall(draw.choice(["Write", "Read"]), {"file_path": path}, agent, "", CWD)
        case 2:
            return ToolCall(draw.choice(["mcp__x__y", "mcp__y__z", "mcp__y__a"]), {}, agent, "", CWD)
        case _:
            words = [draw.choice(["git", "npm", "foo", "foo2", "cat", "rm", "$x"])]
            words += [draw.choice(WORDS + FLAGS + ["$x"]) for _ in range(draw.randrange(4))]
            return ToolCall("Bash", {"command": " ".join(words)}, agent, "", CWD)


def policy_of(rules: list[dict[str, Any]]) -> Policy:
    return compile_policy([RuleFile("r.yaml", Tier.USER, rules, list(range(len(rules))), b"")])


@pytest.mark.parametrize("seed", range(12))
def test_the_index_finds_what_trying_every_rule_finds(seed: int) -> None:
    draw = random.Random(seed)
    policy = policy_of([stated(draw, index) for index in range(draw.choice([5, 40, 150]))])
    for _ in range(60):
        asked = call(draw)
        tried = {rule.id for one in seen_of(asked)[0] for rule in policy.rules if matches(rule, one)}
        assert {rule.id for rule in policy.matching(asked)} == tried, asked


@pytest.mark.parametrize("seed", range(8))
def test_edits_one_after_the_other_leave_what_a_load_from_scratch_makes(seed: int) -> None:
    """A reload enters only what changed: a rule that stayed entered would judge though its owner took it out."""
    draw = random.Random(seed)
    files = [[stated(draw, 100 * number + index) for index in range(draw.choice([3, 30]))] for number in range(3)]
    policy: Policy | None = None
    kept: dict[int, RuleFile] = {}
    for turn in range(12):
        changed = draw.randrange(3)
        files[changed] = edited(draw, files[changed], 1000 * (turn + 1))
        kept[changed] = rule_file(changed, files[changed])
        given = [kept.setdefault(number, rule_file(number, files[number])) for number in range(3)]
        policy, anew = compile_policy(given, policy), compile_policy(given)
        assert policy.rules == anew.rules
        for _ in range(15):
            asked = call(draw)
            assert policy.matching(asked) == anew.matching(asked), asked
            assert policy.judge(asked) == anew.judge(asked), asked


def edited(draw: random.Random, rules: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    fresh = [stated(draw, first + index) for index in range(draw.randrange(8))]
    left = [rule for rule in rules if draw.random() < 0.7]
    at = draw.randrange(len(left) + 1)
    return left[:at] + fresh + left[at:]


def rule_file(number: int, rules: list[dict[str, Any]]) -> RuleFile:
    content = str(rules).encode()
    return RuleFile(f"{number}.yaml", [Tier.DEFAULT, Tier.USER, Tier.USER][number], rules, list(range(len(rules))), content)


def bash(command: str, agent: str = "a") -> ToolCall:
    return ToolCall("Bash", {"command": command}, agent, "", CWD)


@cache
def many() -> Policy:
    kinds: list[dict[str, Any]] = [
        {"command": {"program": "npm", "args": "left-pad-{}*"}},
        {"command": {"program": "npm", "flags": "--f{}"}},
        {"match": "Bash(* sub-{} --yes-{}*)"},
        {"match": "WebFetch(host{}.example.org)"},
        {"match": "mcp__server{}__*"},
        {"touch": {"path": "generated/{}/**"}},
        {"match": "Bash(tool *)", "when": {"agent": "agent-{}"}},
    ]
    return policy_of(
        [
            {"id": f"k{kind}-{index}", "decide": "block", "reason": "R.", **numbered(kinds[kind], index)}
            for kind in range(len(kinds))
            for index in range(300)
        ]
    )


def numbered(value: Any, index: int) -> Any:
    if isinstance(value, dict):
        return {key: numbered(inner, index) for key, inner in value.items()}
    return value.replace("{}", str(index))


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (bash("npm install left-pad-299.1"), "k0-299"),
        (bash("npm install --f77"), "k1-77"),
        (bash("x sub-5 --yes-5"), "k2-5"),
        (bash("tool go", "agent-200"), "k6-200"),
        (bash("tee generated/17/x"), "k5-17"),
        (ToolCall("WebFetch", {"url": "https://host42.example.org/"}, "a", "", CWD), "k3-42"),
        (ToolCall("mcp__server250__drop", {}, "a", "", CWD), "k4-250"),
    ],
)
def test_one_rule_among_many_that_ask_alike_is_found(asked: ToolCall, rule: str) -> None:
    assert rule in [one.id for one in many().matching(asked)]
    assert many().judge(asked).verdict is Verdict.BLOCK


@pytest.mark.parametrize("command", ["npm install x", "tool go", "x sub-5", "cat generated/x"])
def test_what_none_of_many_asks_for_meets_none_of_them(command: str) -> None:
    answer = many().judge(bash(command))
    assert (answer.verdict, answer.rules) == (Verdict.ESCALATE, ()), answer


def test_rules_whose_patterns_are_too_large_for_one_set_are_all_asked() -> None:
    """Sets of RE2 beyond their memory find nothing, and do not say so."""
    draw = random.Random(0)
    tails = ["".join(draw.choices(string.ascii_lowercase, k=3000)) for _ in range(40)]
    rules = [
        {"id": f"r{n}", "match": f"Bash(* {tail})", "decide": "block", "reason": "R."} for n, tail in enumerate(tails)
    ]
    policy = policy_of(rules)
    assert all(policy.judge(bash(f"x {tail}")).verdict is Verdict.BLOCK for tail in tails)


def test_the_beginning_of_a_long_flag_meets_a_rule_for_every_program() -> None:
    rule = {"id": "r", "command": {"program": "*", "flags": "--force-it"}, "decide": "block", "reason": "R."}
    assert policy_of([rule]).judge(bash("foo --force-i x")).verdict is Verdict.BLOCK


@pytest.mark.parametrize("pattern", ["**/x/**", "src/*.py", "./a/b/", "a", "*.pem", "/etc/**", "a?c", "**"])
def test_what_a_path_glob_matches_holds_its_needle(pattern: str) -> None:
    wanted, matcher = needles([pattern]), compiled((path_expression(pattern),))
    draw = random.Random(0)
    for _ in range(2000):
        path = "".join(draw.choices(["a", "b", "c", "x", "/", "src", ".py", ".pem", "/etc"], k=draw.randrange(1, 6)))
        assert not matcher.fullmatch(path) or not wanted or any(one in path for one in wanted), path
