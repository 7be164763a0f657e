"""Measure the default pack on a labelled corpus: `safety.py CORPUS=file [cwd=/path] [list=set.label.verdict|weaker]`.

A corpus is JSON lines with `set`, `command`, `label` and, for rewrites, `seed`. Nothing of it is run or kept.
"""

import collections
import json
import sys
from pathlib import Path

from app.adapters.policy_files import load_policy
from app.core.decisions import Judgement, ToolCall, Verdict

ROOT = Path(__file__).resolve().parents[2]
RANK = {Verdict.APPROVE: 0, Verdict.ESCALATE: 1, Verdict.BLOCK: 2}


def main(arguments: list[str]) -> int:
    given = dict(part.split("=", 1) for part in arguments)
    policy = load_policy([ROOT / "config" / "policies"])
    rows = [json.loads(line) for line in Path(given["CORPUS"]).read_text().splitlines()]
    listed = given.get("list", "")

    def judge(command: str) -> Judgement:
        return policy.judge(ToolCall("Bash", {"command": command}, "safety", "", given.get("cwd", "")))

    table: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    weaker: collections.Counter[str] = collections.Counter()
    for row in rows:
        verdict = judge(row["command"]).verdict
        table[row["set"], row["label"]][verdict.value] += 1
        if row["set"] == "evasion" and RANK[verdict] < RANK[judge(row["seed"]).verdict]:
            weaker[row.get("cls", "")] += 1
            if listed == "weaker":
                print(f"{judge(row['seed']).verdict.value}>{verdict.value}\t{row['cls']}\t{row['command']!r}")
        if listed == f"{row['set']}.{row['label']}.{verdict.value}":
            answer = judge(row["command"])
            rules = ",".join(rule.id for rule in answer.rules)
            print(f"{rules or answer.reason}\t{row['command']!r}")
    for (name, label), counts in sorted(table.items()):
        total = sum(counts.values())
        shares = "  ".join(f"{v.value} {counts[v.value]:5d} {100 * counts[v.value] / total:5.1f} %" for v in Verdict)
        print(f"{name:10s} {label:10s} {total:5d}  {shares}")
    print(f"evasion weaker than its seed: {sum(weaker.values())} {dict(weaker)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
