"""A TreeState on dictionaries: the tree of a mount, of an import and of the simulator.

Every inode that has a name is in `_names` with one (parent, name); further names of hard links are in `_links`. The
paths of directories in which something was looked at are kept in `_paths`, each with all above it, until one of them
moves: a path costs a look-up, not its depth. The root (inode 1) is always there. Children keep no order.
"""

from collections.abc import Iterable
from typing import Final

from app.core.ids import ROOT_INODE
from app.core.tree import ROOT_NODE, Node

PATHS_MAX: Final = 1000
DEPTH_MAX: Final = 64
PATH_BYTES_MAX: Final = 4096
"""How many directories' paths are kept, of how many levels that come anew at once, and how long: at most 4 MiB.
Others are walked.
"""


class MemoryTree:
    """See TreeState; `nodes`, `children` and `aliases` may be read by anyone and are changed only through methods."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {ROOT_INODE: ROOT_NODE}
        self.children: dict[int, dict[bytes, int]] = {}
        self.aliases: dict[int, int] = {}
        self._names: dict[int, tuple[int, bytes]] = {}
        self._links: dict[int, list[tuple[int, bytes]]] = {}
        self._paths: dict[int, bytes] = {}

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
        self._put_name((parent, name), self.children.get(parent), inode)

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
        known = self._paths.get(inode)
        if known is not None:
            return known
        place = self._names.get(self.aliases.get(inode, inode))
        if place is None:
            return b""
        above = self._paths.get(place[0])
        if above is None:
            above = self._keep_paths(place[0])
        return above + b"/" + place[1] if above else place[1]

    def fill(
        self,
        nodes: Iterable[tuple[int, Node]],
        dentries: Iterable[tuple[int, bytes, int]],
        aliases: Iterable[tuple[int, int]],
    ) -> None:
        """Replace everything by the rows of a snapshot; a snapshot without the root gets the default one."""
        self.nodes, self.children, self.aliases = {ROOT_INODE: ROOT_NODE}, {}, dict(aliases)
        self._names, self._links, self._paths = {}, {}, {}
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

    def _keep_paths(self, directory: int) -> bytes:
        """Return the path of a directory, kept with those of all above: who moves one of these has them forgotten."""
        if len(self._paths) >= PATHS_MAX:
            self._paths.clear()
        names, paths = self._names, self._paths
        waiting = [directory]
        while (place := names.get(waiting[-1])) is not None and place[0] not in paths:
            waiting.append(place[0])
        parts = [] if place is None or not paths[place[0]] else [paths[place[0]]]
        for one in reversed(waiting):
            place = names.get(one)
            if place is not None:
                parts.append(place[1])
            if len(waiting) <= DEPTH_MAX and len(path := b"/".join(parts)) <= PATH_BYTES_MAX:
                paths[one] = path
        return b"/".join(parts)

    def _put_name(self, place: tuple[int, bytes], held: dict[bytes, int] | None, inode: int) -> None:
        parent, name = place
        if held is None:
            held = self.children[parent] = {}
        elif name in held:
            self._forget_name(held[name], place)
        held[name] = inode
        if inode in self._names:
            self._links.setdefault(inode, []).append(place)
        else:
            self._names[inode] = place

    def _forget_name(self, inode: int, place: tuple[int, bytes]) -> None:
        if inode in self._paths:
            self._paths.clear()
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
