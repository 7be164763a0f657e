"""Path rules: what guards a path, and that the quick look never lets pass what a rule matches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import StoreUnavailable
from app.core.memory_tree import MemoryTree
from app.core.nodes import Node
from app.core.operations import FileOperationRequest, SetAttr
from app.core.policy import RuleFile, compile_policy, refusing
from app.core.policy.glob import compiled_bytes, path_expression
from app.core.policy.guards import PathGuards, names_inside
from app.core.policy.source import Tier
from app.services.path_check import PathCheck


def rule(name: str, decide: str, paths: list[str], access: tuple[str, ...] = ()) -> dict[str, object]:
    touch = {"path": paths, "access": list(access)}
    return {"id": name, "touch": touch, "on": ["write"], "decide": decide, "reason": f"{name} says so."}


def guards(*rules: dict[str, object]) -> PathGuards:
    return compile_policy([RuleFile("t.yaml", Tier.USER, list(rules), [1] * len(rules), b"")]).guards


PIECES = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*.b", ".", "é"])
PATTERNS = st.lists(PIECES, min_size=1, max_size=4).map("/".join)
PATHS = st.lists(st.sampled_from([b"a", b"b", b"ab", b"x.b", b".", b"\xff", "é".encode()]), min_size=1, max_size=4)


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATHS.map(b"/".join))
def test_a_path_is_refused_exactly_where_one_of_the_patterns_matches_it(patterns: list[str], path: bytes) -> None:
    found = guards(rule("one", "block", patterns)).refusal("write", path)
    assert (found is not None) == any(compiled_bytes((path_expression(p),)).fullmatch(path) for p in patterns)


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATHS, st.integers(1, 3))
def test_no_rule_reaches_into_a_directory_that_is_said_to_be_free(patterns: list[str], parts: list[bytes], cut: int) -> None:
    guarding, cut = guards(rule("one", "block", patterns)), min(cut, len(parts) - 1)
    if cut and not guarding.reaches_into(b"/".join(parts[:cut])):
        assert guarding.refusal("write", b"/".join(parts)) is None


def test_a_rule_guards_against_the_accesses_that_it_names_and_one_without_any_against_all() -> None:
    kept = guards(rule("kept", "block", ["data/**"], ("delete",)))
    assert kept.refusal("unlink", b"data/x") is not None
    assert kept.refusal("rename", b"data/x") is not None
    assert kept.refusal("create", b"data/x") is None
    assert kept.refusal("setattr", b"data/x") is None
    assert kept.refusal("something new", b"data/x") is not None
    every = guards(rule("every", "block", ["data/**"]))
    kinds = ["create", "mkdir", "mknod", "symlink", "write", "truncate", "setattr", "setxattr", "removexattr", "unlink"]
    assert all(every.refusal(kind, b"data/x") for kind in [*kinds, "rmdir", "rename", "link"])
    assert every.refusal("read", b"data/x") is None


def test_block_stands_above_escalate_and_what_approves_guards_nothing() -> None:
    both = guards(rule("ask", "escalate", ["a/**"]), rule("never", "block", ["a/b"]), rule("fine", "approve", ["c/**"]))
    assert str(both.refusal("write", b"a/b").verdict) == "block"
    assert str(both.refusal("write", b"a/c").verdict) == "escalate"
    assert both.refusal("write", b"c/d") is None


def tree_of(*paths: bytes) -> MemoryTree:
    tree = MemoryTree()
    for at, path in enumerate(paths, 2):
        *above, name = path.split(b"/")
        parent = 1
        for part in above:
            parent = tree.child(parent, part)
        directory = any(other.startswith(path + b"/") for other in paths)
        tree.put_node(at, Node(0o40755 if directory else 0o100644, 0, 0, 1, 0, 0, 0, 0))
        tree.put_child(parent, name, at)
    return tree


def test_a_directory_moves_only_where_nothing_inside_is_or_becomes_guarded() -> None:
    found = guards(rule("keys", "block", ["*.pem"]), rule("infra", "block", ["infra/live/**"]))
    tree = tree_of(b"a", b"a/live", b"a/live/x", b"b", b"b/k.pem")
    inside = {name: names_inside(tree, tree.child(1, name)) for name in (b"a", b"b")}
    assert found.refusal_of_move(b"a", b"c", inside[b"a"]) is None
    assert found.refusal_of_move(b"a", b"infra", inside[b"a"]).rule == "infra"
    assert found.refusal_of_move(b"infra", b"a", inside[b"a"]).rule == "infra"
    assert found.refusal_of_move(b"b", b"c", inside[b"b"]).rule == "keys"


def test_a_directory_too_large_to_look_into_does_not_move() -> None:
    tree = tree_of(b"a", b"a/live", b"a/live/x")
    assert names_inside(tree, 2, most=1) is None
    assert names_inside(tree, 2, most=2) == [b"/live", b"/live/x"]
    assert guards(rule("keys", "block", ["*.pem"])).refusal_of_move(b"a", b"b", None) is not None


class Broken:
    """Rules of which no file could ever be loaded."""

    alert = "rules.yaml:1: not YAML"
    policy = refusing(alert)
    guards = policy.guards
    stands_in = policy.stands_in
    version = policy.version

    def refresh(self) -> bool:
        return False


def test_without_rules_a_mount_refuses_every_change_and_the_store_decides_nothing() -> None:
    assert Broken.guards.refusal("write", b"any/\xffthing") is not None
    request = FileOperationRequest(1, 1, "setattr", b"", "", "", "", SetAttr(2))
    with pytest.raises(StoreUnavailable, match="no rules"):
        PathCheck(Broken()).path(b"any", request)
