"""What a worker or a mount decodes is what a sender of this format encoded, or is refused."""

import msgspec
import pytest

from app.core.errors import PayloadRefused
from app.core.messages import ChunkReply, IncarnationRequest, PersistReply, decode, encode

REQUEST = IncarnationRequest(1, "p" * 32, "o" * 32, "main", "r1", "replies")
FIELDS = list(msgspec.structs.astuple(REQUEST))


def test_what_was_encoded_is_decoded_as_it_was() -> None:
    assert decode(IncarnationRequest, encode(REQUEST)) == REQUEST


@pytest.mark.parametrize("place", range(len(FIELDS)))
@pytest.mark.parametrize("value", [None, b"bytes", [1], 1.5])
def test_a_payload_with_a_field_of_another_type_reaches_no_worker(place: int, value: object) -> None:
    given = [*FIELDS[:place], value, *FIELDS[place + 1 :]]
    with pytest.raises(PayloadRefused, match="IncarnationRequest"):
        decode(IncarnationRequest, msgspec.msgpack.encode(given))


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_payload_of_another_format_is_not_read_as_ours(number: int) -> None:
    with pytest.raises(PayloadRefused, match=f"format {number}, this process reads 1"):
        decode(IncarnationRequest, msgspec.msgpack.encode([number, *FIELDS[1:]]))


@pytest.mark.parametrize(
    "junk", [b"", b"\xc1", b"\x00" * 100, b"\x93torn", encode(REQUEST)[:-1], encode(REQUEST) + b"\x00"]
)
def test_junk_is_refused_and_ends_nobody(junk: bytes) -> None:
    for kind in (IncarnationRequest, PersistReply, ChunkReply):
        with pytest.raises(PayloadRefused):
            decode(kind, junk)


def test_a_payload_of_another_kind_is_refused() -> None:
    with pytest.raises(PayloadRefused):
        decode(PersistReply, encode(REQUEST))
