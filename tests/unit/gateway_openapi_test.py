"""The OpenAPI document is a promise: what is committed is what is served."""

import json
from pathlib import Path

from app.entry.gateway import openapi

SNAPSHOT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "openapi.json"


def test_the_committed_document_is_the_one_that_is_served() -> None:
    served = json.loads(openapi.encode())
    assert served == json.loads(SNAPSHOT.read_text()), (
        "python -m app.entry.gateway.openapi > docs/reference/openapi.json"
    )
