"""Validation through a real solo worker (`celery -A workers worker -Q validate --pool solo`) with rules from files."""

import os
import time
from pathlib import Path

import pytest

from app import bootstrap
from app.core.decisions import Asked, ValidateBatch, ValidateReply, Verdict
from app.core.messages import decode, encode
from config.settings import Settings, load

RULES = """
rules:
  - id: listing
    match: Bash(ls*)
    decide: {listing}
    reason: It only looks.
    remedy: Ask a person.
  - id: removing
    match: Bash(rm*)
    decide: block
    reason: It removes.
    remedy: Move it aside.
"""


@pytest.fixture(scope="module")
def rules(server_folder: Path) -> Path:
    folder = server_folder / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES.format(listing="approve"))
    return folder


@pytest.fixture(scope="module")
def environ(server_folder: Path, redis_server, rules) -> dict[str, str]:
    return os.environ | {
        "WEIR_HOME": str(server_folder / "validate-home"),
        "REDIS_URL": redis_server.url,
        "WEIR_POLICIES": str(rules),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def worker(environ, start_worker):
    return start_worker(environ, "validate", "--pool", "solo", name="test-validate")


@pytest.fixture
def ask(worker, environ, request):
    settings = load(environ)
    tasks, box = bootstrap.tasks(settings), bootstrap.reply_box(settings)
    request.addfinalizer(tasks.close)
    request.addfinalizer(box.close)

    def ask(*commands: str, session: str = "") -> ValidateReply:
        calls = tuple(Asked("Bash", {"command": command}, "agent", session=session) for command in commands)
        name = os.urandom(8).hex()
        tasks.send("weir.validate", encode(_batch(settings, name, box.address, calls)), "validate")
        reply = decode(ValidateReply, box.wait(2) or b"")
        assert reply.batch_id == name
        return reply

    return ask


def _batch(settings: Settings, name: str, reply_to: str, calls: tuple[Asked, ...]) -> ValidateBatch:
    return ValidateBatch(2, settings.project, name, reply_to, 45, calls)


def test_each_call_of_a_batch_gets_its_verdict_in_order(ask) -> None:
    reply = ask("ls -la", "rm -rf /", "unknown-program")
    assert [found.verdict for found in reply.rulings] == [Verdict.APPROVE, Verdict.BLOCK, Verdict.ESCALATE]
    assert [found.ground.rules[0] for found in reply.rulings[:2]] == ["listing", "removing"]
    assert len({found.ground.policy_version for found in reply.rulings}) == 1
    assert reply.worker.startswith("test-validate@")
    assert reply.worker_us > 0


def test_a_second_worker_s_answer_comes_from_the_shared_cache_for_that_very_call_only(ask) -> None:
    assert ask("ls one").layers == ("policy",)
    time.sleep(0.05)
    assert ask("ls one", "ls two").layers == ("shared-cache", "policy")
    assert ask("ls one", session="other").layers == ("policy",)


def test_a_changed_rule_is_in_force_within_a_second_and_a_broken_one_never(ask, rules) -> None:
    place = rules / "rules.yaml"
    assert ask("ls three").rulings[0].verdict == Verdict.APPROVE
    place.write_text("rules: [{id: broken")
    time.sleep(1)
    assert ask("ls three").rulings[0].verdict == Verdict.APPROVE
    place.write_text(RULES.format(listing="block"))
    time.sleep(1.2)
    assert ask("ls three").rulings[0].verdict == Verdict.BLOCK
    place.write_text(RULES.format(listing="approve"))
    time.sleep(1.2)
    assert ask("ls three").rulings[0].verdict == Verdict.APPROVE
