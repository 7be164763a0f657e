"""A log shows any change to it; a redacted payload leaves it whole."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.chain import EventHeader, leaf_digest, merkle_root, payload_digest, row_hash
from app.core.ids import GENESIS_HASH

HEADER = EventHeader("p", "files", 1, "create", 5, "o", 2, 3, "a", "s", "t", "d", "k", 9, b"\x00")


@pytest.mark.parametrize("field", EventHeader.__struct_fields__)
def test_changing_any_field_of_a_row_changes_its_hash(field: str) -> None:
    value = getattr(HEADER, field)
    other = value + 1 if isinstance(value, int) else value + (b"x" if isinstance(value, bytes) else "x")
    changed = msgspec.structs.replace(HEADER, **{field: other})
    digest = payload_digest(b"payload")
    assert row_hash(GENESIS_HASH, changed, digest) != row_hash(GENESIS_HASH, HEADER, digest)


def test_a_row_is_bound_to_what_stands_before_it_and_to_its_payload() -> None:
    digest = payload_digest(b"payload")
    first = row_hash(GENESIS_HASH, HEADER, digest)
    assert row_hash(first, HEADER, digest) != first
    assert row_hash(GENESIS_HASH, HEADER, payload_digest(b"other")) != first


@given(st.lists(st.binary(max_size=9).map(payload_digest), min_size=1, max_size=20, unique=True), st.data())
def test_changing_dropping_doubling_or_swapping_a_decision_changes_the_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    root, at = merkle_root(leaves), data.draw(st.integers(0, len(leaves) - 1))
    assert merkle_root([*leaves[:at], bytes(32 * [7]), *leaves[at + 1 :]]) != root
    assert merkle_root([*leaves, leaves[-1]]) != root
    assert merkle_root(leaves[:at] + leaves[at + 1 :]) != root
    swapped = [*leaves]
    swapped[0], swapped[at] = swapped[at], swapped[0]
    assert (merkle_root(swapped) == root) == (at == 0)


def test_a_leaf_cannot_pass_for_an_inner_node_and_its_salt_hides_it() -> None:
    one, two = leaf_digest(b"s1", b"yes"), leaf_digest(b"s2", b"yes")
    assert one != two
    assert leaf_digest(b"", one + two) != merkle_root([one, two])
