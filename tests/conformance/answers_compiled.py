"""Lets a process of tests run the gateway's compiled code: `pytest -p answers_compiled`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from config import compiled  # noqa: E402

assert compiled.take(part=compiled.ANSWERING), "not built, or WEIR_FLAGS says compiled_gateway=off"


def pytest_sessionfinish() -> None:
    assert compiled.taken(compiled.ANSWERING)
