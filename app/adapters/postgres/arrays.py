"""Postgres arrays packed by hand for bulk calls: 0.1 us an element where the list dumpers take about 1 us.

The wire form is PostgreSQL's array_send: dimensions, null flag, element oid, length, lower bound, then
(length, bytes) for each element. No nulls. An array of nothing is sent as null.
"""

import struct
from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_HEAD: Final = struct.Struct("!iiiii").pack
_LENGTH: Final = struct.Struct("!i").pack
_SMALL: Final = tuple(struct.Struct("!" + "iq" * count) for count in range(33))
_INT8_OID, _INT4_OID, _BYTEA_OID, _TEXT_OID = 20, 23, 17, 25


class Int8Array(bytes):
    """A packed bigint[]."""


class Int4Array(bytes):
    """A packed integer[]."""


class ByteaArray(bytes):
    """A packed bytea[]."""


class TextArray(bytes):
    """A packed text[]."""


NO_INT8: Final = Int8Array()
NO_BYTEA: Final = ByteaArray()
NO_TEXT: Final = TextArray()


def int8_array(values: Sequence[int]) -> Int8Array:
    """Pack integers below 2**63."""
    count = len(values)
    if not count:
        return NO_INT8
    fields = [8] * (2 * count)
    fields[1::2] = values
    packer = _SMALL[count] if count < len(_SMALL) else struct.Struct("!" + "iq" * count)
    return Int8Array(_HEAD(1, 0, _INT8_OID, count, 1) + packer.pack(*fields))


def int4_array(values: Sequence[int]) -> Int4Array:
    """Pack integers from -2**31 to 2**31 - 1; an empty array stays one."""
    if not values:
        return Int4Array(struct.pack("!iii", 0, 0, _INT4_OID))
    fields = [4] * (2 * len(values))
    fields[1::2] = values
    return Int4Array(_HEAD(1, 0, _INT4_OID, len(values), 1) + struct.pack(f"!{len(fields)}i", *fields))


def bytea_array(values: Sequence[bytes]) -> ByteaArray:
    """Pack byte strings."""
    count = len(values)
    if not count:
        return NO_BYTEA
    parts = [b""] * (2 * count + 1)
    parts[0] = _HEAD(1, 0, _BYTEA_OID, count, 1)
    parts[1::2] = map(_LENGTH, map(len, values))
    parts[2::2] = values
    return ByteaArray(b"".join(parts))


def text_array(values: Sequence[str]) -> TextArray:
    """Pack texts; NUL, which Postgres cannot hold, becomes U+FFFD. Repeated texts are encoded once."""
    if not values:
        return NO_TEXT
    known: dict[str, bytes] = {}
    parts = [known.get(v) or known.setdefault(v, _text(v)) for v in values]
    return TextArray(_HEAD(1, 0, _TEXT_OID, len(values), 1) + b"".join(parts))


def clean(text: str) -> str:
    """Return a text that Postgres can hold."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _text(value: str) -> bytes:
    plain = clean(value).encode()
    return _LENGTH(len(plain)) + plain


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer | None:
        """See psycopg.adapt.Dumper."""
        return obj or None


class _Int8ArrayDumper(_PackedDumper):
    oid = 1016


class _Int4ArrayDumper(_PackedDumper):
    oid = 1007


class _ByteaArrayDumper(_PackedDumper):
    oid = 1001


class _TextArrayDumper(_PackedDumper):
    oid = 1009


def register(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Teach a connection to send packed arrays."""
    connection.adapters.register_dumper(Int8Array, _Int8ArrayDumper)
    connection.adapters.register_dumper(Int4Array, _Int4ArrayDumper)
    connection.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
