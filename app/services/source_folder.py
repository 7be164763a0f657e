"""The folder that an import brings in: what is in it, where its files have data, and that it is none of Weir's own."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from app.core.errors import RequestInvalid

READ_BYTES: Final = 1024 * 1024


def check_outside(source: Path, own: Iterable[Path]) -> None:
    """Raise RequestInvalid for a folder that is, or lies in, one of `own` (Weir's mounts and state): it would bring in
    what it makes itself, without end. Where one of them lies in the folder, `walk` leaves it out.
    """
    for place in own:
        if source.resolve().is_relative_to(place.parent.resolve() / place.name):
            raise RequestInvalid(f"{source} is in {place}, which is Weir's own; name a folder outside")


def walk(source: bytes, excluded: frozenset[bytes]) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield (path, lstat) of everything below a folder, a folder before its content; excluded ones are not."""
    stack = [source]
    while stack:
        folder = stack.pop()
        try:
            entries = [entry for entry in sorted(os.scandir(folder), key=_name_of) if entry.path not in excluded]
            looked = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            what = f"{os.fsdecode(error.filename or folder)!r} cannot be looked at ({error.strerror})"
            raise RequestInvalid(f"{what}; move it away, or import what is beside it") from error
        yield from looked
        stack += [path for path, found in looked if stat.S_ISDIR(found.st_mode)]


def data_from(descriptor: int, offset: int) -> int:
    """Return where data goes on from `offset`, at the begin of a read of READ_BYTES, or the file's end: what lies
    between is a hole.
    """
    try:
        data = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        return max(offset, os.fstat(descriptor).st_size) if error.errno == errno.ENXIO else offset
    return max(offset, data - data % READ_BYTES)


def _name_of(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name
