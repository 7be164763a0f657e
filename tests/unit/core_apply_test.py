"""Folding is total, deterministic, and leaves a tree a tree, whatever another mount asks for."""

import tracemalloc
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import ROOT_INODE
from app.core.layers import LayeredTree
from app.core.memory_tree import MemoryTree
from app.core.messages import FeedEvent, Outcome
from app.core.nodes import is_directory
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Operation,
    RemoveXattr,
    Rename,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
    decode_request,
    encode_request,
    kind_of,
)
from app.core.tree import apply
from app.core.tree_hash import tree_hash

FILE, DIRECTORY, SYMLINK = 0o100644, 0o040755, 0o120777
INODES = st.integers(1, 12)
NAMES = st.sampled_from([b"a", b"b", b"c", b"a.conflict-m", b"a.conflict-n"])
VERSIONS = st.tuples(st.integers(0, 2), st.integers(0, 6))
LIKELY: st.SearchStrategy[Operation] = st.one_of(
    st.builds(
        Make,
        INODES,
        NAMES,
        st.integers(2, 12),
        st.sampled_from([FILE, DIRECTORY, DIRECTORY, SYMLINK]),
        st.just(0),
        st.just(0),
    ),
    st.builds(Make, INODES, NAMES, st.integers(2, 12), st.sampled_from([FILE, DIRECTORY]), st.just(0), st.just(0)),
    st.builds(Link, INODES, INODES, NAMES),
    st.builds(Unlink, INODES, NAMES, INODES),
    st.builds(Rmdir, INODES, NAMES, INODES),
    st.builds(Rename, INODES, NAMES, INODES, INODES, NAMES, st.integers(0, 12)),
    st.builds(SetAttr, INODES, mode=st.sampled_from([None, 0o600]), mtime_ns=st.sampled_from([None, 7])),
    st.builds(SetXattr, INODES, NAMES, st.binary(max_size=3)),
    st.builds(RemoveXattr, INODES, NAMES),
    st.builds(Content, INODES, VERSIONS, st.integers(0, 9), st.just(5), append_from=st.sampled_from([-1, -1, 0, 3])),
)
WILD_INTEGER = st.one_of(st.integers(-(2**63), 2**64 - 1), st.sampled_from([0, 1, 2, -1, 2**63 - 1, 2**63, 2**64 - 1]))
WILD_NAME = st.one_of(
    st.binary(max_size=300), st.sampled_from([b"", b".", b"..", b"a/b", b"\0", b"x" * 255, b"x" * 256])
)
WILD: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Make, WILD_INTEGER, WILD_NAME, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER),
    st.builds(Make, st.just(1), WILD_NAME, st.integers(2, 9), st.just(FILE), st.just(0), st.just(0)),
    st.builds(Link, WILD_INTEGER, WILD_INTEGER, WILD_NAME),
    st.builds(Unlink, WILD_INTEGER, WILD_NAME, WILD_INTEGER),
    st.builds(Rmdir, WILD_INTEGER, WILD_NAME, WILD_INTEGER),
    st.builds(Rename, WILD_INTEGER, WILD_NAME, WILD_INTEGER, WILD_INTEGER, WILD_NAME, WILD_INTEGER),
    st.builds(SetAttr, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER, WILD_INTEGER),
    st.builds(SetXattr, WILD_INTEGER, WILD_NAME, st.binary(max_size=9)),
    st.builds(RemoveXattr, WILD_INTEGER, WILD_NAME),
    st.builds(
        Content,
        WILD_INTEGER,
        st.tuples(WILD_INTEGER, WILD_INTEGER),
        WILD_INTEGER,
        WILD_INTEGER,
        append_from=WILD_INTEGER,
    ),
)


def ask(operation: Operation, sequence: int, at_ns: int | None = None) -> FileOperationRequest:
    at = sequence * 10 if at_ns is None else at_ns
    return FileOperationRequest(sequence, at, kind_of(operation), b"", "a", "s", "t", operation)


def picture(tree: MemoryTree) -> tuple[dict, dict, dict]:
    held = {parent: dict(names) for parent, names in tree.children.items() if names}
    return dict(tree.nodes), held, dict(tree.aliases)


def walked(tree: MemoryTree, inode: int) -> bytes:
    parts = []
    while places := tree.names_of(inode):
        inode, name = places[0]
        parts.append(name)
    return b"/".join(reversed(parts))


def check_tree(tree: MemoryTree) -> None:
    names = Counter(inode for held in tree.children.values() for inode in held.values())
    folders = Counter(p for p, held in tree.children.items() for i in held.values() if is_directory(tree.node(i)))
    for inode, node in tree.nodes.items():
        assert node.nlink == (2 + folders[inode] if is_directory(node) else names[inode])
        assert inode == ROOT_INODE or names[inode] >= 1
        assert not is_directory(node) or inode == ROOT_INODE or names[inode] == 1
        assert sorted(tree.names_of(inode)) == sorted(
            (p, n) for p, held in tree.children.items() for n, i in held.items() if i == inode
        )
        above, steps = inode, 0
        while is_directory(node) and above != ROOT_INODE:
            above, steps = tree.nodes[above].parent, steps + 1
            assert steps <= len(tree.nodes), "a cycle"
    assert {inode: tree.path_of(inode) for inode in tree.nodes} == {inode: walked(tree, inode) for inode in tree.nodes}
    assert set(names) <= set(tree.nodes)
    assert all(is_directory(tree.node(parent)) for parent, held in tree.children.items() if held)


@given(st.lists(st.tuples(LIKELY, st.sampled_from("mn")), max_size=40))
def test_a_tree_stays_a_tree_and_who_is_refused_changes_nothing(asked: list[tuple[Operation, str]]) -> None:
    one, two = MemoryTree(), MemoryTree()
    for sequence, (operation, origin) in enumerate(asked, 1):
        before = picture(one)
        outcome = apply(one, ask(operation, sequence), 1, origin)
        if outcome.kind in {"rejected", "shadowed"}:
            assert picture(one) == before
        assert apply(two, ask(operation, sequence), 1, origin) == outcome
        assert {i: one.path_of(i) for i in one.nodes} == {i: walked(one, i) for i in one.nodes}
    check_tree(one)
    assert picture(one) == picture(two)


def test_a_path_that_was_asked_for_follows_every_move_of_a_directory_above_it_and_back() -> None:
    tree = LayeredTree(1, "m")
    steps = [
        Make(1, b"a", 2, DIRECTORY, 0, 0), Make(2, b"b", 3, DIRECTORY, 0, 0), Make(3, b"f", 4, FILE, 0, 0),
        Make(1, b"z", 5, DIRECTORY, 0, 0), Rename(1, b"a", 2, 5, b"c"), Rename(2, b"b", 3, 1, b"d"),
        Rename(1, b"d", 3, 2, b"e"), Rename(5, b"c", 2, 1, b"z2"), Rmdir(1, b"z", 5), Rename(1, b"z2", 2, 1, b"z"),
    ]  # fmt: skip
    shown = []
    for sequence, operation in enumerate(steps, 1):
        assert tree.perform(ask(operation, sequence)).kind == "applied"
        shown.append(tree.path_of(4))
        check_tree(tree)
    assert shown[2:] == [b"a/b/f", b"a/b/f", b"z/c/b/f", b"d/f", b"z/c/e/f", b"z2/e/f", b"z2/e/f", b"z/e/f"]
    for sequence in range(len(steps), 3, -1):
        tree.reject(sequence)
        assert tree.path_of(4) == shown[sequence - 2]
        check_tree(tree)


def test_paths_of_directories_as_deep_as_anybody_makes_them_take_little_memory() -> None:
    tree, name = MemoryTree(), b"n" * 200
    tracemalloc.start()
    for inode in range(2, 1000):
        apply(tree, ask(Make(max(inode - 1, 1), name, inode, DIRECTORY, 0, 0), inode), 1, "m")
        assert tree.path_of(inode) == b"/".join([name] * (inode - 1))
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 8 * 1024 * 1024


@given(st.lists(st.one_of(LIKELY, WILD), max_size=25), WILD_INTEGER, st.text(max_size=300))
def test_no_decodable_request_makes_the_fold_raise_or_a_number_overflow(
    asked: list[Operation], at_ns: int, origin: str
) -> None:
    tree = MemoryTree()
    for sequence, operation in enumerate(asked, 1):
        request = decode_request(encode_request(ask(operation, sequence, at_ns if sequence % 3 == 0 else None)))
        assert isinstance(apply(tree, request, 1, origin), Outcome)
    check_tree(tree)
    for inode, node in tree.nodes.items():
        numbers = (inode, node.size, node.mtime_ns, node.ctime_ns, node.atime_ns, node.rdev, node.parent)
        assert all(-(2**63) <= number < 2**63 for number in numbers)
        assert all(0 <= number < 2**32 for number in (node.mode, node.uid, node.gid))
    assert all(0 < len(name) <= 255 for held in tree.children.values() for name in held)


@given(st.lists(LIKELY, max_size=30), st.lists(LIKELY, max_size=10))
def test_taking_pending_requests_back_restores_exactly_what_was_there(
    first: list[Operation], then: list[Operation]
) -> None:
    tree = LayeredTree(1, "m")
    for sequence, operation in enumerate(first, 1):
        tree.perform(ask(operation, sequence))
    tree.pending.clear()
    before = picture(tree)
    for sequence, operation in enumerate(then, len(first) + 1):
        tree.perform(ask(operation, sequence))
    assert picture(tree.confirmed()) == before
    check_tree(tree)
    for one in reversed(list(tree.pending)):
        tree.reject(one.sequence)
    assert picture(tree) == before


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("own"), LIKELY),
        st.tuples(st.just("own"), LIKELY),
        st.tuples(st.just("foreign"), LIKELY),
        st.tuples(st.just("commit"), st.integers(1, 3)),
        st.tuples(st.just("refuse"), st.just(1)),
    ),
    max_size=30,
)


@given(STEPS, st.booleans(), st.integers(1, 4))
def test_the_visible_tree_is_confirmed_plus_pending_and_each_difference_is_reported(
    steps: list, commuting: bool, batch: int
) -> None:
    """Against a model that folds everything anew after each event; events reach the mount in batches."""
    mount, store = LayeredTree(1, "m", commuting=commuting), MemoryTree()
    own: list[FileOperationRequest] = []
    outbox: list[FeedEvent] = []
    made, foreign, position = 0, 0, 0
    for what, value in steps:
        if what == "own":
            made += 1
            own.append(ask(value, made))
            mount.perform(own[-1])
            continue
        pick = [ask(value, foreign + 1)] if what == "foreign" else own[: value if what == "commit" else 1]
        for request in pick:
            position += 1
            if what == "foreign":
                foreign += 1
                outcome, maker, name = apply(store, request, 2, "n"), 2, "n"
            else:
                own.pop(0)
                refused = Outcome("rejected", reason="policy")
                outcome, maker, name = (refused if what == "refuse" else apply(store, request, 1, "m")), 1, "m"
            outbox.append(FeedEvent(position, maker, request.origin_seq, name, encode_request(request), outcome, b""))
        if len(outbox) >= batch:
            deliver(mount, outbox)
            outbox = []
            check_layers(mount, store, own)
    deliver(mount, outbox)
    check_layers(mount, store, own)


def deliver(mount: LayeredTree, events: list[FeedEvent]) -> None:
    before = picture(mount)
    changes = mount.fold(events)
    after = picture(mount)
    assert not changes.mismatches
    assert {i for i in before[0].keys() | after[0].keys() if before[0].get(i) != after[0].get(i)} <= changes.inodes
    was = {(p, n): i for p, held in before[1].items() for n, i in held.items()}
    now = {(p, n): i for p, held in after[1].items() for n, i in held.items()}
    assert {place for place in was.keys() | now.keys() if was.get(place) != now.get(place)} <= changes.entries


def check_layers(mount: LayeredTree, store: MemoryTree, own: list[FileOperationRequest]) -> None:
    assert [one.sequence for one in mount.pending] == [request.origin_seq for request in own]
    assert picture(mount.confirmed()) == picture(store)
    model = LayeredTree(1, "m")
    model.load(
        store.nodes.items(),
        [(p, n, i) for p, held in store.children.items() for n, i in held.items()],
        store.aliases.items(),
    )
    for request in own:
        model.perform(request)
    assert picture(model) == picture(mount)
    check_tree(mount)


def test_two_trees_of_the_same_paths_hash_alike_whatever_their_inodes() -> None:
    trees = []
    for base, order in ((10, (0, 1)), (50, (1, 0))):
        tree = MemoryTree()
        steps = [Make(1, b"a", base, FILE, 0, 0), Make(1, b"d", base + 1, DIRECTORY, 0, 0)]
        for index in order:
            apply(tree, ask(steps[index], 1, at_ns=3), 1, "m")
        apply(tree, ask(Link(base, base + 1, b"l"), 3, at_ns=3), 1, "m")
        trees.append(tree_hash(tree, lambda inode, node: b"same"))
    assert trees[0] == trees[1]
    assert trees[0] != tree_hash(MemoryTree(), lambda inode, node: b"same")
