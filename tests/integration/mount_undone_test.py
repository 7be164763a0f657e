"""One real mount, courier, worker and store: who did it, what the store refuses is undone, a courier without Redis."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STRICT = """
rules:
  - id: sealed
    touch: {path: ["sealed/**"]}
    on: [write]
    decide: block
    reason: Only the store knows this rule.
"""
PLAIN = """
rules:
  - id: keys
    touch: {path: ["*.pem"]}
    on: [write]
    decide: block
    reason: Keys stay where they are.
"""


def until(true: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Ring:
    """A project whose store worker has one rule more than its mount."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.root, self.environ = folder / "m", environ
        self.tree = self.root / "current"
        self.log = (folder / "mount.log").open("wb")
        command = [sys.executable, "-m", "fuse_mount", str(self.root), "--mount", "main"]
        self.process = subprocess.Popen(command, env=environ, cwd=REPOSITORY, stdout=self.log, stderr=self.log)
        until(self.tree.is_dir, "it does not mount")  # its cover is a mount point too, and empty

    def said(self, name: str = "health") -> dict:
        return json.loads((self.root / "debug" / name).read_text())

    def settle(self) -> None:
        def settled() -> bool:
            said = self.said()
            return said["acked"] == said["sequence"] and not said["pending"]

        until(settled, "not all is stored")

    def weir(self, *words: str) -> str:
        command = [str(Path(sys.executable).parent / "weir"), *words]
        done = subprocess.run(command, env=self.environ, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout

    def logged(self, *words: str) -> list[dict]:
        return [json.loads(line) for line in self.weir("log", *words, "--json", "--limit", "200").splitlines()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(40)
        subprocess.run(["umount", "-l", str(self.root)], check=False, capture_output=True)
        self.log.close()


@pytest.fixture(scope="module")
def ring(server_folder: Path, redis_server, postgres_server, start_worker) -> Iterator[Ring]:
    folder = server_folder / "undone"
    plain, strict = folder / "plain", folder / "strict"
    for place, text in ((plain, PLAIN), (strict, STRICT)):
        place.mkdir(parents=True)
        (place / "r.yaml").write_text(text)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")} | {
        "WEIR_HOME": str(folder / "h"),
        "WEIR_MOUNT": str(folder / "m"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "WEIR_POLICIES": str(plain),
    }
    start_worker(environ | {"WEIR_POLICIES": str(strict)}, "files,record", "--pool", "solo", name="test-undone")
    found = Ring(folder, environ)
    yield found
    found.stop()


def test_what_only_the_store_refuses_is_undone_with_what_depended_on_it_and_told(ring: Ring) -> None:
    tree = ring.tree
    (tree / "free").write_text("stays")
    (tree / "sealed").mkdir()
    (tree / "sealed" / "in").mkdir()
    (tree / "sealed" / "in" / "deep").write_text("goes too")
    (tree / "free").rename(tree / "sealed" / "free")
    ring.settle()
    assert not (tree / "sealed").exists()
    assert (tree / "free").read_text() == "stays"
    assert sorted(os.listdir(tree)) == ["free"]
    assert ring.said("last-denial")["by"] == "store"
    assert "Only the store knows this rule." in ring.said("last-denial")["reason"]
    lost = ring.said()["lost"]
    assert {one["path"] for one in lost} >= {"sealed", "sealed/in", "sealed/in/deep", "sealed/free"}
    assert any("refused by the store" in problem for problem in ring.said()["problems"])
    refused = [one for one in ring.logged() if one["outcome"].startswith("rejected: block")]
    assert {one["kind"] for one in refused} >= {"mkdir"}


def test_a_refusal_of_the_mount_is_in_the_decisions_log(ring: Ring) -> None:
    with pytest.raises(PermissionError):
        (ring.tree / "site.pem").touch()
    decision = ring.said("last-denial")["decision"]
    until(lambda: any(one["id"] == decision for one in ring.logged("--decisions")), "it is not recorded")
    (found,) = [one for one in ring.logged("--decisions") if one["id"] == decision]
    assert (found["verdict"], found["rules"], found["layer"]) == ("block", ["keys"], "mount")


AGENT = """
import os, subprocess, sys
name, folder = sys.argv[1], sys.argv[2]
for number in range(20):
    open(f"{folder}/{name}-{number}", "w").write(name)
    subprocess.run(["sh", "-c", f"echo more >> {folder}/{name}-{number}; chmod 600 {folder}/{name}-{number}"], check=True)
"""


def test_two_agents_and_a_shell_at_once_are_told_apart_in_the_log(ring: Ring) -> None:
    """By their environment, that of an ancestor, or as nobody who is named; a process that cleaned its own is its parent's."""
    folder = ring.tree / "who"
    folder.mkdir()
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}

    def start(name: str, **claims: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", AGENT, name, str(folder)], env=bare | claims)

    running = [
        start("one", WEIR_AGENT="claude", WEIR_SESSION="s1", WEIR_TOOL_CALL="t1"),
        start("two", WEIR_AGENT="codex", WEIR_SESSION="s2", WEIR_TOOL_CALL="t2"),
        start("shell"),
        subprocess.Popen(
            ["sh", "-c", f"env -i /bin/sh -c 'echo x > {folder}/cleaned-0'; true"],
            env=bare | {"WEIR_AGENT": "claude", "WEIR_SESSION": "s9"},
        ),
    ]
    assert [one.wait() for one in running] == [0, 0, 0, 0]
    ring.settle()
    wanted = {
        "one": ("claude", "s1", "t1"),
        "two": ("codex", "s2", "t2"),
        "shell": ("fuse_user", "", ""),
        "cleaned": ("claude", "s9", ""),
    }
    events = [one for one in ring.logged("who") if "-" in one["path"]]
    assert len(events) > 180
    for one in events:
        maker = Path(one["path"]).name.rpartition("-")[0]
        assert (one["agent"], one["session"], one["tool_call"]) == wanted[maker], one


def test_what_is_stored_is_a_line_in_streams_as_the_log_has_it(ring: Ring) -> None:
    (ring.tree / "streamed").write_text("x")
    ring.settle()
    newest = ring.logged("streamed")[0]
    events = ring.root / "streams" / "events"
    grep = ["grep", "-F", f'"position": {newest["position"]},', str(events)]
    until(lambda: subprocess.run(grep, capture_output=True, check=False).stdout, "the line does not come")
    assert json.loads(subprocess.run(grep, capture_output=True, check=True).stdout) == newest
    positions = [json.loads(line)["position"] for line in events.read_text().splitlines()]
    assert positions == list(range(1, len(positions) + 1))
    assert "fuse_user" in os.listdir(ring.root / "streams" / "agents")


def test_a_courier_that_cannot_reach_redis_says_so_and_loses_nothing(ring: Ring, redis_server) -> None:
    pid = redis_server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        (ring.tree / "kept").write_text("kept")
        until(lambda: any(one.startswith("courier: ") for one in ring.said()["problems"]), "debug/health says nothing")
        until(lambda: "the courier of mount main cannot ship" in ring.weir("status", "--json"), "weir status says nothing", 60)
        assert ring.said()["acked"] < ring.said()["sequence"]
    finally:
        os.kill(pid, signal.SIGCONT)
    ring.settle()
    assert [one["kind"] for one in ring.logged("kept")] == ["write", "create"]
    until(lambda: not any(one.startswith("courier: ") for one in ring.said()["problems"]), "it goes on complaining")
