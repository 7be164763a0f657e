"""The whole Procfile under its supervisor, in a home and at a mount point of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from app.adapters.redis.key_types import fixed_keys
from config.celery import QUEUES, broker_prefix
from config.settings import load

WEIR = Path(sys.executable).parent / "weir"
pytestmark = pytest.mark.timeout(240)


def weir(stack, *arguments, expect=0):
    ran = subprocess.run([WEIR, *arguments], env=stack.environ, capture_output=True, text=True, check=False)
    assert expect is None or ran.returncode == expect, f"weir {arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def status(stack):
    return json.loads(weir(stack, "status", "--json", expect=None))


def until(true, timeout_s=30.0):
    give_up = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < give_up, f"{true} never was true"
        time.sleep(0.1)
    return found


def test_up_shows_an_approval_a_block_and_an_event_with_its_position(stack):
    shown = stack.shown["demonstration"]
    assert shown["approved"]["verdict"] == "approve"
    assert shown["blocked"]["verdict"] == "block"
    assert shown["blocked"]["rules"]
    assert shown["blocked"]["reason"]
    assert shown["event"]["position"] >= 1
    assert shown["event"]["task_id"]


def test_up_on_a_running_stack_changes_nothing_and_is_quick(stack):
    before = {p["name"]: p["pid"] for p in status(stack)["processes"]}
    began = time.monotonic()
    again = json.loads(weir(stack, "up", "--json"))
    assert not again["started"]
    assert time.monotonic() - began < 10  # the target is 2 s on a quiet machine
    assert {p["name"]: p["pid"] for p in status(stack)["processes"]} == before


def test_redis_holds_the_keys_whose_types_are_looked_after_and_no_other_of_a_fixed_name(stack):
    settings = load(stack.environ)
    with redis.Redis.from_url(settings.redis_url) as client:
        found = {key.decode(errors="replace"): client.type(key).decode() for key in client.keys("*")}
    kinds = fixed_keys(settings.key_prefix, broker_prefix(settings), QUEUES) | {key: "none" for key in found if made(key)}
    assert {key: kind for key, kind in found.items() if kinds.get(key) not in (kind, "none")} == {}
    assert {"set", "zset", "string"} <= {kind for key, kind in found.items() if not made(key)}


def made(key: str) -> bool:
    """Tell whether a key has a name that a process made, or that content has."""
    parts = key.split(":")
    return parts[2] in {"reply", "chunk", "decision"} or key.endswith(".reply.celery.pidbox")


def test_status_has_the_documented_shape(stack):
    until(lambda: status(stack)["ready"])
    found = status(stack)
    assert found["alerts"] == []  # all that our senders and beat send is let in
    assert {"ready", "version", "mounts", "processes", "flower", "gateway", "logs", "alerts", "problems"} <= set(found)
    assert found["logs"]["files"]["position"] >= 1
    assert found["flower"]["password"]
    assert found["mounts"][0]["origin"]


def test_doctor_is_content_with_a_running_stack(stack):
    found = json.loads(weir(stack, "doctor", "--json", expect=None))
    bad = [f for f in found["findings"] if not f["ok"] and f["name"] != "packages"]
    assert not bad


def test_a_killed_process_is_started_again(stack):
    victim = next(p for p in status(stack)["processes"] if p["name"] == "experts")
    os.kill(victim["pid"], signal.SIGKILL)

    def healed():
        now = next(p for p in status(stack)["processes"] if p["name"] == "experts")
        return now["state"] == "running" and now["pid"] != victim["pid"] and now["restarts"] >= 1

    until(healed)


def test_log_shows_a_write_and_follows(stack):
    current = Path(stack.environ["WEIR_MOUNT"]) / "current"
    follower = subprocess.Popen(
        [WEIR, "log", "--follow", "--json", "--limit", "1"], env=stack.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        follower.stdout.readline()
        (current / "followed.txt").write_text("x")
        while json.loads(follower.stdout.readline()).get("path") != "followed.txt":
            pass
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(10)
        follower.stdout.close()
    newest = [json.loads(line) for line in weir(stack, "log", "followed.txt", "--json").splitlines()]
    assert [e["position"] for e in newest] == sorted((e["position"] for e in newest), reverse=True)
    assert {"write", "create"} <= {e["kind"] for e in newest}


def test_a_log_of_nothing_says_so_beside_its_output_and_a_taken_mount_point_names_what_helps(stack):
    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([WEIR, *words], env=stack.environ, capture_output=True, text=True, check=False)

    nothing = ran("log", "never/was", "--json")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no event is recorded at never/was" in nothing.stderr
    taken = ran("mount", stack.environ["WEIR_MOUNT"])
    assert taken.returncode == 1
    assert "name another folder" in taken.stderr
    assert "umount" not in ran("mount", "/").stderr


@pytest.mark.parametrize(
    "arguments", [("log", "--since", "yesterdayish"), ("umount", "/nowhere"), ("mount", "/etc"), ("logs", "nobody")]
)
def test_bad_input_is_an_error_that_changes_nothing(stack, arguments):
    before = status(stack)["mounts"]
    weir(stack, *arguments, expect=1)
    assert [m["path"] for m in status(stack)["mounts"]] == [m["path"] for m in before]


def test_an_agent_may_not_stop_the_stack(stack):
    ran = subprocess.run(
        [WEIR, "down"], env=stack.environ | {"WEIR_AGENT": "a1"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "refused" in ran.stderr
    assert status(stack)["ready"]


def test_a_second_mount_shows_the_project_and_goes_away(stack, short_path):
    second = short_path / "second"
    current = Path(stack.environ["WEIR_MOUNT"]) / "current"
    (current / "seen.txt").write_text("by both")
    weir(stack, "mount", str(second), "--agent", "reviewer")
    try:
        until((second / "current" / "seen.txt").exists, 10)
        assert (second / "current" / "seen.txt").read_text() == "by both"
        assert [m["path"] for m in status(stack)["mounts"]] == [stack.environ["WEIR_MOUNT"], str(second)]
    finally:
        weir(stack, "umount", str(second))
    assert not os.path.ismount(second)
    assert len(status(stack)["mounts"]) == 1


def test_down_and_up_again_keep_what_was_written(stack):
    current = Path(stack.environ["WEIR_MOUNT"]) / "current"
    (current / "kept.txt").write_text("over a restart")
    weir(stack, "down")
    assert not os.path.ismount(stack.environ["WEIR_MOUNT"])
    assert weir(stack, "down").strip() == "Nothing was running."
    weir(stack, "up", "--json")
    assert (current / "kept.txt").read_text() == "over a restart"
