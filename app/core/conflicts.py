"""What becomes of an operation that met another mount's: names, places and ancestry.

Pure questions over a TreeState; the answers of the conflict table in docs/protocol.md are `Outcome` constants here,
so that `reason` stays a closed set of words: `REASONS`, to which the store adds `policy` and `internal`.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from app.core.ids import NAME_MAX, ROOT_INODE
from app.core.messages import Outcome
from app.core.nodes import TreeState
from app.core.operations import Content, FileOperationRequest, Link, Make, Rename, Rmdir, Unlink

ORIGIN_NAME_MAX: Final = 64
APPEND_MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes of one append that are composed: the store has them in memory for it. A mount seals after 8 MiB."""

SHADOWED: Final = Outcome("shadowed")
INVALID: Final = Outcome("rejected", reason="invalid")
NO_PARENT: Final = Outcome("rejected", reason="no-parent")
NOT_DIRECTORY: Final = Outcome("rejected", reason="not-directory")
IS_DIRECTORY: Final = Outcome("rejected", reason="is-directory")
NOT_EMPTY: Final = Outcome("rejected", reason="not-empty")
STALE: Final = Outcome("rejected", reason="stale")
CYCLE: Final = Outcome("rejected", reason="cycle")
EXISTS: Final = Outcome("rejected", reason="exists")
NO_XATTR: Final = Outcome("rejected", reason="no-xattr")
_REFUSALS: Final = (INVALID, NO_PARENT, NOT_DIRECTORY, IS_DIRECTORY, NOT_EMPTY, STALE, CYCLE, EXISTS, NO_XATTR)
REASONS: Final = frozenset(outcome.reason for outcome in _REFUSALS)


def is_name(name: bytes) -> bool:
    """Tell whether `name` can be a directory entry."""
    return 0 < len(name) <= NAME_MAX and b"/" not in name and b"\0" not in name and name not in {b".", b".."}


def conflict_names(name: bytes, origin_name: str) -> Iterator[bytes]:
    """Yield name.conflict-<mount>, name.conflict-<mount>-2, ...; each cut to 255 bytes from the name's end."""
    mount = origin_name.encode("utf-8", "replace").replace(b"/", b"_").replace(b"\0", b"_")[:ORIGIN_NAME_MAX]
    suffix = b".conflict-" + mount
    number = 1
    while True:
        ending = suffix if number == 1 else b"%s-%d" % (suffix, number)
        yield name[: NAME_MAX - len(ending)] + ending
        number += 1


def free_name(state: TreeState, parent: int, name: bytes, origin_name: str) -> bytes:
    """Return the first conflict name that the directory does not hold."""
    return next(candidate for candidate in conflict_names(name, origin_name) if state.child(parent, candidate) is None)


def place_of(state: TreeState, parent: int, name: bytes, inode: int, origin_name: str) -> bytes | None:
    """Return the name that `inode` has where its mount knows it as `name`; None if it is no longer there.

    A mount that does not know yet that its file was committed as a conflict name goes on naming it as before.
    """
    found = state.child(parent, name)
    if found == inode:
        return name
    for candidate in conflict_names(name, origin_name):
        other = state.child(parent, candidate)
        if other == inode:
            return candidate
        if other is None:
            return None
    return None


def lies_within(state: TreeState, directory: int, ancestor: int) -> bool:
    """Tell whether `directory` is `ancestor` or below it."""
    while directory not in {ancestor, ROOT_INODE}:
        node = state.node(directory)
        if node is None:
            return False
        directory = node.parent
    return directory == ancestor


class Affected(NamedTuple):
    """Inodes whose attributes or content, and (directory, name) entries whose target, an operation may have changed."""

    inodes: frozenset[int]
    entries: frozenset[tuple[int, bytes]]


_NOTHING: Final = Affected(frozenset(), frozenset())


def affected(state: TreeState, request: FileOperationRequest, outcome: Outcome) -> Affected:
    """Return what a folded request touched, from its own words: cheap, for the mount that made it.

    What a foreign request touched is `Changes` of app/core/layers.py, which compares values.
    """
    if outcome.kind in {"rejected", "shadowed"}:
        return _NOTHING
    operation = request.operation
    entries: set[tuple[int, bytes]] = set()
    inodes = {state.alias(operation.inode)}
    match operation:
        case Make(parent=parent, name=name) | Link(parent=parent, name=name) | Unlink(parent=parent, name=name):
            entries.add((state.alias(parent), name))
        case Rmdir(parent=parent, name=name):
            entries.add((state.alias(parent), name))
        case Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name, replaced=replaced):
            entries.update(((state.alias(parent), name), (state.alias(new_parent), new_name)))
            inodes.update({replaced} - {0})
        case _:
            pass
    inodes.update(directory for directory, _ in entries)
    if outcome.name:
        entries.update((directory, outcome.name) for directory, _ in tuple(entries))
    return Affected(frozenset(inodes), frozenset(entries))


def is_append_conflict(content: Content, version: tuple[int, int], size: int) -> bool:
    """Tell whether appended bytes must follow other bytes than those that their writer saw. Of more than a mount ever
    seals at once the later is the content, whole.
    """
    if content.append_from < 0 or content.size - content.append_from > APPEND_MAX_BYTES:
        return False
    return content.base != version or content.append_from != size
