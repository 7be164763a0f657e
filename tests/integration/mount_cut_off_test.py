"""A mount that the store does not answer goes on showing what was written on it, whatever other mounts did before."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COUNTER = "own unconfirmed content asked of the store"


def descend(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [below for child in found for below in (child, *descend(child))]


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes while the block runs: nobody answers, and nobody is restarted."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def health(mount: Path) -> dict:
    return json.loads((mount / "debug" / "health").read_text())


def settled(stack, *mounts: Path) -> bool:
    said = [health(mount) for mount in mounts]
    return all(not one["pending"] and one["position"] == stack.position() for one in said)


@pytest.fixture
def second(own_stack) -> Path:
    place = own_stack.folder / "second"
    done = own_stack.weir("mount", str(place), "--agent", "reviewer")
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.mark.timeout(240)
def test_own_unconfirmed_content_is_served_with_postgres_stopped(own_stack, second: Path) -> None:
    stack, here, there = own_stack, own_stack.current, second / "current"
    for name in ("whole", "unlinked", "covered", "cover"):
        (here / name).write_text(f"first {name}")
    wait_for(lambda: settled(stack, stack.mount, second), "both mounts have everything")
    with (there / "whole").open("a") as file:
        file.write(", foreign end")
    (there / "whole").rename(there / "moved")
    wait_for(lambda: settled(stack, stack.mount, second), "both mounts have everything")
    postgres = [stack.pid("postgres"), *descend(stack.pid("postgres"))]
    with frozen(stack.pid("courier")):
        (here / "unlinked").write_text("mine")
        (here / "unlinked").unlink()
        (here / "covered").write_text("mine too")
        (here / "cover").rename(here / "covered")
        (there / "unlinked").rename(there / "back")
        (there / "covered").rename(there / "aside")
        wait_for(lambda: (here / "back").exists() and (here / "aside").exists(), "the foreign renames are here")
        with frozen(*postgres):
            assert ((here / "back").read_text(), (here / "aside").read_text()) == ("mine", "mine too")
            (here / "moved").write_text("whole")
            (here / "moved").rename(here / "again")
            with (here / "again").open("a") as file:
                file.write(" and more")
            (here / "new").write_text("new")
            os.replace(here / "new", here / "newer")
            assert ((here / "again").read_text(), (here / "newer").read_text()) == ("whole and more", "new")
            assert health(stack.mount)["counters"].get(COUNTER, 0) == 0
    wait_for(lambda: settled(stack, stack.mount, second), "both mounts have everything", 60)
    wanted = {"back": "mine", "aside": "mine too", "again": "whole and more", "newer": "new", "covered": "first cover"}
    for mount in (stack.mount, second):
        assert {name: (mount / "current" / name).read_text() for name in wanted} == wanted
        assert health(mount)["counters"].get(COUNTER, 0) == 0
