"""durability=store: a close waits as long as the store goes on confirming, and no longer than that."""

import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from app.core.errors import StoreUnavailable
from fuse_mount import content_calls
from fuse_mount.content_calls import ContentCalls

LAST = 12


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(content_calls, "STORE_WAIT_S", 1.5)
    changes = SimpleNamespace(journal=SimpleNamespace(incarnation=1))
    return SimpleNamespace(readers=nullcontext(), progress=threading.Condition(), confirmed={1: 0}, changes=changes)


def confirm(state: SimpleNamespace, last: int) -> threading.Thread:
    def body() -> None:
        for sequence in range(1, last + 1):
            time.sleep(0.15)
            with state.progress:
                state.confirmed[1] = sequence
                state.progress.notify_all()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def wait(state: SimpleNamespace) -> None:
    ContentCalls._wait_for_store(SimpleNamespace(state=state), LAST)


def test_steady_progress_is_waited_for_longer_than_the_bound(state: SimpleNamespace) -> None:
    confirming = confirm(state, LAST)
    wait(state)
    confirming.join()


def test_a_store_that_stands_still_is_an_error_after_the_bound(state: SimpleNamespace) -> None:
    confirming = confirm(state, 3)
    with pytest.raises(StoreUnavailable):
        wait(state)
    confirming.join()
