"""The conflict table of docs/protocol.md, row by row: A is first, B did not know."""

import pytest

from app.core.conflicts import conflict_names, place_of
from app.core.layers import LayeredTree
from app.core.memory_tree import MemoryTree
from app.core.messages import FeedEvent, Outcome
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    Operation,
    Rename,
    Rmdir,
    SetAttr,
    Unlink,
    encode_request,
    kind_of,
)
from app.core.tree import apply

FILE, DIRECTORY = 0o100644, 0o040755
A, B = 1, 2


class Store:
    def __init__(self) -> None:
        self.tree = MemoryTree()
        self.sequences = {A: 0, B: 0}

    def commit(self, origin: int, operation: Operation) -> Outcome:
        self.sequences[origin] += 1
        request = FileOperationRequest(self.sequences[origin], 10, kind_of(operation), b"", "", "", "", operation)
        return apply(self.tree, request, origin, "AB"[origin - 1])


@pytest.fixture
def store() -> Store:
    return Store()


def names(store: Store, directory: int = 1) -> dict[bytes, int]:
    return dict(store.tree.entries(directory))


def test_of_two_files_created_at_one_name_both_are_kept(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    assert store.commit(B, Make(1, b"x", 20, FILE, 0, 0)) == Outcome("renamed", name=b"x.conflict-B")
    assert store.commit(B, Make(1, b"x", 21, FILE, 0, 0)) == Outcome("renamed", name=b"x.conflict-B-2")
    assert names(store) == {b"x": 10, b"x.conflict-B": 20, b"x.conflict-B-2": 21}


def test_two_directories_made_at_one_name_become_one_with_the_children_of_both(store: Store) -> None:
    store.commit(A, Make(1, b"d", 10, DIRECTORY, 0, 0))
    assert store.commit(B, Make(1, b"d", 20, DIRECTORY, 0, 0)) == Outcome("merged", inode=10)
    assert store.commit(B, Make(20, b"y", 21, FILE, 0, 0)).kind == "applied"
    assert names(store, 10) == {b"y": 21}
    assert store.commit(B, Rename(1, b"d", 20, 1, b"e")).kind == "applied"
    assert names(store) == {b"e": 10}


def test_a_mount_that_does_not_know_of_its_conflict_name_still_reaches_its_file(store: Store) -> None:
    store.commit(A, Make(1, b"lock", 10, FILE, 0, 0))
    store.commit(B, Make(1, b"lock", 20, FILE, 0, 0))
    assert store.commit(B, Rename(1, b"lock", 20, 1, b"index")).kind == "applied"
    assert names(store) == {b"lock": 10, b"index": 20}
    store.commit(B, Make(1, b"lock", 21, FILE, 0, 0))
    assert store.commit(B, Unlink(1, b"lock", 21)) == Outcome("renamed", name=b"lock.conflict-B")
    assert names(store) == {b"lock": 10, b"index": 20}


def test_of_two_writes_the_later_is_the_content(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Content(10, (0, 0), 5, 1))
    assert store.commit(B, Content(10, (0, 0), 3, 1)).kind == "applied"
    assert (store.tree.nodes[10].version, store.tree.nodes[10].size) == ((B, 1), 3)


def test_appends_of_two_mounts_are_both_kept_and_the_composition_has_its_own_version(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Content(10, (0, 0), 5, 1, append_from=0))
    assert store.commit(B, Content(10, (0, 0), 3, 1, append_from=0)) == Outcome("composed", size=8)
    assert (store.tree.nodes[10].version, store.tree.nodes[10].size) == ((B, -1), 8)
    assert store.commit(B, Content(10, (B, 1), 4, 1, append_from=3)) == Outcome("composed", size=9)
    assert store.commit(A, Content(10, (B, -2), 11, 1, append_from=9)).kind == "applied"


def test_an_append_of_more_than_the_store_would_hold_in_memory_is_a_write(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Content(10, (0, 0), 5, 1, append_from=0))
    assert store.commit(B, Content(10, (0, 0), 1 << 43, 1, append_from=0)) == Outcome("applied")
    assert (store.tree.nodes[10].version, store.tree.nodes[10].size) == ((B, 1), 1 << 43)


def test_a_write_to_a_removed_file_does_not_bring_its_name_back(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Unlink(1, b"x", 10))
    for operation in (Content(10, (0, 0), 3, 1), SetAttr(10, mode=0o600), Link(10, 1, b"y")):
        assert store.commit(B, operation).kind == "shadowed"
    assert names(store) == {}


def test_a_name_that_another_took_is_not_removed_or_moved(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Unlink(1, b"x", 10))
    store.commit(A, Make(1, b"x", 11, FILE, 0, 0))
    assert store.commit(B, Unlink(1, b"x", 10)).reason == "stale"
    assert store.commit(B, Rename(1, b"x", 10, 1, b"y")).reason == "stale"
    assert names(store) == {b"x": 11}


def test_two_renames_that_would_make_a_cycle_leave_the_first(store: Store) -> None:
    store.commit(A, Make(1, b"d", 10, DIRECTORY, 0, 0))
    store.commit(A, Make(1, b"e", 11, DIRECTORY, 0, 0))
    assert store.commit(A, Rename(1, b"d", 10, 11, b"d")).kind == "applied"
    assert store.commit(B, Rename(1, b"e", 11, 10, b"e")).reason == "cycle"


def test_a_rename_over_what_its_caller_saw_wins_over_who_is_there_now(store: Store) -> None:
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    store.commit(A, Make(1, b"new", 11, FILE, 0, 0))
    store.commit(B, Make(1, b"newer", 20, FILE, 0, 0))
    store.commit(A, Rename(1, b"new", 11, 1, b"x", 10))
    assert store.commit(B, Rename(1, b"newer", 20, 1, b"x", 10)).kind == "applied"
    assert names(store) == {b"x": 20}
    assert set(store.tree.nodes) == {1, 20}


def test_a_rename_to_a_name_that_seemed_free_removes_nobody(store: Store) -> None:
    store.commit(B, Make(1, b"y", 20, FILE, 0, 0))
    store.commit(A, Make(1, b"x", 10, FILE, 0, 0))
    assert store.commit(B, Rename(1, b"y", 20, 1, b"x")) == Outcome("renamed", name=b"x.conflict-B")
    assert names(store) == {b"x": 10, b"x.conflict-B": 20}


def test_a_directory_that_another_filled_is_not_removed(store: Store) -> None:
    store.commit(A, Make(1, b"d", 10, DIRECTORY, 0, 0))
    store.commit(A, Make(10, b"x", 11, FILE, 0, 0))
    assert store.commit(B, Rmdir(1, b"d", 10)).reason == "not-empty"
    store.commit(A, Unlink(10, b"x", 11))
    store.commit(A, Rmdir(1, b"d", 10))
    assert store.commit(B, Make(10, b"y", 20, FILE, 0, 0)).reason == "no-parent"


def test_a_conflict_name_fits_a_directory_entry_whatever_the_mount_is_called() -> None:
    first, second = (name for name, _ in zip(conflict_names(b"n" * 255, "a/b\0" + "ö" * 400), range(2), strict=False))
    assert len(first) <= 255
    assert len(second) <= 255
    assert first != second
    assert b"/" not in first + second
    assert b"\0" not in first + second


def test_a_file_that_is_nowhere_is_not_looked_for_for_ever() -> None:
    assert place_of(MemoryTree(), 1, b"x", 5, "m") is None


def test_content_that_is_pending_stays_visible_until_it_is_confirmed_then_nothing_goes_back() -> None:
    mount = LayeredTree(B, "B")
    made = Make(1, b"x", 10, FILE, 0, 0)
    mount.fold([event(1, A, 1, made)])
    mount.perform(FileOperationRequest(1, 10, "write", b"x", "", "", "", Content(10, (0, 0), 3, 1)))
    changes = mount.fold([event(2, A, 2, Content(10, (0, 0), 5, 1))])
    assert mount.nodes[10].version == (B, 1)
    assert not changes.contents
    mount.fold([event(3, B, 1, Content(10, (0, 0), 3, 1))])
    assert mount.nodes[10].version == (B, 1)
    assert not mount.pending


def test_a_refused_write_shows_the_others_again_and_is_reported_as_lost() -> None:
    mount = LayeredTree(B, "B")
    mount.fold([event(1, A, 1, Make(1, b"x", 10, FILE, 0, 0)), event(2, A, 2, Content(10, (0, 0), 5, 1))])
    mount.perform(FileOperationRequest(1, 10, "write", b"x", "", "", "", Content(10, (A, 2), 3, 1)))
    changes = mount.fold([event(3, B, 1, Content(10, (A, 2), 3, 1), Outcome("rejected", reason="policy"))])
    assert mount.nodes[10].version == (A, 2)
    assert changes.contents == {10}
    assert [(loss.sequence, loss.outcome.reason) for loss in changes.losses] == [(1, "policy")]


def test_a_store_that_says_otherwise_than_this_tree_is_noticed() -> None:
    mount = LayeredTree(B, "B")
    assert mount.fold([event(1, A, 1, Unlink(1, b"x", 10))]).mismatches == (1,)


def test_events_that_were_confirmed_by_range_are_not_folded_again() -> None:
    mount = LayeredTree(B, "B")
    made = Make(1, b"x", 10, FILE, 0, 0)
    mount.perform(FileOperationRequest(1, 10, "create", b"", "", "", "", made))
    assert mount.confirm(1, 1, B) == 1
    before = dict(mount.nodes)
    mount.fold([event(1, B, 1, made)])
    assert mount.nodes == before


def event(position: int, origin: int, sequence: int, operation: Operation, outcome: Outcome = Outcome()) -> FeedEvent:
    request = FileOperationRequest(sequence, 10, kind_of(operation), b"", "", "", "", operation)
    return FeedEvent(position, origin, sequence, "AB"[origin - 1], encode_request(request), outcome, b"")
