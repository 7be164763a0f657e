"""What goes out to a worker. No code: structs are not compiled, what handles them is (ADR 0011)."""

import msgspec


class Asking(msgspec.Struct, frozen=True, array_like=True):
    """The wire form of ValidateBatch, with calls that are encoded already."""

    format: int
    project: str
    batch_id: str
    reply_to: str
    deadline_ms: int
    calls: tuple[msgspec.Raw, ...]
    policy_version: str
