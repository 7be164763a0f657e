"""What the kernel is told at the beginning: one bit more, where it offers it, and else what libfuse says."""

import os
import socket
import struct

import pytest

from app.core.errors import SetupError
from fuse_mount.handshake import HANDLE_KILLPRIV_V2, shake_hands, with_bit


def asked(flags: int) -> bytes:
    return struct.pack("<IIQQIIIIIIII", 56, 26, 1, 0, 0, 0, 0, 0, 7, 31, 0, flags)


def said(flags: int) -> bytes:
    return struct.pack("<IiQIIII", 40, 0, 1, 7, 19, 0, flags) + bytes(8)


@pytest.mark.parametrize("offered", [HANDLE_KILLPRIV_V2, 0])
def test_the_bit_is_said_where_the_kernel_offers_it(offered: int) -> None:
    assert with_bit(asked(offered | 1), said(32)) == (said(32 | offered), bool(offered))


@pytest.mark.parametrize(("question", "answer"), [(b"short", said(1)), (asked(HANDLE_KILLPRIV_V2), said(1)[:16])])
def test_what_has_no_flags_goes_on_as_it_is(question: bytes, answer: bytes) -> None:
    assert with_bit(question, answer) == (answer, False)


def test_the_first_request_is_answered_by_who_serves_and_the_next_one_comes_from_the_kernel() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        kernel.send(asked(HANDLE_KILLPRIV_V2))

        def serve() -> None:
            while True:
                os.write(ours.fileno(), said(32) if os.read(ours.fileno(), 4096) else b"")

        assert shake_hands(ours.fileno(), serve)
        assert kernel.recv(4096) == said(32 | HANDLE_KILLPRIV_V2)
        kernel.send(b"next")
        assert os.read(ours.fileno(), 4096) == b"next"


def test_who_answers_nothing_makes_no_mount() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        kernel.send(asked(0))
        with pytest.raises(SetupError):
            shake_hands(ours.fileno(), lambda: None)
