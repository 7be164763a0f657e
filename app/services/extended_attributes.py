"""Extended attributes of what lies on this machine's disk, as import and export carry them: what a mount keeps."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from app.core.attributes import NAMESPACES
from app.core.operations import RemoveXattr, SetXattr

Pairs = Iterable[tuple[bytes, bytes]]
_NONE: Final = frozenset((errno.ENOTSUP, errno.ENODATA, errno.ENOENT))


def read(place: bytes | int) -> dict[bytes, bytes]:
    """Return name and value of each, of a path (a symlink's own) or of an open file; raises OSError."""
    follows = isinstance(place, int)
    found: dict[bytes, bytes] = {}
    try:
        for name in os.listxattr(place, follow_symlinks=follows):
            key = os.fsencode(name)
            if key.startswith(NAMESPACES):
                found[key] = os.getxattr(place, name, follow_symlinks=follows)
    except OSError as error:
        if error.errno not in _NONE:  # a filesystem without them, or one that went meanwhile
            raise
    return found


def changes(inode: int, held: Pairs, wanted: Mapping[bytes, bytes]) -> Iterator[SetXattr | RemoveXattr]:
    """Yield what makes those that an inode has the wanted ones."""
    before = dict(held)
    yield from (SetXattr(inode, name, value) for name, value in wanted.items() if before.get(name) != value)
    yield from (RemoveXattr(inode, name) for name in before if name not in wanted)


def write(path: bytes, pairs: Pairs) -> str:
    """Give a path (a symlink itself) its attributes; return why not all of them could be, '' where they are."""
    failed = ""
    for name, value in pairs:
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            failed = f"{os.fsdecode(name)}: {os.strerror(error.errno or 0)}"
    return failed
