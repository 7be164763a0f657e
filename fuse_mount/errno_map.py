"""What a failed kernel request answers: the only place of this package that chooses an errno for an error."""

import errno
from typing import Final

import llfuse

from app.core.errors import JournalFull, WeirError

REASONS: Final = {
    "not-empty": errno.ENOTEMPTY,
    "no-parent": errno.ENOENT,
    "stale": errno.ENOENT,
    "cycle": errno.EINVAL,
    "exists": errno.EEXIST,
    "policy": errno.EACCES,
}


def refuse(code: int) -> llfuse.FUSEError:
    """Return the error that answers a request with `code`."""
    return llfuse.FUSEError(code)


def denied() -> llfuse.FUSEError:
    """Return the error that answers a request which the rules refuse."""
    return llfuse.FUSEError(errno.EACCES)


def errno_of(error: Exception) -> int:
    """Return the errno for any error of a handler: EIO unless it says more (a full journal, the disk's own errno)."""
    match error:
        case JournalFull():
            return errno.ENOSPC
        case MemoryError():
            return errno.ENOMEM
        case WeirError():
            return errno.EIO
        case OSError(errno=int(code)) if code in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM}:
            return code
        case _:
            return errno.EIO


def passed_on(error: OSError) -> llfuse.FUSEError:
    """Return the error that answers a request with what the disk itself said."""
    return llfuse.FUSEError(error.errno or errno.EIO)


def errno_of_rejection(reason: str) -> int:
    """Return the errno for an operation that the tree refused."""
    return REASONS.get(reason, errno.EIO)
