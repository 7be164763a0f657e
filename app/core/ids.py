"""Names for the plain numbers and strings that travel between parts.

An inode is unique in a project for ever: its upper bits are the incarnation that made it
(`first_inode`), so that no two mounts and no two starts of one mount can collide.
"""

from typing import Final, NewType

Inode = NewType("Inode", int)
Position = NewType("Position", int)
Sequence = NewType("Sequence", int)
Incarnation = NewType("Incarnation", int)
Fingerprint = NewType("Fingerprint", bytes)
ChunkHash = NewType("ChunkHash", bytes)

ROOT_INODE: Final = Inode(1)
NO_INODE: Final = Inode(0)
INODE_BITS: Final = 32
LOCAL: Final = 1 << 61
"""From here on are the inode numbers that a mount shows of ephemeral paths, far above any incarnation's."""
CHUNK_BYTES: Final = 128 * 1024
NAME_MAX: Final = 255
SECTION_NAMES: Final = frozenset({"current", "history", "streams", "debug"})
"""What a mount shows at its top, now or later."""

GENESIS_HASH: Final = bytes(32)

VersionId = tuple[int, int]
"""(incarnation, sequence) of the event that made a content version; (0, 0) is the empty new file."""

EMPTY_VERSION: Final[VersionId] = (0, 0)


def first_inode(incarnation: Incarnation) -> Inode:
    """Return the first inode number that `incarnation` may hand out; it owns 2**32 of them."""
    return Inode((incarnation << INODE_BITS) + 1)


def maker_of(inode: Inode) -> Incarnation:
    """Return the incarnation that made `inode` (0 for the root)."""
    return Incarnation(inode >> INODE_BITS)
