"""A TreeState on dictionaries: the tree of a mount, of an import and of the simulator.

Every inode that has a name is in `_names` with one (parent, name), so that a path costs its depth; further
names of hard links are in `_links`. The root (inode 1) is always there. Children keep no order.
"""

from collections.abc import Iterable

from app.core.ids import ROOT_INODE
from app.core.tree import ROOT_NODE, Node


class MemoryTree:
    """See TreeState; `nodes`, `children` and `aliases` may be read by anyone and are changed only through methods."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {ROOT_INODE: ROOT_NODE}
        self.children: dict[int, dict[bytes, int]] = {}
        self.aliases: dict[int, int] = {}
        self._names: dict[int, tuple[int, bytes]] = {}
        self._links: dict[int, list[tuple[int, bytes]]] = {}

    def node(self, inode: int) -> Node | None:
        """See TreeState."""
        return self.nodes.get(inode)

    def child(self, parent: int, name: bytes) -> int | None:
        """See TreeState."""
        held = self.children.get(parent)
        return None if held is None else held.get(name)

    def has_children(self, directory: int) -> bool:
        """See TreeState."""
        return bool(self.children.get(directory))

    def alias(self, inode: int) -> int:
        """See TreeState."""
        return self.aliases.get(inode, inode)

    def put_node(self, inode: int, node: Node) -> None:
        """See TreeState."""
        self.nodes[inode] = node

    def drop_node(self, inode: int) -> None:
        """See TreeState."""
        del self.nodes[inode]
        self.children.pop(inode, None)

    def put_child(self, parent: int, name: bytes, inode: int) -> None:
        """See TreeState."""
        held = self.children.get(parent)
        if held is None:
            held = self.children[parent] = {}
        elif name in held:
            self._forget_name(held[name], (parent, name))
        held[name] = inode
        if inode in self._names:
            self._links.setdefault(inode, []).append((parent, name))
        else:
            self._names[inode] = (parent, name)

    def drop_child(self, parent: int, name: bytes) -> None:
        """See TreeState."""
        self._forget_name(self.children[parent].pop(name), (parent, name))

    def put_alias(self, inode: int, target: int) -> None:
        """See TreeState."""
        self.aliases[inode] = target

    def entries(self, directory: int) -> list[tuple[bytes, int]]:
        """Return (name, inode) of a directory, a copy."""
        return list(self.children.get(directory, {}).items())

    def names_of(self, inode: int) -> list[tuple[int, bytes]]:
        """Return every (parent, name) of an inode; empty for the root and for what has no name."""
        first = self._names.get(inode)
        return [] if first is None else [first, *self._links.get(inode, ())]

    def path_of(self, inode: int) -> bytes:
        """Return one path without a leading slash: b'' for the root and for what has no name. Aliases are resolved."""
        parts: list[bytes] = []
        place = self._names.get(self.aliases.get(inode, inode))
        while place is not None:
            parts.append(place[1])
            place = self._names.get(place[0])
        parts.reverse()
        return b"/".join(parts)

    def fill(
        self,
        nodes: Iterable[tuple[int, Node]],
        dentries: Iterable[tuple[int, bytes, int]],
        aliases: Iterable[tuple[int, int]],
    ) -> None:
        """Replace everything by the rows of a snapshot; a snapshot without the root gets the default one."""
        self.nodes, self.children, self.aliases = {ROOT_INODE: ROOT_NODE}, {}, dict(aliases)
        self._names, self._links = {}, {}
        self.nodes.update(nodes)
        # each number and each name once: 64 bytes less an inode, and 48 where a name is a frequent one
        number, word = dict(zip(self.nodes, self.nodes, strict=True)).get, dict[bytes, bytes]().setdefault
        above, held = int(ROOT_INODE), dict[bytes, int]()
        for parent, name, inode in dentries:
            if parent != above or not held:
                above = number(parent, parent)
                held = self.children.setdefault(above, {})
            child, place = number(inode, inode), (above, word(name, name))
            held[place[1]] = child
            if child in self._names:
                self._links.setdefault(child, []).append(place)
            else:
                self._names[child] = place

    def _forget_name(self, inode: int, place: tuple[int, bytes]) -> None:
        more = self._links.get(inode)
        if more is None:
            del self._names[inode]
            return
        if self._names[inode] == place:
            self._names[inode] = more.pop()
        else:
            more.remove(place)
        if not more:
            del self._links[inode]
