"""A task that is filled into a form is, on the wire, the task that Celery makes."""

import base64
import json

import pytest
import redis
from kombu.utils import json as kombu_json

from app import bootstrap
from config.celery import broker_prefix
from config.settings import Settings, load
from workers.border import CONTENT_TYPE, CarefulMessage, why_not_ours

OWN = {"id", "root_id", "expires"}
OWN_PROPERTIES = {"correlation_id", "delivery_tag", "reply_to"}  # reply_to is the sender's, and nobody's to use
SIZES = (0, 5, 31, 200, 300, 70_000)


class Reading:
    """Of a channel what a message needs."""

    def decode_body(self, body: str, encoding: str) -> bytes:
        assert encoding == "base64"
        return base64.b64decode(body)


@pytest.fixture
def settings(short_path, redis_server) -> Settings:
    return load({"WEIR_HOME": str(short_path / "home"), "REDIS_URL": redis_server.url})


@pytest.fixture
def sent(settings, redis_server, request, monkeypatch):
    """Return what a sender with a flag put into the queue for payloads of all sizes."""
    client = redis.Redis.from_url(redis_server.url)
    request.addfinalizer(client.close)

    def send(flag: str) -> list[tuple[str, bytes]]:
        monkeypatch.setenv("WEIR_FLAGS", f"task_forms={flag}")
        tasks = bootstrap.tasks(settings)
        request.addfinalizer(tasks.close)
        queue = f"{broker_prefix(settings)}validate"
        ids = [
            tasks.send("weir.validate", bytes(range(256)) * (size // 256) + b"x" * (size % 256), "validate")
            for size in SIZES
        ]
        raw = [client.rpop(queue) for _ in ids]
        return list(zip(ids, raw, strict=True))

    return send


def test_what_is_filled_in_is_what_celery_makes_but_for_ids_and_times(sent) -> None:
    for (made_id, made), (filled_id, filled) in zip(sent("off"), sent("on"), strict=True):
        one, other = json.loads(made), json.loads(filled)
        assert one["body"] == other["body"]
        for task_id, message in ((made_id, one), (filled_id, other)):
            headers, properties = message["headers"], message["properties"]
            assert headers["argsrepr"] == properties["argsrepr"]
            assert task_id == headers["id"] == headers["root_id"] == properties["correlation_id"]
        assert one["headers"]["expires"][:15] <= other["headers"]["expires"][:15]
        assert _but_own(one) == _but_own(other)


def test_a_worker_takes_it_and_no_two_are_the_same_task(sent) -> None:
    found = sent("on")
    messages = [CarefulMessage(kombu_json.loads(raw), Reading(), accept={CONTENT_TYPE}) for _, raw in found]
    assert [why_not_ours(message, {"weir.validate": None}) for message in messages] == [""] * len(SIZES)
    assert [len(message.payload[0][0]) for message in messages] == list(SIZES)
    assert len({message.delivery_tag for message in messages} | {task_id for task_id, _ in found}) == 2 * len(SIZES)


def _but_own(message: dict) -> dict:
    headers = {name: value for name, value in message["headers"].items() if name not in OWN}
    properties = {n: v for n, v in message["properties"].items() if n not in OWN_PROPERTIES}
    return message | {"headers": headers, "properties": properties, "body": ""}
