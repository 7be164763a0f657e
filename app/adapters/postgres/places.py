"""Numbers under which the log is searched: the CRC-32 of a path, of each folder above it, and of an agent."""

from zlib import crc32

_SIGN = 1 << 31


def path_place(path: bytes) -> int:
    """Return the number of a path without slashes at its ends."""
    return (crc32(path) ^ _SIGN) - _SIGN


def agent_place(agent: str) -> int:
    """Return the number of an agent."""
    return (crc32(b"\0" + agent.encode("utf-8", "replace")) ^ _SIGN) - _SIGN


class Places:
    """The numbers of one span."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self._folders: set[bytes] = {b""}

    def add(self, path: bytes, agent: str) -> None:
        """Add a path, the folders above it, and an agent."""
        self.numbers |= {path_place(path), agent_place(agent)}
        folder = path[: max(path.rfind(b"/"), 0)]
        while folder not in self._folders:
            self._folders.add(folder)
            self.numbers.add(path_place(folder))
            folder = folder[: max(folder.rfind(b"/"), 0)]
