"""The watchdog ends a mount whose notification hangs in a cycle of locks, and no mount that is merely slow."""

import threading
import time

import pytest

from fuse_mount import watchdog


class Ended(BaseException):
    """Instead of the process's end."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    aborted: list[str] = []

    def end(_code: int) -> None:
        raise Ended

    monkeypatch.setattr(watchdog, "LOOK_S", 0.01)
    monkeypatch.setattr(watchdog, "HANG_S", 0.1)
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.6)
    monkeypatch.setattr(watchdog, "abort", aborted.append)
    monkeypatch.setattr(watchdog.os, "_exit", end)
    return aborted


def watched(*, lasts_s: float, free: bool, waits: bool = False) -> float:
    """Return after how long a mount was ended whose notification lasts so long; 0 where it was not."""
    since_s, stopping = time.monotonic(), threading.Event()
    ending = threading.Timer(lasts_s, stopping.set)
    ending.start()
    try:
        watchdog.watch(lambda: since_s, lambda: waits, lambda: free, "7", stopping)
    except Ended:
        return time.monotonic() - since_s
    finally:
        ending.cancel()
    return 0.0


def test_a_notification_that_hangs_in_a_cycle_of_locks_ends_the_mount_at_once(quick: list[str]) -> None:
    assert 0.1 <= watched(lasts_s=5, free=False) < 0.6
    assert quick == ["7"]


def test_one_that_is_slow_while_handlers_go_on_ends_nothing_and_one_that_stays_does(quick: list[str]) -> None:
    assert watched(lasts_s=0.3, free=True) == 0
    assert quick == []
    assert watched(lasts_s=5, free=True) >= 0.6
    assert quick == ["7"]


def test_one_that_waits_for_a_handler_with_a_deadline_ends_nothing(quick: list[str]) -> None:
    assert watched(lasts_s=0.8, free=False, waits=True) == 0
    assert quick == []
