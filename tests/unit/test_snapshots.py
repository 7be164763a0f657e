"""Wire and disk formats do not change by accident: a change needs a new format number and an upcaster.

To accept a compatible change (a field added at the end with a default): WEIR_UPDATE_SNAPSHOTS=1.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core import chain, decisions, frames, messages, operations, tree
from app.core.chunks import chunk_hash, project_key
from app.core.frames import JournalHeader, RecordType

HERE = Path(__file__).parent / "snapshots"
UPDATE = os.environ.get("WEIR_UPDATE_SNAPSHOTS") == "1"


def agrees(name: str, actual: Any) -> None:
    path = HERE / name
    text = json.dumps(actual, indent=1, sort_keys=True) + "\n"
    if UPDATE:
        path.write_text(text)
    assert path.exists(), f"no snapshot {name}; run once with WEIR_UPDATE_SNAPSHOTS=1 and commit it"
    assert json.loads(path.read_text()) == json.loads(text), (
        f"{name} changed: raise its format number and add an upcaster"
    )


def structs(module: Any) -> list[type[msgspec.Struct]]:
    found = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, msgspec.Struct) and v is not msgspec.Struct
    ]
    return sorted((v for v in found if v.__module__ == module.__name__), key=lambda v: v.__name__)


def layout(kind: type[msgspec.Struct]) -> dict[str, Any]:
    info = msgspec.structs.fields(kind)
    return {
        "tag": kind.__struct_config__.tag,
        "array": kind.__struct_config__.array_like,
        "fields": [[f.name, str(f.type).replace("app.core.", ""), not f.required] for f in info],
    }


@pytest.mark.parametrize(
    "module", [operations, messages, decisions, frames, chain, tree], ids=lambda m: m.__name__.rpartition(".")[2]
)
def test_a_struct_that_travels_keeps_its_layout(module: Any) -> None:
    agrees(f"{module.__name__.rpartition('.')[2]}.json", {kind.__name__: layout(kind) for kind in structs(module)})


def request() -> operations.FileOperationRequest:
    content = operations.Content(7, (1, 2), 5, 3, chunks=(operations.ChunkRef(0, b"h" * 32, 5),))
    return operations.FileOperationRequest(3, 1_700_000_000_000_000_000, "write", b"a/\xff", "agent", "s", "t", content)


def test_bytes_on_disk_and_wire_stay_what_they_are() -> None:
    encoded = operations.encode_request(request())
    header, seed = frames.encode_header(JournalHeader(1, "files", "p" * 32, "o" * 32, "main", 4, 1, 1, 5))
    event = chain.EventHeader("p", "files", 1, "write", 2, "o", 1, 3, "agent", "s", "t", "", "task", 7, b"")
    agrees(
        "golden.json",
        {
            "request": encoded.hex(),
            "segment": (header + frames.frame(RecordType.OPERATION, encoded, seed) + encoded).hex(),
            "write body": frames.write_body(7, 8, b"data").hex(),
            "row hash": chain.row_hash(bytes(32), event, chain.payload_digest(encoded)).hex(),
            "merkle root of three": chain.merkle_root([chain.leaf_digest(b"s", bytes([i])) for i in range(3)]).hex(),
            "chunk": chunk_hash(project_key("p" * 32), b"data").hex(),
            "feed": messages.encode(messages.FeedMessage(1, "p", "files", 1, 1, bytes(32), bytes(32))).hex(),
        },
    )


def test_a_request_from_an_older_build_still_reads() -> None:
    golden = json.loads((HERE / "golden.json").read_text())
    assert operations.decode_request(bytes.fromhex(golden["request"])) == request()


def test_fields_of_a_newer_build_are_ignored_in_tasks_and_feed() -> None:
    newer = msgspec.msgpack.encode([*msgspec.to_builtins(messages.RecordReply(1, "b", "s", 1, 2)), "one more", 7])
    assert messages.decode(messages.RecordReply, newer).acked == 1
