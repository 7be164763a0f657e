"""The gateway's compiled code answers as its sources do: their own tests hold of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import compiled

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
UNIT = ROOT / "tests" / "unit"
TESTS = [UNIT / "gateway_site", *(UNIT / f"{name}_test.py" for name in ("gateway_parts", "decision_cache", "known_calls", "reads"))]


def environment(flags: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}", "WEIR_FLAGS": flags}


@pytest.mark.timeout(400)
def test_the_tests_of_the_sources_hold_of_compiled_code() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "compile_judging.py"], check=True, stdout=subprocess.DEVNULL)
    options = ["-q", "-p", "answers_compiled", "-p", "no:cacheprovider", "-m", "not full and not thorough"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, TESTS)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


def test_one_part_is_taken_without_the_other() -> None:
    code = """
from config import compiled
print(compiled.take(), compiled.take(part=compiled.ANSWERING))
import app.core.shell, app.services.validation
print(compiled.taken(), compiled.taken(compiled.ANSWERING))
"""
    subprocess.run([sys.executable, ROOT / "scripts" / "compile_judging.py"], check=True, stdout=subprocess.DEVNULL)
    for flags, found in (
        ("", "True True"),
        ("compiled_judging=off", "False True"),
        ("compiled_gateway=off", "True False"),
    ):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=environment(flags), capture_output=True, text=True, check=True)
        assert done.stdout == f"{found}\n{found}\n", (flags, compiled.BUILDS)


def test_what_the_cache_holds_is_no_work_for_the_collector() -> None:
    code = """
import gc
from config import compiled
assert compiled.take(part=compiled.ANSWERING)
from app.core.decisions import Judgement, Verdict, ruling
from app.services.decision_cache import AsyncLRUCache
cache = AsyncLRUCache()
assert cache.set_nowait(b"v1 ls", ruling(Judgement(Verdict.APPROVE, (), "", "", "v1")))
print([gc.is_tracked(entry) for entry in cache._entries.values()])
"""
    subprocess.run([sys.executable, ROOT / "scripts" / "compile_judging.py"], check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[False]\n"
