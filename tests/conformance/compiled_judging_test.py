"""Compiled code judges as the sources do: their own tests hold of it, and every answer is the same to the last byte."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, ruling
from app.core.policy import Policy
from config import compiled

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tests" / "unit" / "policy_site"))

from rewrites import rewritten  # noqa: E402

TESTS = [*(ROOT / "tests" / "unit").glob("policy_*_test.py"), *(ROOT / "tests" / "unit").glob("shell_*_test.py")]
PLACES = [("/home/dev/project", "/home/dev/project"), ("/srv/a/b", "/srv/a"), ("", ""), ("/tmp", "/"), ("/etc", "/etc")]
EVERYDAY = (ROOT / "tests/unit/policy_site/everyday_commands.txt").read_text().splitlines()
PIECES = """
rm -rf / ~ .. . .git .env src/a.py *.py {a,b} $x ${x:-y} "$@" $(ls) `pwd` 'a b' "c $d" \\ \\n $'\\x41' && || | ; & ( ) { }
! > >> < << <<< 2>&1 >&2 &> <(ls) >(cat) EOF # if then else fi for in do done while case esac function [ ]
[[ ]] (( )) git log push --force -c sh bash -c python3 -e eval xargs find -exec sudo env A=1 export cd /etc make
npm run curl http://a.b -o base64 -d printf sed s/a/b/w awk echo cat tee chmod 777 \0 \t é \ud83d %s
""".split(" ")
NESTS = {
    "brackets": ("(", ")"),
    "substitutions": ("$(", ")"),
    "quoted substitutions": ('"$(', ')"'),
    "braces": ("{ ", " ; }"),
    "alternatives": ("{a,", "}"),
    "defaults": ("${a:-", "}"),
    "arithmetic": ("$((", "))"),
    "processes": ("cat <(", ")"),
    "shells": ("sh -c '", "'"),
    "negations": ("! ", ""),
    "wrappers": ("sudo ", ""),
    "conditions": ("if ", "; then a; fi"),
    "lists": ("a && ", ""),
    "pipes": ("a | ", ""),
    "quotes": ('"', '"'),
    "backticks": ("`", "`"),
}


class Peer:
    """A process that judges by compiled code."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "judges_compiled.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def ruled(self, command: str, cwd: str, project: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, cwd, project]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"it died of {command[:200]!r}"
        return answer.strip()

    def close(self) -> None:
        with self._process:
            pass
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    subprocess.run([sys.executable, ROOT / "scripts" / "compile_judging.py"], check=True, stdout=subprocess.DEVNULL)
    peer = Peer()
    try:
        yield peer
    finally:
        peer.close()


@cache
def pack() -> Policy:
    return load_policy([ROOT / "config" / "policies"])


def by_sources(command: str, cwd: str, project: str) -> str:
    assert not compiled.taken()
    call = ToolCall("Bash", {"command": command}, "a", "s", cwd, {"project": project})
    return msgspec.msgpack.encode(ruling(pack().judge(call))).hex()


def same(peer: Peer, command: str, cwd: str = "/home/dev/project", project: str = "/home/dev/project") -> None:
    assert peer.ruled(command, cwd, project) == by_sources(command, cwd, project), command


@pytest.mark.timeout(300)
def test_the_tests_of_the_sources_hold_of_compiled_code(peer: Peer) -> None:
    options = ["-q", "-p", "judges_compiled", "-p", "no:cacheprovider", "-m", "not full and not thorough"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, TESTS), str(ROOT / "tests/unit/policy_site")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}"}


def test_an_edit_anywhere_in_core_means_the_sources_at_the_next_start(peer: Peer, tmp_path: Path) -> None:
    for package in ("app", "config"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    code = "from config import compiled; compiled.take(); import app.core.shell; print(compiled.taken())"

    def takes_it() -> str:
        command = [sys.executable, "-c", code]
        paths = {**environment(), "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=True).stdout

    assert takes_it() == "True\n"
    with (tmp_path / "app" / "core" / "ids.py").open("a") as file:
        file.write("# edited\n")
    assert takes_it() == "False\n"


def test_doctor_can_tell_who_judges_by_compiled_code(peer: Peer) -> None:
    same(peer, "ls")
    assert compiled.runs_in(peer.pid)


def test_everyday_commands_are_ruled_alike(peer: Peer) -> None:
    for command in EVERYDAY:
        for cwd, project in PLACES:
            same(peer, command, cwd, project)


def test_rewrites_of_dangerous_commands_are_ruled_alike(peer: Peer) -> None:
    for case in range(1500):
        same(peer, rewritten(random.Random(case)), *PLACES[case % len(PLACES)])


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(["", " ", " ", "\n"]), st.sampled_from(PLACES))
def test_what_is_put_together_of_pieces_is_ruled_alike(
    peer: Peer, pieces: list[str], between: str, place: tuple[str, str]
) -> None:
    same(peer, between.join(pieces), *place)


@settings(max_examples=1500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_ruled_alike(peer: Peer, text: str) -> None:
    same(peer, text)


@pytest.mark.parametrize("name", NESTS)
@pytest.mark.parametrize("depth", [3, 30, 120, 900, 2600])
def test_no_nest_ends_the_process(peer: Peer, name: str, depth: int) -> None:
    """Python stops what nests too deep with an error, which is a block; compiled code would run on into the stack."""
    opens, closes = NESTS[name]
    text = opens * depth + "ls" + closes * depth
    for command in (text[:8000], f"echo {text}"[:8000], f"bash -c {json.dumps(text)}"[:8000], text[: len(text) // 2]):
        ruled, wanted = peer.ruled(command, "/srv/p", "/srv/p"), by_sources(command, "/srv/p", "/srv/p")
        stopped = b"RecursionError" in bytes.fromhex(wanted)
        assert ruled == wanted or (stopped and ground(ruled)[0] != "approve"), command


def ground(ruled: str) -> list[Any]:
    found: list[Any] = msgspec.msgpack.decode(bytes.fromhex(ruled))[0]
    return found
