"""Who else could answer: stock Celery, dramatiq, a bare protocol server, and the same batches without Celery."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from app import bootstrap
from app.core.decisions import ToolCall, ValidateReply
from app.core.messages import decode
from app.ports import ReplyBox
from app.services.questions import encode_batch, encode_question
from app.services.waiting import CallbackWaiter, Question
from config.settings import ROOT, Settings
from tests.performance.validate_load import Run, summary

_CALL = {"tool": "Bash", "input": {"command": "git log -n 3 -- src/app.py"}, "agent": "bench", "cwd": "/srv/project"}
_BATCH = 250
_OUT = 4


def run_celery(flights: int, seconds: float) -> Run:
    """Bursts of `flights` tasks, each waited for, until `seconds` are over."""
    from tests.performance.stock_celery import judge

    return _bursts(lambda: judge.delay(_CALL), lambda result: (result.get(timeout=60), result.forget()), flights, seconds)


def run_dramatiq(flights: int, seconds: float) -> Run:
    """The same with dramatiq."""
    from tests.performance.stock_dramatiq import judge

    return _bursts(
        lambda: judge.send(_CALL), lambda message: message.get_result(block=True, timeout=60_000), flights, seconds
    )


def _bursts(send: Callable[[], Any], wait: Callable[[Any], object], flights: int, seconds: float) -> Run:
    latencies: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        sent = [(time.perf_counter(), send()) for _ in range(flights)]
        # in the order of sending, which is about the order of the answers
        for at, one in sent:
            wait(one)
            latencies.append(time.perf_counter() - at)
    return summary(latencies, time.perf_counter() - started, 0)


def run_batches(settings: Settings, send: Callable[[bytes], object], box: ReplyBox, seconds: float) -> Run:
    """Batches of distinct calls as the gateway makes them, `_OUT` at a time; a call's latency is its batch's."""
    version = bootstrap.policy(settings).version
    sent: dict[str, float] = {}
    latencies: list[float] = []
    number = time.time_ns() // 1000
    started = time.perf_counter()
    while sent or time.perf_counter() - started < seconds:
        while len(sent) < _OUT and time.perf_counter() - started < seconds:
            number += _BATCH
            payload = encode_batch(settings.project, str(number), box.address, 1000, _questions(number, version), version)
            sent[str(number)] = time.perf_counter()
            send(payload)
        raw = box.wait(2.0)
        if raw is None:
            raise SystemExit("a batch was not answered within 2 s")
        latencies.append(time.perf_counter() - sent.pop(decode(ValidateReply, raw).batch_id))
    return summary(latencies, time.perf_counter() - started, 0, _BATCH)


def _questions(first: int, version: str) -> list[Question]:
    found = []
    for number in range(first, first + _BATCH):
        call = ToolCall("Bash", {"command": f"git log -n {number} -- src/app.py"}, "bench", cwd="/srv/project")
        asked = encode_question(call, version)
        found.append(Question(call, asked, version, b"", 0, [CallbackWaiter(call, 0, lambda _: None)]))
    return found


def run_over_celery(settings: Settings, seconds: float) -> Run:
    """Those batches as tasks for the running workers."""
    tasks = bootstrap.tasks(settings)
    box = bootstrap.reply_box(settings)
    return run_batches(settings, lambda payload: tasks.send("weir.validate", payload, "validate"), box, seconds)


def run_over_list(settings: Settings, seconds: float) -> Run:
    """Those batches over a bare list, with as many bare workers."""
    name, client = f"bare:{os.getpid()}", redis.Redis.from_url(settings.redis_url)
    command = [sys.executable, "-m", "tests.performance.bare_list", name]
    with _running(*[command] * settings.validate_workers):
        box = bootstrap.reply_box(settings)
        run_batches(settings, lambda payload: client.lpush(name, payload), _Patient(box), 0.5)
        return run_batches(settings, lambda payload: client.lpush(name, payload), box, seconds)


class _Patient:
    """Waits as long as a worker takes to start."""

    def __init__(self, box: ReplyBox) -> None:
        self._box = box
        self.address = box.address

    def wait(self, timeout_s: float) -> bytes | None:
        """See ReplyBox."""
        for _ in range(20):
            if (raw := self._box.wait(timeout_s)) is not None:
                return raw
        return None


@contextmanager
def stock_workers(settings: Settings) -> Iterator[None]:
    """Run both stock workers: Celery's solo (2-3 times faster than prefork on so small a task), dramatiq as it comes."""
    url = settings.redis_url
    os.environ["STOCK_CELERY_URL"] = url.replace("unix://", "redis+socket://") if url.startswith("unix") else url
    os.environ["STOCK_REDIS_URL"] = url
    celery = ["celery", "-A", "tests.performance.stock_celery", "worker", "--pool", "solo", "-l", "ERROR"]
    dramatiq = ["dramatiq", "tests.performance.stock_dramatiq"]
    with _running([sys.executable, "-m", *celery], [sys.executable, "-m", *dramatiq]):
        yield


@contextmanager
def bare_server() -> Iterator[str]:
    """Run the bare protocol server; yields its socket."""
    with tempfile.TemporaryDirectory(prefix="wbare-", dir="/tmp") as folder:
        path = f"{folder}/s"
        with _running([sys.executable, "-m", "tests.performance.bare_http", path]):
            until = time.monotonic() + 20
            while not Path(path).exists() and time.monotonic() < until:
                time.sleep(0.05)
            yield path


@contextmanager
def _running(*commands: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        yield
