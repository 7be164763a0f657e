"""`honcho start` alone: the same Procfile in any order, without a supervisor; Ctrl-C loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(240)


def weir(environ, *arguments):
    return subprocess.run([BIN / "weir", *arguments], env=environ, capture_output=True, text=True, check=False)


def created(environ):
    lines = weir(environ, "log", "--json", "--limit", "1000").stdout.splitlines()
    return sorted(event["path"] for event in map(json.loads, lines) if event["kind"] == "create")


@pytest.fixture
def honcho(short_path):
    environ = {k: v for k, v in os.environ.items() if k not in {"REDIS_URL", "DATABASE_URL", "WEIR_WRITER_URL"}}
    environ |= {"WEIR_HOME": str(short_path / "h"), "WEIR_MOUNT": str(short_path / "mnt")}
    environ |= {"WEIR_GATEWAY_PORT": "0", "WEIR_FLOWER_PORT": "0"}
    started = []

    def start():
        with (short_path / "honcho.log").open("ab") as log:
            argv = [BIN / "honcho", "start"]
            process = subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        give_up = time.monotonic() + 90
        while weir(environ, "status", "--json").returncode:
            late = process.poll() is not None or time.monotonic() > give_up
            assert not late, (short_path / "honcho.log").read_text()[-5000:]
            time.sleep(0.5)
        return process

    yield start, environ
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_both_flows_work_and_ctrl_c_loses_nothing(honcho):
    start, environ = honcho
    process = start()
    current = Path(environ["WEIR_MOUNT"]) / "current"
    assert weir(environ, "validate", "--", "rm", "-rf", "/").returncode == 2
    refused = weir(environ, "up")
    assert refused.returncode == 1
    assert "honcho" in refused.stderr
    for number in range(50):
        (current / f"f{number}").write_text(str(number))
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process = start()
    assert [(current / f"f{number}").read_text() for number in range(50)] == [str(number) for number in range(50)]
    wanted = sorted(f"f{number}" for number in range(50))
    give_up = time.monotonic() + 60
    while (made := created(environ)) != wanted:  # what the journal kept is shipped once the workers are there
        assert time.monotonic() < give_up, f"{len(made)} of 50 reached the store"
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.wait(30)
