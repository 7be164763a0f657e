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
    """The numbers of one append."""

    def __init__(self) -> None:
        self._found: set[int] = set()
        self._folders: set[bytes] = {b""}

    def add(self, path: bytes) -> None:
        """Add a path and the folders above it."""
        self._found.add((crc32(path) ^ _SIGN) - _SIGN)
        folder = path[: max(path.rfind(b"/"), 0)]
        while folder not in self._folders:
            self._folders.add(folder)
            self._found.add((crc32(folder) ^ _SIGN) - _SIGN)
            folder = folder[: max(folder.rfind(b"/"), 0)]

    def numbers(self, agents: set[str]) -> list[int]:
        """Return all of them."""
        return [*(self._found | {agent_place(agent) for agent in agents})]
