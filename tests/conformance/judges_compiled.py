"""Lets a process of tests judge by compiled code (`pytest -p judges_compiled`); as a program it judges texts for another.

One JSON text a line in, the ruling in hexadecimal out: `python judges_compiled.py`.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from config import compiled  # noqa: E402

assert compiled.take(), "not built, or WEIR_FLAGS says compiled_judging=off"


def main() -> None:
    import msgspec

    from app.adapters.policy_files import load_policy
    from app.core.decisions import ToolCall, ruling

    policy = load_policy([ROOT / "config" / "policies"])
    assert compiled.taken()
    for line in sys.stdin:
        command, cwd, project = json.loads(line)
        judgement = policy.judge(ToolCall("Bash", {"command": command}, "a", "s", cwd, {"project": project}))
        print(msgspec.msgpack.encode(ruling(judgement)).hex(), flush=True)


if __name__ == "__main__":
    main()
