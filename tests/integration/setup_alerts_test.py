"""What a person must hear of: `weir status` and `weir doctor` say it, with the remedy, and stop saying it when it is mended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WEIR = Path(sys.executable).parent / "weir"
pytestmark = pytest.mark.timeout(240)


def ask(stack, command):
    ran = subprocess.run([WEIR, command, "--json"], env=stack.environ, capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.returncode in {0, 1}
    return json.loads(ran.stdout)


def until(true, timeout_s=30.0):
    give_up = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < give_up, f"{true} never was true"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rules:\n  - id: broken\n    verdict: [\n", ":4"),
        ("rules:\n  - id: broken\n    verdict: no-such-verdict\n    reason: x\n", ":2"),
    ],
)
def test_rules_that_do_not_load_are_an_alert_with_file_line_and_remedy_until_they_are_mended(stack, text, line):
    bad = Path(stack.environ["WEIR_HOME"]) / "policies" / "broken.yaml"
    bad.parent.mkdir(exist_ok=True)
    bad.write_text(text)
    try:
        found = ask(stack, "status")
        assert [alert["name"] for alert in found["alerts"]] == ["rules"], found["alerts"]
        (alert,) = found["alerts"]
        assert alert["name"] == "rules"
        assert f"broken.yaml{line}" in alert["detail"]
        assert alert["remedy"]
        assert found["ready"]  # the last good rules are in force
        assert any("broken.yaml" in one["detail"] and one["remedy"] for one in ask(stack, "doctor")["findings"])
        plain = subprocess.run([WEIR, "status"], env=stack.environ, capture_output=True, text=True, check=False)
        assert "broken.yaml" in plain.stdout
    finally:
        bad.unlink()
    assert not ask(stack, "status")["alerts"]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_frozen_server_is_named_with_its_remedy_at_once_and_all_is_ready_when_it_thaws(stack, server):
    ready = Path(stack.environ["WEIR_HOME"]) / "run" / f"{server}.ready"
    (frozen,) = children(int(ready.read_text()))
    os.kill(frozen, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = ask(stack, "status")
        took_s = time.monotonic() - began
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert not found["ready"]
    assert any(one.startswith(f"{server} ") and f"kill -CONT {frozen}" in one for one in found["problems"])
    assert took_s < 10  # the target is 2 s on a quiet machine
    until(lambda: ask(stack, "status")["ready"])


def test_a_frozen_gateway_is_not_ready(stack):
    pid = json.loads((Path(stack.environ["WEIR_HOME"]) / "run" / "gateway.json").read_bytes())["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = ask(stack, "status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert not found["ready"]
    assert any(one.startswith("gateway ") for one in found["problems"])
