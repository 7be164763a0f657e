"""No system call, however absurd, ends a mount, leaves a handler with an exception, or hurts files beside it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SITE = Path(__file__).parent / "mount_site"
sys.path.insert(0, str(SITE))
from lone_mount import LoneMount  # noqa: E402

from app.adapters.journal.writer import JOURNAL_BYTES_MAX  # noqa: E402

FUZZ_S, SAYS_EVERY_S = float(os.environ.get("WEIR_FUZZ_S", "600")), 30.0
ENDED_BY_ITSELF = {
    0,
    1,
    -signal.SIGKILL,  # one that waits at a fifo is ended by us
    -signal.SIGABRT,
    -signal.SIGBUS,
    -signal.SIGSEGV,
    -signal.SIGXFSZ,
    -signal.SIGIO,
    -signal.SIGPIPE,
    -signal.SIGUSR1,
}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seconds", [4, pytest.param(FUZZ_S, marks=pytest.mark.full)], ids=["seconds", "minutes"])
def test_absurd_system_calls_leave_the_mount_and_its_other_files_alone(short_path: Path, seconds: float) -> None:
    short_path.chmod(0o755)
    mount = LoneMount(short_path / "one")
    (mount.tree / "safe").write_bytes(b"s" * 300_000)
    (mount.tree / "playground").mkdir()
    (mount.tree / "playground").chmod(0o777)
    end, seed, calls, running = time.monotonic() + seconds, 0, 0, []
    says = time.monotonic() + SAYS_EVERY_S
    try:
        while time.monotonic() < end or running:
            while len(running) < 3 and time.monotonic() < end:
                running.append(
                    subprocess.Popen(
                        [sys.executable, str(SITE / "absurd_calls.py"), str(mount.tree / "playground"), str(seed), "5"],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                    )
                )
                seed += 1
            assert mount.process.poll() is None, mount.log.read_text()[-3000:]
            for one in [p for p in running if p.poll() is not None or time.monotonic() > end + 20]:
                running.remove(one)
                one.kill()
                said, _ = one.communicate()
                assert one.returncode in ENDED_BY_ITSELF, one.returncode
                calls += 2000 * len(said)
            if time.monotonic() > says:
                says += SAYS_EVERY_S
                print(f"live mount: {end - time.monotonic():.0f} s to go, {calls} calls", file=sys.__stderr__, flush=True)
            time.sleep(0.02)
    finally:
        for one in running:
            one.kill()
            one.communicate()
    held = sum(segment.stat().st_size for segment in (mount.folder / "home").rglob("*.wj"))
    assert held < JOURNAL_BYTES_MAX * 7 / 8, f"{calls} calls filled the journal ({held} bytes), from which this test's store removes nothing"
    assert (mount.tree / "safe").read_bytes() == b"s" * 300_000
    (mount.tree / "after").write_text("still answers")
    mount.settle(within_s=120)
    counters = mount.ask("figures")["counters"]  # type: ignore[index]
    print(f"{calls} calls of {seed} processes; {counters}")
    assert not [name for name in counters if " in " in name or name.startswith("own operation")], counters
    assert mount.stop() == 0
    before = mount.tree
    mount.start(within_s=300)  # the store in memory folds the whole journal first
    assert (before / "after").read_text() == "still answers"
    assert os.listdir(mount.tree / "playground") is not None
    assert mount.stop() == 0
