"""What a changing call asks for: the operations that journal, tasks, events and feed all carry.

One wire form (msgpack arrays) from the journal to Postgres: a sealed request is shipped verbatim,
its bytes are the event's payload, and their SHA-256 is its digest. A field is only ever added at the end.
Names, paths and link targets are bytes and are never decoded. Times are nanoseconds since the epoch.
"""

import stat
from typing import Final

import msgspec

from app.core.ids import EMPTY_VERSION, VersionId

REQUEST_FORMAT: Final = 1


class Make(msgspec.Struct, frozen=True, array_like=True, tag="make"):
    """create, mkdir, symlink, mknod: `mode` is the full st_mode with its type bits."""

    parent: int
    name: bytes
    inode: int
    mode: int
    uid: int
    gid: int
    rdev: int = 0
    target: bytes = b""


class Link(msgspec.Struct, frozen=True, array_like=True, tag="link"):
    """A further name for `inode`."""

    inode: int
    parent: int
    name: bytes


class Unlink(msgspec.Struct, frozen=True, array_like=True, tag="unlink"):
    """Remove the name of a non-directory; `inode` is what the caller saw there."""

    parent: int
    name: bytes
    inode: int


class Rmdir(msgspec.Struct, frozen=True, array_like=True, tag="rmdir"):
    """Remove an empty directory; `inode` is what the caller saw there."""

    parent: int
    name: bytes
    inode: int


class Rename(msgspec.Struct, frozen=True, array_like=True, tag="rename"):
    """Move a name; `replaced` is the inode that the caller saw at the new name, 0 for none."""

    parent: int
    name: bytes
    inode: int
    new_parent: int
    new_name: bytes
    replaced: int = 0


class SetAttr(msgspec.Struct, frozen=True, array_like=True, tag="setattr"):
    """chmod, chown, utimens: None leaves an attribute alone; `mode` holds permission bits only."""

    inode: int
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class SetXattr(msgspec.Struct, frozen=True, array_like=True, tag="setxattr"):
    """Set one extended attribute."""

    inode: int
    name: bytes
    value: bytes


class RemoveXattr(msgspec.Struct, frozen=True, array_like=True, tag="removexattr"):
    """Remove one extended attribute."""

    inode: int
    name: bytes


class ChunkRef(msgspec.Struct, frozen=True, array_like=True):
    """Chunk `index` (of 128 KiB) now has the content `hash`; an empty hash is a hole."""

    index: int
    hash: bytes
    size_bytes: int


class Content(msgspec.Struct, frozen=True, array_like=True, tag="content", gc=False):
    """A sealed version: `base` with `chunks` replaced and the length set to `size`, whole.

    In the journal `chunks` is empty (the courier composes them from the write records before it);
    on the wire it is complete. `truncated`: made by truncate, ftruncate or O_TRUNC, not by writes.
    `append_from` >= 0: every byte was appended; it is the length of the base, and the store joins
    both ends when the base is no longer current.
    """

    inode: int
    base: VersionId
    size: int
    mtime_ns: int
    truncated: bool = False
    append_from: int = -1
    chunks: tuple[ChunkRef, ...] = ()


Operation = Make | Link | Unlink | Rmdir | Rename | SetAttr | SetXattr | RemoveXattr | Content


class FileOperationRequest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One sealed changing call of one origin; origin and incarnation stand once in the batch.

    `operation_type` is the event kind (`kind_of`). `path` is what the mount saw, for people and
    for the first policy check; the store computes its own. `at_ns` is the mount's wall clock.
    """

    origin_seq: int
    at_ns: int
    operation_type: str
    path: bytes
    agent_id: str
    session: str
    tool_call: str
    operation: Operation
    decision: str = ""
    uid: int = 0
    base_version: VersionId = EMPTY_VERSION


_MADE: Final = {stat.S_IFREG: "create", stat.S_IFDIR: "mkdir", stat.S_IFLNK: "symlink"}
_NAMED: Final = {kind: kind.__name__.lower() for kind in (Link, Unlink, Rmdir, Rename, SetAttr, SetXattr, RemoveXattr)}


def kind_of(operation: Operation) -> str:
    """Return the event kind: create, mkdir, symlink, mknod, link, unlink, rmdir, rename, setattr,
    setxattr, removexattr, write or truncate.
    """
    if isinstance(operation, Make):
        return _MADE.get(operation.mode & 0o170000, "mknod")
    if isinstance(operation, Content):
        return "truncate" if operation.truncated else "write"
    return _NAMED[type(operation)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(FileOperationRequest)


def encode_request(request: FileOperationRequest) -> bytes:
    """Return the one wire form of a request."""
    return _encoder.encode(request)


def decode_request(data: bytes) -> FileOperationRequest:
    """Decode a request; raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    return _decoder.decode(data)
