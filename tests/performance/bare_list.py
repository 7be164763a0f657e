"""The control of Celery: the worker's own service over two bare Redis lists, `python -m tests.performance.bare_list LIST`.

Takes a batch with BRPOP, decides it as a Celery worker does, replies as that does; no task, no event, no time limit.
"""

import sys
import time

import redis

from app import bootstrap
from app.core.decisions import ValidateBatch
from app.core.messages import decode
from app.services.worker_validation import WorkerValidator
from config.settings import load


def main(name: str) -> None:
    settings = load()
    client = redis.Redis.from_url(settings.redis_url)
    validator = WorkerValidator(
        settings.project,
        "bare",
        bootstrap.policy(settings, sees=True),
        bootstrap.replies(settings),
        bootstrap.shared_decisions_if_on(settings),
    )
    while True:
        taken = client.brpop([name], timeout=1)
        if taken is not None:
            validator.answer(decode(ValidateBatch, taken[1]), f"bare-{time.time_ns()}")


if __name__ == "__main__":
    main(sys.argv[1])
