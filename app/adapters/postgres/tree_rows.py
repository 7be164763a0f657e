"""The tree as the rows of one append: a TreeState with write-behind, kept between appends while the log stands still.

What was looked up is known, also that it is absent; what is unknown is fetched by `fetch`, which inside a transaction
asks the database and before it raises `Unknown`. A row's `since` is the position that made it so. A row of before this
append that it replaces becomes a past row; what is made and replaced within it never was: who asks for the tree between
folds the events of the append. Every change of a name touches its directory's node (touched.py relies on it).
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

import msgspec

from app.adapters.postgres.touched import name_key
from app.adapters.postgres.tree_changes import Name, TreeChanges
from app.core.ids import ROOT_INODE, maker_of
from app.core.tree import ROOT_NODE, Node, is_directory

TreeRow = tuple[str, int, int, int, bytes | None, bytes | None]
"""('d', inode, since, parent, name, -) | ('n', inode, since, -, -, node) | ('a', inode, since, target, -, -)"""

_encode: Final = msgspec.msgpack.Encoder().encode
decode_node: Final = msgspec.msgpack.Decoder(Node).decode
GONE_MAX: Final = 4096
"""So much of what was removed stays known to be absent: programs that save a file remove and make the same names."""


class Unknown(Exception):
    """A row is needed that only a transaction can read."""


class Wanted(NamedTuple):
    """Keys to fetch: nodes with all their names and all directories above, and names."""

    inodes: Sequence[int]
    names: Sequence[Name]


Fetch = Callable[[Wanted], Iterable[TreeRow]]
FindNames = Callable[[int, int], Sequence[bytes]]
FindBelow = Callable[[Sequence[int], int], Sequence[tuple[int, bytes, int]]]


def _refuse(_wanted: Wanted) -> Iterable[TreeRow]:
    raise Unknown


def _refuse_names(_directory: int, _limit: int) -> Sequence[bytes]:
    raise Unknown


def _refuse_below(_directories: Sequence[int], _limit: int) -> Sequence[tuple[int, bytes, int]]:
    raise Unknown


class TreeRows:
    """See TreeState. Set `own` (whose batch it is) and `position` before each fold; `take_changes` after the last."""

    def __init__(self) -> None:
        self.position = 0
        self.own = 0
        self.fetch: Fetch = _refuse
        self.find_names: FindNames = _refuse_names
        self.find_below: FindBelow = _refuse_below
        self.newest: dict[int, int] = {}
        self.newest_before: dict[int, int] = {}
        self.nodes_touched: list[int] = []
        self.names_touched: list[Name] = []
        self._nodes: dict[int, Node | None] = {ROOT_INODE: ROOT_NODE}
        self._node_since: dict[int, int] = {ROOT_INODE: 0}
        self._names: dict[Name, int | None] = {}
        self._name_since: dict[Name, int] = {}
        self._held: dict[int, dict[Name, None]] = {}
        self._aliases: dict[int, int] = {}
        self._whole: dict[int, int] = {}
        self._paths: dict[int, bytes] = {ROOT_INODE: b""}
        self._gone: deque[int | Name] = deque()
        self._forget_changes()

    def __len__(self) -> int:
        return len(self._nodes) + len(self._names)

    def _forget_changes(self) -> None:
        self._changed_nodes: dict[int, int] = {}
        self._changed_names: dict[Name, int] = {}
        self._read: set[int] = set()
        self._paths_read: set[int] = set()
        self.newest_before = dict(self.newest)
        self._nodes_past: list[tuple[int, int, int, bytes]] = []
        self._names_past: list[tuple[int, int, int, int, bytes]] = []
        self._new_aliases: list[tuple[int, int, int]] = []

    def _forget_gone(self) -> None:
        """What is not there and was removed long ago is unknown from now on: a writer lives long, and meets more names
        and inodes than there are at any time. Between appends only.
        """
        while len(self._gone) > GONE_MAX:
            key = self._gone.popleft()
            if isinstance(key, tuple):
                if self._names.get(key, 0) is None:
                    del self._names[key]
                    self._name_since.pop(key, None)
            elif self._nodes.get(key, ROOT_NODE) is None:
                del self._nodes[key]
                self._node_since.pop(key, None)
                self._held.pop(key, None)

    def closed(self) -> None:
        """From now on what is unknown cannot be read."""
        self.fetch, self.find_names, self.find_below = _refuse, _refuse_names, _refuse_below

    # reads

    def node(self, inode: int) -> Node | None:
        """See TreeState."""
        self._read.add(inode)
        known = self._nodes.get(inode)
        if known is None and inode not in self._nodes and not self._is_fresh(inode):
            self.load(Wanted((inode,), ()))
            known = self._nodes.get(inode)
        return known

    def child(self, parent: int, name: bytes) -> int | None:
        """See TreeState."""
        key = (parent, name)
        self._read.add(parent)
        held = self._names.get(key)
        if held is None and key not in self._names and parent not in self._whole:
            self.load(Wanted((), (key,)))
            held = self._names[key]
        return held

    def has_children(self, directory: int) -> bool:
        """See TreeState."""
        self._read.add(directory)
        count = self._whole.get(directory)
        if count is not None:
            return count > 0
        if any(held is not None and key[0] == directory for key, held in self._names_changed_to()):
            return True
        gone = {key[1] for key, held in self._names_changed_to() if key[0] == directory and held is None}
        return any(name not in gone for name in self.find_names(directory, len(gone) + 1))

    def _names_changed_to(self) -> Iterable[tuple[Name, int | None]]:
        return [(key, self._names[key]) for key in self._changed_names]

    def alias(self, inode: int) -> int:
        """See TreeState."""
        self._read.add(inode)
        if self._nodes.get(inode) is not None:
            return inode
        if inode not in self._aliases and inode not in self._nodes and not self._is_fresh(inode):
            self.load(Wanted((inode,), ()))
        return self._aliases.get(inode, inode)

    def path_of(self, inode: int) -> bytes:
        """Return one path without a leading slash; b'' for the root and for what has no name."""
        known = self._paths.get(inode)
        if known is not None:
            self._paths_read.add(inode)
            return known
        place = next(iter(self._held.get(inode, ())), None)
        if place is None:
            return b""
        above = self.path_of(place[0])
        path = above + b"/" + place[1] if above else place[1]
        if is_directory(self._nodes.get(inode)):
            self._paths[inode] = path
            self._paths_read.add(inode)
        return path

    def paths_of(self, inode: int) -> list[bytes]:
        """Return the path of each name of an inode."""
        self._read.add(inode)
        places = [(self.path_of(parent), name) for parent, name in self._held.get(inode, ())]
        return [above + b"/" + name if above else name for above, name in places]

    def inside(self, directory: int, most: int) -> list[bytes] | None:
        """Return the path of each name below a directory, with a leading slash; None where there are more than `most`.

        One question a level. Read under the log's lock only, where nothing else changes the tree.
        """
        found: list[bytes] = []
        level = {directory: b""}
        while level:
            rows = [row for row in self.find_below(list(level), most + 1) if row[:2] not in self._changed_names]
            rows += [(*key, held) for key, held in self._names_changed_to() if key[0] in level and held is not None]
            below = {inode: level[parent] + b"/" + name for parent, name, inode in rows}
            found += [level[parent] + b"/" + name for parent, name, _ in rows]
            if len(found) > most:
                return None
            level = below
        return found

    def _is_fresh(self, inode: int) -> bool:
        """An inode above the newest of the batch's incarnation cannot be there; others may have gone on unseen."""
        newest = self.newest.get(self.own) if maker_of_plain(inode) == self.own else None
        return newest is not None and inode > newest

    # writes

    def put_node(self, inode: int, node: Node) -> None:
        """See TreeState."""
        self._leave_node(inode)
        if self._nodes.get(inode) is None:
            if is_directory(node):
                self._whole[inode] = 0
            maker = maker_of_plain(inode)
            if inode > self.newest.get(maker, inode):
                self.newest[maker] = inode
        self._nodes[inode] = node
        self._node_since[inode] = self.position

    def drop_node(self, inode: int) -> None:
        """See TreeState."""
        self._leave_node(inode)
        self._nodes[inode], self._node_since[inode] = None, -1
        self._whole.pop(inode, None)
        self._paths.pop(inode, None)

    def was_dropped(self, inode: int) -> bool:
        """Tell whether this append removed the node."""
        return inode in self._changed_nodes and self._nodes.get(inode) is None

    def _leave_node(self, inode: int) -> None:
        """Remember the row of before this append, once."""
        if inode in self._changed_nodes:
            return
        old = self._nodes.get(inode)
        since = self._changed_nodes[inode] = -1 if old is None else self._node_since[inode]
        if since > 0:
            self._nodes_past.append((inode, since, self.position, _encode(old)))

    def put_child(self, parent: int, name: bytes, inode: int) -> None:
        """See TreeState."""
        key = (parent, name)
        if not self._leave_name(key) and parent in self._whole:
            self._whole[parent] += 1
        self._names[key] = inode
        self._name_since[key] = self.position
        self._held.setdefault(inode, {})[key] = None

    def drop_child(self, parent: int, name: bytes) -> None:
        """See TreeState."""
        key = (parent, name)
        if self._leave_name(key) and parent in self._whole:
            self._whole[parent] -= 1
        self._names[key] = None

    def _leave_name(self, key: Name) -> bool:
        old = self._names.get(key)
        if key not in self._changed_names:
            since = self._changed_names[key] = -1 if old is None else self._name_since[key]
            if old is not None:
                self._names_past.append((key[0], old, since, self.position, key[1]))
        if old is None:
            return False
        self._held.get(old, {}).pop(key, None)
        if is_directory(self._nodes.get(old)):
            self._paths = {ROOT_INODE: b""}
        return True

    def put_alias(self, inode: int, target: int) -> None:
        """See TreeState."""
        self._aliases[inode] = target
        self._new_aliases.append((inode, target, self.position))
        maker = maker_of_plain(inode)
        if inode > self.newest.get(maker, inode):
            self.newest[maker] = inode

    # rows in and out

    def unknown(self, wanted: Wanted) -> Wanted:
        """Return the part of `wanted` that is not known yet."""
        inodes = [i for i in wanted.inodes if i not in self._nodes and i not in self._aliases and not self._is_fresh(i)]
        names = [
            key
            for key in wanted.names
            if key not in self._names and key[0] not in self._whole and not self._is_fresh(key[0])
        ]
        return Wanted(inodes, names)

    def load(self, wanted: Wanted) -> None:
        """Fetch rows and remember them, and what was not among them as absent."""
        self.absorb(wanted, self.fetch(wanted))

    def absorb(self, wanted: Wanted, rows: Iterable[TreeRow]) -> None:
        """Remember rows as they were before this append; what is known already stays."""
        for kind, inode, since, parent, name, node in rows:
            if kind == "d":
                self._absorb_name((parent, name or b""), inode, since)
            elif kind == "a":
                self._aliases.setdefault(inode, parent)
            elif inode not in self._node_since:
                self._nodes[inode] = decode_node(node or b"")
                self._node_since[inode] = since
            elif inode == ROOT_INODE and self._node_since[inode] == 0 and inode not in self._changed_nodes:
                self._nodes[inode], self._node_since[inode] = decode_node(node or b""), since
        for inode in wanted.inodes:
            self._nodes.setdefault(inode, None)
        for key in wanted.names:
            self._names.setdefault(key, None)

    def _absorb_name(self, key: Name, inode: int, since: int) -> None:
        if key not in self._names:
            self._names[key] = inode
            self._name_since[key] = since
            self._held.setdefault(inode, {})[key] = None

    def reads(self) -> Callable[[], list[int]]:
        """Return what tells, until the next fold, the keys that it relied on: inodes, names of folders in paths."""
        read, changed, since, own = self._read, self._changed_nodes, self._node_since, self.own
        newest = self.newest_before.get(own, 1 << 63)
        folders = partial(self._folders_read, self._paths_read, self._changed_names)

        def told() -> list[int]:
            known = [(i, changed[i] if i in changed else since.get(i, -1)) for i in read]
            keys = [i for i, at in known if at >= 0 or i <= newest or maker_of_plain(i) != own]
            return keys + [name_key(*place) for place in folders()]

        return cache(told)

    def touched(self) -> list[int]:
        """Return the keys of what this append changes: inodes, and names that lead or led to a folder."""
        nodes = self._nodes
        places = [(key, self._names[key]) for key in self._changed_names]
        places += [((parent, name), held) for parent, held, _, _, name in self._names_past]
        leading = {
            name_key(*key)
            for key, inode in places
            if inode is not None and ((node := nodes.get(inode)) is None or is_directory(node))
        }
        return [*self._changed_nodes, *(inode for inode, _, _ in self._new_aliases), *leading]

    def _folders_read(self, paths_read: set[int], changed_names: dict[Name, int]) -> Iterable[Name]:
        waiting, seen = list(paths_read), {int(ROOT_INODE)}
        while waiting:
            inode = waiting.pop()
            if inode in seen:
                continue
            seen.add(inode)
            for key in self._held.get(inode, ()):
                waiting.append(key[0])
                if key not in changed_names:
                    yield key

    def take_changes(self) -> TreeChanges:
        """Return the changes since the last call."""
        nodes = [(i, before, self._nodes[i]) for i, before in self._changed_nodes.items()]
        names = [(key, before, self._names[key]) for key, before in self._changed_names.items()]
        since, name_since = self._node_since, self._name_since
        self.nodes_touched = [i for i, _, node in nodes if node is not None]
        self.names_touched = [key for key, _, held in names if held is not None]
        self._gone.extend(i for i, _, node in nodes if node is None)
        self._gone.extend(key for key, _, held in names if held is None)
        changes = TreeChanges(
            [(i, since[i], _encode(node)) for i, before, node in nodes if node is not None and before < 1],
            [(i, since[i], _encode(node)) for i, before, node in nodes if node is not None and before > 0],
            [(i,) for i, before, node in nodes if node is None and before > 0],
            self._nodes_past,
            [(key[0], held, name_since[key], key[1]) for key, before, held in names if held is not None and before < 0],
            [
                (key[0], held, name_since[key], key[1])
                for key, before, held in names
                if held is not None and before >= 0
            ],
            [key for key, before, held in names if held is None and before >= 0],
            self._names_past,
            self._new_aliases,
        )
        self._forget_changes()
        self._forget_gone()
        return changes

    def moved(self, step: int) -> None:
        """The changes taken last were appended `step` positions later than they were folded for."""
        for inode in self.nodes_touched:
            self._node_since[inode] += step
        for key in self.names_touched:
            self._name_since[key] += step


def maker_of_plain(inode: int) -> int:
    """Return the number of the incarnation that made `inode`."""
    return maker_of(inode)  # type: ignore[arg-type]
