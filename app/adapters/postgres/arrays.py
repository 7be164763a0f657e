"""Postgres arrays packed by hand for bulk calls: 0.1 us an element where the list dumpers take about 1 us.

The wire form is PostgreSQL's array_send: dimensions, null flag, element oid, length, lower bound, then
(length, bytes) for each element. No nulls.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_HEAD: Final = struct.Struct("!iiiii").pack
_NONE: Final = struct.Struct("!iii").pack
_INT8: Final = struct.Struct("!iq").pack
_LENGTH: Final = struct.Struct("!i").pack
_INT8_OID, _BYTEA_OID, _TEXT_OID = 20, 17, 25


class Int8Array(bytes):
    """A packed bigint[]."""


class ByteaArray(bytes):
    """A packed bytea[]."""


class TextArray(bytes):
    """A packed text[]."""


def int8_array(values: Sequence[int]) -> Int8Array:
    """Pack integers below 2**63."""
    return Int8Array(_framed(_INT8_OID, len(values), [_INT8(8, v) for v in values]))


def bytea_array(values: Sequence[bytes]) -> ByteaArray:
    """Pack byte strings."""
    return ByteaArray(_framed(_BYTEA_OID, len(values), [part for v in values for part in (_LENGTH(len(v)), v)]))


def text_array(values: Sequence[str]) -> TextArray:
    """Pack texts; NUL, which Postgres cannot hold, becomes U+FFFD. Repeated texts are encoded once."""
    known: dict[str, bytes] = {}
    return TextArray(_framed(_TEXT_OID, len(values), [known.get(v) or known.setdefault(v, _text(v)) for v in values]))


def clean(text: str) -> str:
    """Return a text that Postgres can hold."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _text(value: str) -> bytes:
    plain = clean(value).encode()
    return _LENGTH(len(plain)) + plain


def _framed(oid: int, count: int, parts: Iterable[bytes]) -> bytes:
    return _HEAD(1, 0, oid, count, 1) + b"".join(parts) if count else _NONE(0, 0, oid)


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer:
        """See psycopg.adapt.Dumper."""
        return obj


class _Int8ArrayDumper(_PackedDumper):
    oid = 1016


class _ByteaArrayDumper(_PackedDumper):
    oid = 1001


class _TextArrayDumper(_PackedDumper):
    oid = 1009


def register(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Teach a connection to send packed arrays."""
    connection.adapters.register_dumper(Int8Array, _Int8ArrayDumper)
    connection.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
