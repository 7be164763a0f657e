"""Microseconds of CPU per judgement and per path check, at 100, 1,000 and 10,000 added rules."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from app.adapters.policy_files import rule_file
from app.core.decisions import ToolCall
from app.core.policy import Policy, RuleFile, compile_policy
from app.core.policy.source import Tier
from app.core.shell import canonical

ROOT = Path(__file__).resolve().parents[2]
CWD = "/home/dev/project"
ORDINARY = [
    "git status",
    "ls -la",
    "pytest -q tests/unit",
    "git commit -m 'fix: a thing'",
    "cat README.md",
    "npm run build",
    "grep -rn TODO src",
    "cd src && make test",
    "python manage.py test",
    "git diff --stat HEAD~1",
    "rm -rf build",
    "find . -name '*.py' | xargs wc -l",
    "for f in *.py; do echo $f; done",
    "echo hi > out.txt",
]


def pack(extra: int) -> Policy:
    files = [rule_file(path, Tier.DEFAULT) for path in sorted((ROOT / "config" / "policies").glob("*.yaml"))]
    rules = [
        {"id": f"x{i}", "match": f"Bash(tool{i % 97} sub{i} --force*)", "decide": "block", "reason": "x"}
        for i in range(extra)
    ]
    return compile_policy([*files, RuleFile("extra.yaml", Tier.DEFAULT, rules, list(range(extra)), b"")])


def cpu_us(step: Callable[[], object], rounds: int = 40) -> float:
    times = []
    for _ in range(7):
        begun = time.thread_time_ns()
        for _ in range(rounds):
            step()
        times.append((time.thread_time_ns() - begun) / rounds / 1000)
    return statistics.median(times)


def main() -> None:
    figures = []
    calls = [ToolCall("Bash", {"command": text}, "a", "s", CWD) for text in ORDINARY]
    shell = statistics.median([cpu_us(lambda t=text: canonical(t, CWD, CWD)) for text in ORDINARY])
    figures.append({"figure": "canonical form", "system": "weir", "median": shell, "unit": "us"})
    for extra in (0, 100, 1000, 10_000):
        begun = time.monotonic()
        policy = pack(extra)
        loaded_ms = (time.monotonic() - begun) * 1000
        each = sorted(cpu_us(lambda c=call: policy.judge(c)) for call in calls)
        figures.append(
            {
                "figure": f"judge at {len(policy.rules)} rules",
                "system": "weir",
                "median": statistics.median(each),
                "p99": each[-1],
                "unit": "us",
            }
        )
        figures.append(
            {"figure": f"load {len(policy.rules)} rules", "system": "weir", "median": loaded_ms, "unit": "ms"}
        )
        path = cpu_us(lambda: policy.guards.refusal("write", b"src/app/main.py"), 400)
        figures.append(
            {"figure": f"path guards at {len(policy.rules)} rules", "system": "weir", "median": path, "unit": "us"}
        )
    for figure in figures:
        print(
            json.dumps({name: round(value, 2) if isinstance(value, float) else value for name, value in figure.items()})
        )


if __name__ == "__main__":
    main()
