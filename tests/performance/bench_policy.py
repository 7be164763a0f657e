"""Judging and loading rules beside cedarpy: 100 to 100,000 rules added to the default ones.

usage: bench_policy.py [--most 100000]

Each call is timed alone (CPU us of the thread), 14 ordinary commands in 150 spellings each. The added rules are of four
kinds: programs of their own, more of git's sub-commands, arguments of npm, and agents. cedarpy judges the same number of
policies on the same program and text, given to it resolved: it parses no shell. `waits`: one thread judges without
end while another loads rules; the longest time between two answers, with the switch interval that gateway and workers have.
Where a stack runs (WEIR_HOME), calls are also judged beside it while 1,000 are in flight there and its mount is written:
wall us of each, in a process of its own.
Writes $WEIR_HOME/bench/policy/latest.json.
"""

import argparse
import gc
import math
import shutil
import statistics
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cedarpy
from busy_stack import busy, running
from report import environment, figure, ratios, write

from config import compiled

compiled.take()

from app.adapters.policy_files import Place, PolicyWatcher, rule_file, rule_text, uncollected  # noqa: E402
from app.core.decisions import ToolCall  # noqa: E402
from app.core.policy import Policy, RuleFile, compile_policy  # noqa: E402
from app.core.policy.source import Tier  # noqa: E402
from app.core.shell import canonical  # noqa: E402
from config.settings import load  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = tomllib.loads((ROOT / "config" / "budgets.toml").read_text())["policy"]
CWD = "/home/dev/project"
SPELLINGS = 150
LOADS = 3
BUSY_S = 10.0
JUDGING = "compiled code" if compiled.taken() else "the sources"
ORDINARY = [
    "git status src{n}",
    "ls -la dir{n}",
    "pytest -q tests/unit/test_{n}.py",
    "git commit -m 'fix: thing {n}'",
    "cat README{n}.md",
    "npm run build{n}",
    "grep -rn TODO{n} src",
    "cd src{n} && make test",
    "python manage.py test app{n}",
    "git diff --stat HEAD~{n}",
    "rm -rf build{n}",
    "find . -name '*{n}.py' | xargs wc -l",
    "for f in *{n}.py; do echo $f; done",
    "echo hi > out{n}.txt",
]


def stated(i: int) -> str:
    match i % 4:
        case 0:
            said = f"match: Bash(tool{i % 97} sub{i} --force*)"
        case 1:
            said = f"match: Bash(git sub{i} *)"
        case 2:
            said = f"command: {{program: npm, args: 'left-pad-{i}*'}}"
        case _:
            said = f"match: Bash(tool{i % 97} *), when: {{agent: agent-{i}}}"
    return f"  - {{id: x{i}, {said}, decide: block, reason: It is rule {i}.}}\n"


def added(count: int) -> bytes:
    return ("rules:\n" + "".join(map(stated, range(count)))).encode()


def loaded(text: bytes) -> tuple[Policy, float]:
    """Return the policy of the default rules and a file, and the CPU seconds of reading and compiling both, with the
    collector kept away as the watcher of the rule files keeps it.
    """
    begun = time.thread_time()
    with uncollected():
        files: list[RuleFile] = [
            rule_file(path, Tier.DEFAULT) for path in sorted((ROOT / "config" / "policies").glob("*.yaml"))
        ]
        policy = compile_policy([*files, rule_text("added.yaml", Tier.DEFAULT, text, "added.yaml")])
    return policy, time.thread_time() - begun


def each_us(judge: Callable[[Any], object], calls: list[Any]) -> list[float]:
    times = []
    clock = time.thread_time_ns
    for call in calls:
        begun = clock()
        judge(call)
        times.append((clock() - begun) / 1000)
    return sorted(times)


def spoken(name: str, system: str, times: list[float]) -> dict[str, Any]:
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    return figure(name, system, p50, p99, "us CPU a call", [p50])


def cedar(count: int) -> Callable[[str], object]:
    rules = [
        f'forbid(principal, action, resource) when {{ context.program == "tool{i % 97}" '
        f'&& context.text like "tool{i % 97} sub{i} --force*" }};'
        for i in range(count)
    ]
    rules.append("permit(principal, action, resource);")
    policies, entities = cedarpy.PolicySet.from_str("\n".join(rules)), cedarpy.Entities.from_json_str("[]")
    who = {"principal": 'Agent::"a"', "action": 'Action::"run"', "resource": 'Tool::"Bash"'}

    def judge(text: str) -> object:
        context = {"program": text.split(" ", 1)[0], "text": text}
        return cedarpy.is_authorized(who | {"context": context}, policies, entities)

    return judge


def judged() -> Iterator[dict[str, Any]]:
    texts = [text.format(n=n) for n in range(SPELLINGS) for text in ORDINARY]
    calls = [ToolCall("Bash", {"command": text}, "a", "s", CWD) for text in texts]
    yield spoken("canonical form alone", "weir", each_us(lambda text: canonical(text, CWD, CWD), texts))
    for count in (100, 1_000, 10_000):
        policy, _ = loaded(added(count))
        each_us(policy.judge, calls[: len(ORDINARY)])
        yield spoken(f"judge, {count} rules added", "weir", each_us(policy.judge, calls))
        yield spoken(f"judge, {count} rules added", "cedarpy", each_us(cedar(count), texts[: 2_000_000 // count // 4]))
        paths = each_us(lambda path, p=policy: p.guards.refusal("write", path), [b"src/app/%d.py" % n for n in range(500)])
        yield spoken(f"path of a write, {count} rules added", "weir", paths)


def loading(most: int) -> Iterator[dict[str, Any]]:
    counts = [n for n in (100, 1_000, 10_000, 100_000) if n <= most]
    turns = [{count: loaded(added(count))[1] for count in counts} for _ in range(LOADS)]
    before: tuple[int, float] | None = None
    for count in counts:
        took = [turn[count] for turn in turns]
        least = min(took)  # of CPU: what neighbours in the machine's caches add is not the loader's
        grown = None
        if before is not None:
            grown = round(least / before[1] / (count * math.log(count) / before[0] / math.log(before[0])), 2)
        runs = [one * 1000 for one in took]
        yield figure(f"load {count} rules added", "weir", least * 1000, None, "ms CPU, least", runs, to_n_log_n=grown)
        before = count, least


def waits(count: int) -> dict[str, Any]:
    sys.setswitchinterval(0.0005)
    folder = Path(tempfile.mkdtemp(prefix="bench-policy-"))
    watcher = PolicyWatcher([Place(ROOT / "config" / "policies"), Place(folder, Tier.USER)])
    call, longest, stop = ToolCall("Bash", {"command": "ls -la"}, "a", "s", CWD), [], False
    (folder / "added.yaml").write_bytes(added(count))

    def judging() -> None:
        last = time.monotonic()
        while not stop:
            watcher.judge(call)
            now = time.monotonic()
            longest.append(now - last)
            last = now
            time.sleep(0)  # as after a reply: another thread may run

    thread = threading.Thread(target=judging)
    thread.start()
    assert watcher.refresh(force=True), watcher.alert
    stop = True
    thread.join()
    shutil.rmtree(folder)
    gaps = sorted(gap * 1000 for gap in longest)
    p99 = gaps[int(len(gaps) * 0.99)]
    return figure(f"longest wait of a call while {count} rules load", "weir", gaps[-1], p99, "ms", gaps[-3:])


def beside() -> Iterator[dict[str, Any]]:
    """Yield how long judging takes beside a stack at work; nothing where none runs."""
    stack = running(load())
    if stack is None:
        return
    policy, _ = loaded(added(100))
    calls = [ToolCall("Bash", {"command": text.format(n=n)}, "a", "s", CWD) for n in range(SPELLINGS) for text in ORDINARY]
    times, clock = [], time.perf_counter
    with busy(*stack, BUSY_S) as had:
        until = clock() + BUSY_S
        while (begun := clock()) < until:
            policy.judge(calls[len(times) % len(calls)])
            times.append((clock() - begun) * 1e6)
            if not len(times) % 20:
                time.sleep(0.002)  # as a worker waits for its next batch
    p50, p99 = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    name = "judge, a busy stack beside"
    yield figure(name, "weir", p50, p99, "us wall a call", [p50], calls_a_second=round(had[0].per_second))


def missed(figures: list[dict[str, Any]]) -> Iterator[str]:
    by = {one["figure"]: one for one in figures if one["system"] == "weir"}
    few, many = by["judge, 100 rules added"], by["judge, 10000 rules added"]
    for one in (few, many):
        if one["median"] >= BUDGETS["judge_p50_us"] or one["p99"] >= BUDGETS["judge_p99_us"]:
            yield f"{one['figure']}: p50 {one['median']} us, p99 {one['p99']} us"
    if many["median"] > few["median"] * BUDGETS["judge_flat_ratio_max"]:
        yield f"judging is not flat: {many['median'] / few['median']:.2f}"
    for one in figures:
        if one["figure"].endswith("beside") and one["p99"] > BUDGETS["judge_beside_p99_us"]:
            yield f"{one['figure']}: p99 {one['p99']} us"
        if one.get("to_n_log_n") and one["to_n_log_n"] > 1:
            yield f"{one['figure']}: grew {one['to_n_log_n']} times n log n"
        if one["figure"].startswith("longest") and one["median"] > BUDGETS["reload_wait_ms_max"]:
            yield f"{one['figure']}: {one['median']} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=100_000)
    most = parser.parse_args().most
    begun = environment()
    gc.freeze()  # as gateway and workers do
    gc.set_threshold(50_000, 20, 100)
    figures = [*judged(), *loading(most), *[waits(count) for count in (100, 1_000, 10_000)], *beside()]
    ratios(figures)
    write("policy", begun | {"judging": JUDGING}, figures)
    print(f"judged by {JUDGING}")
    over = list(missed(figures))
    print("\n".join(over) or "every budget holds")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
