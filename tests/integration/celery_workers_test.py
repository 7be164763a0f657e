"""Real worker processes of the `workers` app, driven by pytest-celery without Docker (conftest.py beside this).

Redis and Postgres are real.
"""

import os
import threading
import time
from pathlib import Path

import psycopg
import pytest
from pytest_celery import CeleryTestSetup

from app import bootstrap
from app.core.errors import PayloadRefused
from app.core.messages import decode, encode
from app.services.escalation import AnswerRequest, EscalationReply, EscalationRequest
from config.celery import QUEUES, broker_prefix
from config.settings import Settings, load


def until(condition, timeout_s: float = 30, explain=lambda: "") -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def project(server_folder: Path, redis_server, postgres_server) -> tuple[Settings, dict[str, str]]:
    environ = os.environ | {
        "WEIR_HOME": str(server_folder / "celery-home"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "PYTHONUNBUFFERED": "1",
    }
    return load(environ), environ


@pytest.fixture
def settings(project) -> Settings:
    return project[0]


@pytest.fixture(scope="module")
def worker_node(project, start_worker):
    return start_worker(project[1], "experts,maintenance", "--pool", "solo")


@pytest.fixture
def sender(settings):
    tasks = bootstrap.tasks(settings)
    yield tasks
    tasks.close()


@pytest.fixture
def box(settings):
    box = bootstrap.reply_box(settings)
    yield box
    box.close()


def escalation(settings: Settings, box, name: str, in_ms: int = 3_600_000, project: str = "", form: int = 1) -> bytes:
    """One agent a ticket: how many of an agent may be open is not what these tests are about."""
    now_ms = time.time_ns() // 1_000_000
    asked = EscalationRequest(
        form, project or settings.project, name, box.address, now_ms, now_ms + in_ms, f"agent of {name}", "", "",
        "Bash", "/", b'{"command": "SECRET-COMMAND"}', (), "why", "v1",
    )  # fmt: skip
    return bootstrap.seal(settings).sign(b"weir.escalate", encode(asked))


@pytest.fixture
def open_ones(settings, postgres_server):
    """The open tickets of the project; none at the start of a test."""

    def rows(statement: str) -> list:
        with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
            return connection.execute(statement, (settings.project,)).fetchall()

    mine = "project = (select id from projects where project = %s)"
    rows(f"delete from open_escalations where {mine} returning 1")
    return lambda: {name for (name,) in rows(f"select ticket from open_escalations where {mine}")}


@pytest.fixture
def redis_client(redis_server):
    import redis

    client = redis.Redis.from_url(redis_server.url)
    yield client
    client.close()


def test_an_escalation_that_nobody_answers_comes_back_as_a_block(
    celery_setup: CeleryTestSetup, settings, sender, box, open_ones
) -> None:
    sender.send("weir.escalate", escalation(settings, box, "unanswered", in_ms=400), "experts")
    assert decode(EscalationReply, box.wait(2) or b"").state == "waiting"
    time.sleep(0.5)
    sender.send("weir.expire-escalations", b"", "maintenance")
    reply = decode(EscalationReply, box.wait(2) or b"")
    assert (reply.ticket, reply.state, reply.layer) == ("unanswered", "block", "deadline")
    assert not open_ones()


def test_a_worker_answers_remote_control_under_the_project_s_key_prefix(
    celery_setup: CeleryTestSetup, redis_client, settings
) -> None:
    assert celery_setup.app.control.ping(timeout=3)
    kept = {bytes(key).decode(errors="replace") for key in redis_client.keys("*")}
    assert all(key.startswith("weir:") for key in kept), kept
    assert f"{broker_prefix(settings)}_kombu.binding.celery.pidbox" in kept


def test_a_worker_tells_its_stats_so_that_flower_shows_its_pool_and_broker(celery_setup: CeleryTestSetup) -> None:
    stats = celery_setup.app.control.inspect(timeout=3).stats()
    assert stats, "no worker replied"
    (told,) = stats.values()
    assert told["pool"]["processes"] == [told["pid"]]
    assert told["broker"]["transport"] == "workers.border:CarefulTransport"


def test_finished_tasks_show_counts_and_never_their_payload(
    celery_setup: CeleryTestSetup, settings, sender, box
) -> None:
    seen: list[dict] = []
    with celery_setup.app.connection_for_read() as connection:
        receiver = celery_setup.app.events.Receiver(connection, handlers={"*": seen.append})
        listening = threading.Thread(
            target=lambda: receiver.capture(limit=None, timeout=None, wakeup=False), daemon=True
        )
        listening.start()
        time.sleep(0.5)
        task = sender.send("weir.escalate", escalation(settings, box, "shown"), "experts")
        until(lambda: any(e["type"] == "task-succeeded" and e["uuid"] == task for e in seen))
        # without heartbeats Flower shows a worker as offline
        until(lambda: any(e["type"] == "worker-heartbeat" for e in seen), 5)
        receiver.should_stop = True
        listening.join(5)
    mine = [event for event in seen if event.get("uuid") == task]
    assert "SECRET" not in repr(mine)
    assert next(e for e in mine if e["type"] == "task-succeeded")["result"].startswith("{'ticket'")
    assert next(e for e in mine if e["type"] == "task-received")["args"].endswith(" bytes>")


def test_a_malformed_or_forged_payload_is_refused_and_the_worker_goes_on(
    celery_setup, worker_node, settings, sender, box, open_ones
) -> None:
    forged = AnswerRequest(1, settings.project, "r", box.address, "after", "approve", "nobody", "")
    unsealed = escalation(settings, box, "unsealed")[32:]
    newer, foreign = escalation(settings, box, "x", form=9), escalation(settings, box, "foreign", project="0" * 32)
    for junk in (b"", b"\xc1", b"\x00" * 100, newer, foreign, unsealed):
        sender.send("weir.escalate", junk, "experts")
    sender.send("weir.escalate", escalation(settings, box, "after"), "experts")
    sender.send("weir.answer-escalation", encode(forged), "experts")
    until(lambda: worker_node.process.logs().count(b"PayloadRefused") >= 7)
    assert open_ones() == {"after"}


def test_pickle_is_refused_before_it_is_loaded(
    celery_setup, worker_node, settings, sender, box, open_ones, tmp_path
) -> None:
    planted = tmp_path / "planted"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(planted),)

    celery_setup.app.send_task("weir.escalate", args=(Bomb(),), queue="experts", serializer="pickle")
    sender.send("weir.escalate", escalation(settings, box, "after-pickle"), "experts")
    until(lambda: open_ones() == {"after-pickle"})
    assert not planted.exists()
    assert b"dropped from experts: content type 'application/x-python-serialize'" in worker_node.process.logs()


def test_a_reply_address_outside_the_project_is_refused(settings, redis_client) -> None:
    replies = bootstrap.replies(settings)
    for address in (f"{broker_prefix(settings)}validate", "somebody:else", ""):
        with pytest.raises(PayloadRefused):
            replies.push(address, b"x")


def test_sigterm_in_the_middle_of_work_loses_no_task(
    celery_setup, worker_node, settings, sender, box, open_ones
) -> None:
    sent = {f"term-{index}" for index in range(150)}
    for name in sent:
        sender.send("weir.escalate", escalation(settings, box, name), "experts")
    until(open_ones)
    worker_node.process.stop()
    done_by_then = open_ones()
    worker_node.process.start()
    until(lambda: open_ones() == sent, 60)
    assert done_by_then


def test_work_queued_behind_a_killed_worker_is_done_after_its_restart(
    celery_setup, worker_node, settings, sender, box, open_ones, redis_client
) -> None:
    sent = {f"kill-{index}": escalation(settings, box, f"kill-{index}") for index in range(150)}
    for payload in sent.values():
        sender.send("weir.escalate", payload, "experts")
    until(open_ones)
    worker_node.process.kill()
    worker_node.process.start()
    queue = f"{broker_prefix(settings)}experts"
    until(lambda: redis_client.llen(queue) == 0, 60)
    time.sleep(0.5)
    # what the dead worker had taken (its prefetch) comes back from its sender, not from the broker
    for name in set(sent) - open_ones():
        sender.send("weir.escalate", sent[name], "experts")
    until(lambda: open_ones() == set(sent))


def test_the_reference_lists_every_task_and_queue(celery_setup_app) -> None:
    reference = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "tasks.md").read_text()
    celery_setup_app.loader.import_default_modules()
    named = [name for name in celery_setup_app.tasks if name.startswith("weir.")] + list(QUEUES)
    assert len(named) >= 14
    assert not [name for name in named if f"`{name}`" not in reference]
