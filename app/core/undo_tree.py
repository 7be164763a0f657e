"""A tree that remembers what each fold replaced, and can say how it differs from before."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from app.core.memory_tree import MemoryTree
from app.core.messages import Outcome
from app.core.nodes import Node
from app.core.operations import FileOperationRequest

NODE: Final = 0
CHILD: Final = 1
ALIAS: Final = 2
Undo = list[tuple[int, Any, Any]]
"""(kind, key, value before): restored backwards it brings back exactly what was there."""


class Loss(NamedTuple):
    """An own request that a program saw succeed and that no longer does; `outcome` says why."""

    incarnation: int
    sequence: int
    request: FileOperationRequest
    outcome: Outcome


class Changes(NamedTuple):
    """What differs in the visible tree: invalidate it in the kernel.

    `inodes`: attributes differ (also: appeared, vanished); `contents`, a part of them: version or size differs;
    `entries`: (directory, name) leads elsewhere or nowhere. `mismatches`: positions whose outcome here is not the
    store's: this tree is wrong and must be loaded anew. `replaced` and `gone`: the nodes before, of those of `inodes`
    that were there and still are, or are not any more.
    """

    inodes: frozenset[int]
    contents: frozenset[int]
    entries: frozenset[tuple[int, bytes]]
    losses: tuple[Loss, ...] = ()
    mismatches: tuple[int, ...] = ()
    replaced: Mapping[int, Node] = MappingProxyType({})
    gone: Mapping[int, Node] = MappingProxyType({})


NO_CHANGES: Final = Changes(frozenset(), frozenset(), frozenset())


class UndoTree(MemoryTree):
    """A MemoryTree whose changes are appended to `undo`; whoever folds sets a fresh list first."""

    def __init__(self) -> None:
        super().__init__()
        self.undo: Undo = []

    def put_node(self, inode: int, node: Node) -> None:
        """See TreeState."""
        self.undo.append((NODE, inode, self.nodes.get(inode)))
        self.nodes[inode] = node

    def drop_node(self, inode: int) -> None:
        """See TreeState."""
        self.undo.append((NODE, inode, self.nodes.get(inode)))
        super().drop_node(inode)

    def put_child(self, parent: int, name: bytes, inode: int) -> None:
        """See TreeState."""
        place, held = (parent, name), self.children.get(parent)
        self.undo.append((CHILD, place, None if held is None else held.get(name)))
        self._put_name(place, held, inode)

    def drop_child(self, parent: int, name: bytes) -> None:
        """See TreeState."""
        place, inode = (parent, name), self.children[parent].pop(name)
        self.undo.append((CHILD, place, inode))
        self._forget_name(inode, place)

    def put_alias(self, inode: int, target: int) -> None:
        """See TreeState."""
        self.undo.append((ALIAS, inode, self.aliases.get(inode)))
        self.aliases[inode] = target

    def restore(self, undo: Undo) -> None:
        """Put back what one fold replaced; folds are restored newest first."""
        for kind, key, before in reversed(undo):
            if kind == NODE:
                self._restore_node(key, before)
            elif kind == CHILD:
                self._restore_child(key, before)
            elif before is None:
                del self.aliases[key]
            else:
                self.aliases[key] = before

    def _restore_node(self, inode: int, before: Node | None) -> None:
        if before is None:
            MemoryTree.drop_node(self, inode)
        else:
            self.nodes[inode] = before

    def _restore_child(self, place: tuple[int, bytes], before: int | None) -> None:
        if before is None:
            MemoryTree.drop_child(self, *place)
        else:
            MemoryTree.put_child(self, *place, before)


class Difference:
    """What the visible tree held before a change, by key, and how it differs afterwards."""

    def __init__(self, tree: UndoTree) -> None:
        self._tree = tree
        self._before: dict[tuple[int, Any], Any] = {}

    def take_back(self, pending: Sequence[Undo]) -> None:
        """Restore what the pending folds (oldest first) replaced, remembering what was visible."""
        before = self._before
        for undo in reversed(pending):
            for kind, key, _ in undo:
                if (kind, key) not in before:  # no newer one has touched it: what is there now is visible
                    before[kind, key] = self._now(kind, key)
            self._tree.restore(undo)

    def remember(self, undo: Undo) -> None:
        """What a fold replaced was visible, unless a pending request had hidden it."""
        for kind, key, before in undo:
            self._before.setdefault((kind, key), before)

    def changes(self, losses: tuple[Loss, ...] = (), mismatches: tuple[int, ...] = ()) -> Changes:
        """Compare what was visible with what is visible now."""
        inodes: set[int] = set()
        contents: set[int] = set()
        entries: set[tuple[int, bytes]] = set()
        replaced: dict[int, Node] = {}
        gone: dict[int, Node] = {}
        for (kind, key), before in self._before.items():
            now = self._now(kind, key)
            if now == before:
                continue
            if kind == CHILD:
                entries.add(key)
            else:
                inodes.add(key)
                if kind != NODE:
                    continue
                if _content_differs(before, now):
                    contents.add(key)
                if before is not None:
                    (gone if now is None else replaced)[key] = before
        return Changes(frozenset(inodes), frozenset(contents), frozenset(entries), losses, mismatches, replaced, gone)

    def _now(self, kind: int, key: Any) -> Any:
        match kind:
            case 0:
                return self._tree.node(key)
            case 1:
                return self._tree.child(*key)
            case _:
                return self._tree.aliases.get(key)


def _content_differs(before: Node | None, now: Node | None) -> bool:
    return before is None or now is None or (before.version, before.size) != (now.version, now.size)
