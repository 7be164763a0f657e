"""The handlers of a mount as llfuse calls them: each converts, asks, converts, and lets nothing but FUSEError out."""

import errno
from collections import Counter
from pathlib import Path
from typing import Final, NoReturn

import llfuse

from fuse_mount.content_calls import ContentCalls
from fuse_mount.crossing import BY_NUMBER, Crossing, passing
from fuse_mount.guard import answered, answered_by_number
from fuse_mount.readers import SessionEnd
from fuse_mount.state import MountState

HANDLERS: Final = tuple(name for name in vars(llfuse.Operations) if not name.startswith("_"))


XATTR_HANDLERS: Final = ("getxattr", "setxattr", "listxattr", "removexattr")


def _unknown(*_request: object) -> NoReturn:
    """Say that there is no such call: the kernel asks no more, where it asks getxattr before every write else."""
    raise llfuse.FUSEError(errno.ENOSYS)


def _end(*_request: object) -> NoReturn:
    raise SessionEnd


class Operations(ContentCalls):
    """See llfuse.Operations; `home` is a folder on the disk that holds the journal."""

    def __init__(self, state: MountState, home: Path) -> None:
        super().__init__(state)
        self.home = home
        crossing = {} if state.ephemeral is None else Crossing(state.border, self, self.local).handlers()
        for name in HANDLERS:
            call = crossing.get(name) or getattr(self, name)
            if name in BY_NUMBER and state.ephemeral is not None:
                passed = passing(getattr(self.local, name))
                setattr(self, name, answered_by_number(call, passed, state.counters))
            else:
                setattr(self, name, answered(call, state.counters))
        if not state.options.xattrs:
            for name in XATTR_HANDLERS:
                setattr(self, name, _unknown)

    def end(self) -> None:
        """Answer every further request EIO, and have llfuse end its loops: an error that leaves a handler does that."""
        for name in HANDLERS:
            setattr(self, name, _end)

    @property
    def counters(self) -> Counter[str]:
        """What went wrong, and how often."""
        return self.state.counters
