"""Path rules on a real mount: each call that makes, opens for writing, changes or removes a guarded path is EACCES."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.adapters.journal.spool import SpoolFolder  # noqa: E402
from app.adapters.postgres.decisions import decode_record  # noqa: E402
from app.core.decisions import DecisionRecord  # noqa: E402

PROJECT = "0" * 32
RULES = """
rules:
  - id: live
    touch: {path: ["infra/live/**"]}
    on: [write]
    decide: block
    reason: Live infrastructure is not edited here.
    remedy: Open a change request.
  - id: keys
    touch: {path: ["*.pem"]}
    on: [write]
    decide: escalate
    reason: Keys are a person's business.
"""
OTHERS = "rules:\n  - {id: docs, touch: {path: ['docs/**']}, on: [write], decide: block, reason: Frozen.}\n"


@pytest.fixture
def rules(short_path: Path) -> Path:
    folder = short_path / "rules"
    folder.mkdir()
    return folder


@pytest.fixture
def mount(short_path: Path, rules: Path) -> Iterator[LoneMount]:
    """`infra/live/main` and `site.pem` are there from before the rules; `held` is another name of the first."""
    (rules / "r.yaml").write_text("rules:\n  - {id: none, match: 'Bash(x)', decide: block, reason: Nothing.}\n")
    found = LoneMount(short_path / "one", environ={"ALONE_RULES": str(rules)})
    (found.tree / "infra" / "live").mkdir(parents=True)
    (found.tree / "infra" / "live" / "main").write_text("live")
    (found.tree / "site.pem").write_text("key")
    os.link(found.tree / "infra" / "live" / "main", found.tree / "held")
    (found.tree / "free").write_text("free")
    (found.tree / "empty").mkdir()
    put(rules, RULES, found)
    yield found
    found.stop()


def health(mount: LoneMount) -> dict:
    return json.loads((mount.root / "debug" / "health").read_text())


def put(rules: Path, text: str, mount: LoneMount) -> None:
    before = health(mount)["rules"]
    fresh = rules / ".fresh"
    fresh.write_text(text)
    fresh.rename(rules / "r.yaml")
    deadline = time.monotonic() + 5
    while health(mount)["rules"] == before:
        assert time.monotonic() < deadline, "the rules were not read again"
        time.sleep(0.02)


def denial(mount: LoneMount) -> dict:
    return json.loads((mount.root / "debug" / "last-denial").read_text())


def recorded(mount: LoneMount) -> list[DecisionRecord]:
    spools = SpoolFolder(mount.folder / "home" / "denials", PROJECT)
    return [decode_record(body) for spool in spools.spools() for run in spools.open(spool).poll() for body in run.bodies]


CALLS: dict[str, Callable[[Path], object]] = {
    "create": lambda tree: (tree / "infra/live/new").touch(),
    "create, name matched": lambda tree: (tree / "a.pem").touch(),
    "mkdir": lambda tree: (tree / "infra/live/d").mkdir(),
    "mknod": lambda tree: os.mkfifo(tree / "infra/live/p"),
    "symlink": lambda tree: (tree / "infra/live/s").symlink_to("x"),
    "open for writing": lambda tree: os.open(tree / "infra/live/main", os.O_WRONLY),
    "open for both": lambda tree: os.open(tree / "infra/live/main", os.O_RDWR),
    "open, cut short": lambda tree: os.open(tree / "infra/live/main", os.O_RDONLY | os.O_TRUNC),
    "open for writing by its other name": lambda tree: os.open(tree / "held", os.O_WRONLY),
    "truncate": lambda tree: os.truncate(tree / "infra/live/main", 0),
    "truncate by its other name": lambda tree: os.truncate(tree / "held", 0),
    "chmod": lambda tree: (tree / "infra/live/main").chmod(0o600),
    "chmod by its other name": lambda tree: (tree / "held").chmod(0o600),
    "chown": lambda tree: os.chown(tree / "infra/live/main", 1, 1),
    "utimens": lambda tree: os.utime(tree / "infra/live/main"),
    "setxattr": lambda tree: os.setxattr(tree / "held", "user.a", b"b"),
    "unlink": lambda tree: (tree / "infra/live/main").unlink(),
    "rmdir": lambda tree: (tree / "infra/live").rmdir(),
    "rename away": lambda tree: (tree / "infra/live/main").rename(tree / "moved"),
    "rename to": lambda tree: (tree / "free").rename(tree / "infra/live/free"),
    "rename over": lambda tree: (tree / "free").rename(tree / "site.pem"),
    "rename the directory itself": lambda tree: (tree / "infra/live").rename(tree / "dead"),
    "rename the directory above": lambda tree: (tree / "infra").rename(tree / "other"),
    "link to": lambda tree: os.link(tree / "free", tree / "infra/live/l"),
    "link from": lambda tree: os.link(tree / "site.pem", tree / "plain"),
}


def test_every_call_that_would_touch_a_guarded_path_is_refused_and_changes_nothing(mount: LoneMount) -> None:
    before = sorted(str(path) for path in mount.tree.rglob("*"))
    sequence = health(mount)["sequence"]
    for name, call in CALLS.items():
        if name == "rmdir":
            continue  # not empty: said so first
        with pytest.raises(OSError, match=".") as refused:
            call(mount.tree)
        assert refused.value.errno == errno.EACCES, name
    assert sorted(str(path) for path in mount.tree.rglob("*")) == before
    assert (health(mount)["sequence"], mount.tree.joinpath("held").read_text()) == (sequence, "live")
    assert len(recorded(mount)) == len(CALLS) - 1, "each EACCES is recorded, once"


def test_what_no_rule_guards_goes_on(mount: LoneMount) -> None:
    tree = mount.tree
    assert (tree / "infra" / "live" / "main").read_text() == "live"
    (tree / "free").rename(tree / "free2")
    (tree / "empty").rename(tree / "full")
    (tree / "infra" / "test").mkdir()
    (tree / "infra" / "test" / "x").write_text("y")
    (tree / "infra" / "test").rename(tree / "infra" / "stage")
    (tree / "live").mkdir()


def test_a_refusal_is_explained_and_recorded_with_who_asked(mount: LoneMount) -> None:
    with pytest.raises(PermissionError):
        (mount.tree / "infra/live/new").touch()
    said = denial(mount)
    assert (said["operation"], said["path"], said["rule"]) == ("create", "infra/live/new", "live")
    assert (said["verdict"], said["remedy"]) == ("block", "Open a change request.")
    (record,) = recorded(mount)
    assert (record.id, record.verdict, record.rules) == (said["decision"], "block", ("live",))
    assert (record.tool, record.layer, record.agent) == ("filesystem", "mount", said["agent"])
    assert json.loads(record.input) == {"operation": "create", "path": "infra/live/new"}
    assert record.policy_version == health(mount)["rules"]


def test_escalate_says_that_a_call_waits_for_nobody(mount: LoneMount) -> None:
    with pytest.raises(PermissionError):
        (mount.tree / "site.pem").write_text("other")
    assert denial(mount)["verdict"] == "escalate"
    assert "no ticket" in denial(mount)["remedy"]


def test_rules_that_change_are_in_force_within_a_second_and_broken_ones_are_told(mount: LoneMount, rules: Path) -> None:
    put(rules, OTHERS, mount)
    (mount.tree / "infra/live/new").touch()
    with pytest.raises(PermissionError):
        (mount.tree / "docs").mkdir()
    (rules / "r.yaml").write_text("rules: [")
    deadline = time.monotonic() + 5
    while not any(problem.startswith("rules: ") for problem in health(mount)["problems"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(PermissionError):
        (mount.tree / "docs").mkdir()


def test_where_no_rule_could_be_loaded_everything_may_be_read_and_nothing_changed(short_path: Path, rules: Path) -> None:
    (rules / "r.yaml").write_text("rules: [")
    mount = LoneMount(short_path / "one", environ={"ALONE_RULES": str(rules)})
    try:
        with pytest.raises(PermissionError):
            (mount.tree / "x").touch()
        assert os.listdir(mount.tree) == []
    finally:
        mount.stop()


def test_refusals_that_no_log_takes_are_counted_and_told_and_still_refused(short_path: Path, rules: Path) -> None:
    (rules / "r.yaml").write_text(RULES)
    mount = LoneMount(short_path / "one", environ={"ALONE_RULES": str(rules), "ALONE_DENIALS": "1500"})
    try:
        for _ in range(10):
            with pytest.raises(PermissionError):
                (mount.tree / "a.pem").touch()
        said = health(mount)
        assert len(recorded(mount)) + said["denials_unrecorded"] == 10
        assert said["denials_unrecorded"] > 0
        assert any("in no log" in problem for problem in said["problems"])
        assert denial(mount)["decision"] == ""
    finally:
        mount.stop()


def test_a_file_opened_before_the_rule_goes_on_until_it_is_closed(mount: LoneMount, rules: Path) -> None:
    (mount.tree / "docs").mkdir()
    with (mount.tree / "docs" / "open").open("w") as file:
        put(rules, OTHERS, mount)
        file.write("more")
    assert (mount.tree / "docs" / "open").read_text() == "more"
