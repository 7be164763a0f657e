"""The first message of a session, in which a mount says what it does by itself: more than libfuse 2.9 knows to say.

Unless it says FUSE_HANDLE_KILLPRIV_V2 (protocol 7.33) the kernel asks for security.capability before every write, and
twice for an O_TRUNC: 7-13 us each time. With it the kernel remembers that there is none until it reads the attributes
anew, and leaves it to the mount to take set-id bits away: it says so by a setattr that names nothing
(asked_attributes.py). libfuse builds the answer; for its first request it reads and writes a socket pair in the
place of the kernel's descriptor, and what it wrote goes on to the kernel with the bit set, where the kernel offers it.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from app.core.errors import SetupError

HANDLE_KILLPRIV_V2: Final = 1 << 28
_REQUEST_BYTES: Final = 132 * 1024
_FLAGS: Final = struct.Struct("<I")
_ASKED_AT: Final = 40 + 12
"""Where the flags stand behind a request's header: major, minor, max_readahead, flags."""
_SAID_AT: Final = 16 + 12


def shake_hands(descriptor: int, serve: Callable[[], None]) -> bool:
    """Answer the kernel's first request by `serve`, which ends with BlockingIOError once there is no other; tell
    whether the kernel asks nothing before a write now. Raises SetupError.
    """
    kernel = os.dup(descriptor)
    try:
        asked = os.read(kernel, _REQUEST_BYTES)
        said, has = with_bit(asked, _answered(descriptor, asked, serve))
        os.write(kernel, said)
    except OSError as error:
        raise SetupError(f"the kernel ended the session before it began: {error}") from error
    finally:
        os.dup2(kernel, descriptor, inheritable=False)
        os.close(kernel)
    return has


def with_bit(asked: bytes, said: bytes) -> tuple[bytes, bool]:
    """Return the answer with the bit set where the kernel offers it, and whether it does."""
    if len(asked) < _ASKED_AT + 4 or len(said) < _SAID_AT + 4:
        return said, False  # an old kernel's, or a refusal
    offered = _FLAGS.unpack_from(asked, _ASKED_AT)[0] & HANDLE_KILLPRIV_V2
    flags = _FLAGS.pack(_FLAGS.unpack_from(said, _SAID_AT)[0] | offered)
    return said[:_SAID_AT] + flags + said[_SAID_AT + 4 :], bool(offered)


def _answered(descriptor: int, asked: bytes, serve: Callable[[], None]) -> bytes:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        far.setblocking(False)
        near.setblocking(False)
        near.send(asked)
        os.dup2(far.fileno(), descriptor, inheritable=False)
        with contextlib.suppress(BlockingIOError):
            serve()
        return near.recv(_REQUEST_BYTES)
