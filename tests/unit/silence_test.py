"""Who waits is told what for, soon, and only while nothing moves."""

import time
from collections.abc import Callable

from app.services.silence import SILENT_S, Silence


def hang() -> str:
    time.sleep(1)
    return ""


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_hangs_is_named_within_two_seconds_and_what_answers_is_not() -> None:
    said: list[str] = []
    began = time.monotonic()
    with Silence({"Redis": hang, "Postgres": lambda: ""}, said.append, "nothing"):
        eventually(lambda: said)
    assert said == ["Redis does not answer"]
    assert time.monotonic() - began < 2.5


def test_work_that_takes_long_is_not_said_to_wait_and_work_that_waits_is() -> None:
    said: list[str] = []
    with Silence({"Redis": lambda: ""}, said.append, "nothing moves", long_s=0.2) as silence:
        silence.moved(1)
        time.sleep(SILENT_S + 0.5)
        assert not said
        silence.moved(1, waits=True)
        eventually(lambda: said)
    assert said == ["nothing moves"]


def test_nothing_is_said_while_the_work_moves() -> None:
    said: list[str] = []
    with Silence({"Redis": lambda: "is away"}, said.append, "") as silence:
        for step in range(15):
            silence.moved(step)
            time.sleep(SILENT_S / 10)
        assert not said
        eventually(lambda: said)
    assert said == ["Redis is away"]
