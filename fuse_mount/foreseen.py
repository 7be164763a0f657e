"""Content of other mounts' versions that came with the feed and was not asked for yet: the newest few."""

from collections import OrderedDict
from typing import Final

from app.core.ids import VersionId
from app.services.carrying import Carried

FORESEEN_BYTES: Final = 2 * 1024 * 1024


class Foreseen:
    """At most one version an inode; the oldest go."""

    def __init__(self, bytes_max: int = FORESEEN_BYTES) -> None:
        self.held_bytes = 0
        self._bytes_max = bytes_max
        self._kept: OrderedDict[int, Carried] = OrderedDict()

    def keep(self, one: Carried) -> None:
        """Hold a version; an older one of its inode goes."""
        self._drop(one.inode)
        self._kept[one.inode] = one
        self.held_bytes += one.size_bytes
        while self.held_bytes > self._bytes_max:
            self._drop(next(iter(self._kept)))

    def take(self, inode: int, version: VersionId) -> Carried | None:
        """Return a version, which is held no more; None where it is not here."""
        one = self._kept.get(inode)
        if one is None or one.version != version:
            return None
        self._drop(inode)
        return one

    def _drop(self, inode: int) -> None:
        one = self._kept.pop(inode, None)
        if one is not None:
            self.held_bytes -= one.size_bytes
