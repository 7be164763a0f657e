"""`weir policy`: what a person who writes rules is told, before anything takes effect."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.adapters.policy_files import Place
from app.adapters.rule_book import FolderRuleBook
from app.adapters.rule_versions import KEPT
from app.core.errors import RequestInvalid
from app.core.policy.source import Tier
from app.entry.cli import application

BLOCKS = "rules:\n  - id: pushes\n    match: Bash(git push *)\n    decide: escalate\n    reason: It leaves.\n    remedy: Ask.\n"
LIFTS = (
    "rules:\n  - id: topics\n    match: Bash(git push origin topic-*)\n    decide: approve\n    reason: Ours.\n"
    "    lifts: [pushes]\n    examples: {match: [git push origin topic-1], no_match: [git push]}\n"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one default rule, and one of the user's that lifts it."""
    default, home = tmp_path / "default", tmp_path / "home"
    default.mkdir()
    (default / "d.yaml").write_text(BLOCKS)
    (home / "policies").mkdir(parents=True)
    (home / "policies" / "u.yaml").write_text(LIFTS)
    monkeypatch.setenv("WEIR_POLICIES", str(default))
    monkeypatch.setenv("WEIR_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def weir(*arguments: str, exits: int = 0):
    ran = CliRunner().invoke(application(["policy"]), ["policy", *arguments])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == exits, ran.output
    return ran


def told(*arguments: str, exits: int = 0):
    return json.loads(weir(*arguments, "--json", exits=exits).stdout)


def thousand(bad: int | None) -> str:
    def rule(number: int) -> str:
        example = "ls" if number == bad else f"tool{number} x"
        head = f"  - id: r{number}\n    match: Bash(tool{number} *)\n    decide: block\n    reason: Because.\n"
        return head + f"    examples: {{match: [{example}]}}\n"

    return "rules:\n" + "".join(map(rule, range(1000)))


def test_rules_that_hold_are_counted_by_file_and_tier(home: Path) -> None:
    found = told("check")
    assert found["ok"]
    assert [(one["tier"], one["rules"], one["examples"]) for one in found["files"]] == [
        ("default", 1, 0),
        ("user", 1, 2),
    ]


def test_one_bad_rule_among_a_thousand_refuses_the_file_with_line_and_remedy_and_changes_nothing(
    home: Path, tmp_path: Path
) -> None:
    fresh = tmp_path / "many.yaml"
    fresh.write_text(thousand(bad=None))
    assert told("check", str(fresh))["ok"]
    fresh.write_text(thousand(bad=517))
    before = sorted(home.rglob("*"))
    found = told("check", str(fresh), exits=1)
    assert not found["ok"]
    assert found["problem"]["file"] == str(fresh)
    assert found["problem"]["line"] == 2 + 517 * 5
    assert "'r517'" in found["problem"]["detail"]
    assert found["problem"]["remedy"]
    assert sorted(home.rglob("*")) == before
    assert f"{fresh}:2587" in weir("check", str(fresh), exits=1).stderr


def test_a_file_is_checked_as_what_its_tier_may_say(home: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.yaml"
    fresh.write_text(LIFTS.replace("topics", "others"))
    assert told("check", str(fresh))["ok"]
    assert "only admin and user" in told("check", "--tier", "default", str(fresh), exits=1)["problem"]["detail"]
    assert "cannot approve" in told("check", "--tier", "project", str(fresh), exits=1)["problem"]["detail"]
    weir("check", "--tier", "nobody", str(fresh), exits=2)


def test_labelled_commands_that_are_judged_otherwise_are_listed(home: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "l.jsonl"
    labelled.write_text(
        '{"command": "git push origin topic-1", "verdict": "approve"}\n\n'
        '{"command": "git push origin main", "verdict": ["approve", "block"]}\n'
    )
    found = told("test", str(labelled), exits=1)
    assert (found["commands"], found["examples"]) == (2, 2)
    assert [(one["line"], one["verdict"], one["rules"]) for one in found["differ"]] == [(3, "escalate", ["pushes"])]
    assert "git push origin main" in weir("test", str(labelled), exits=1).stdout
    labelled.write_text('{"command": "ls", "verdict": "perhaps"}')
    with pytest.raises(RequestInvalid, match=r"l.jsonl:1"):
        weir("test", str(labelled))


def test_one_rule_is_shown_with_place_examples_and_what_lifts_it(home: Path) -> None:
    found = told("show", "pushes")
    assert (found["tier"], found["line"], found["decide"], found["lifted_by"]) == ("default", 2, "escalate", ["topics"])
    assert found["file"].endswith("default/d.yaml")
    assert told("show", "topics")["match"] == ["git push origin topic-1"]
    assert "match: Bash(git push *)" in weir("show", "pushes").stdout
    with pytest.raises(RequestInvalid, match="there are pushes"):
        weir("show", "push")


def test_while_the_files_do_not_load_the_last_version_is_shown_as_in_force_with_the_reason(home: Path) -> None:
    book = FolderRuleBook([Place(home.parent / "default"), Place(home / "policies", Tier.USER)], home)
    version = book.keep(book.now())
    assert told("show")["version"] == version
    (home / "policies" / "u.yaml").write_text("rules: [")
    found = told("show")
    assert found["version"] == version
    assert found["problem"]["file"].endswith("u.yaml")
    assert [one["version"] for one in found["kept"]] == [version]
    assert "are refused" in weir("show").stdout


def test_a_difference_names_what_is_added_removed_and_changed(home: Path, tmp_path: Path) -> None:
    book = FolderRuleBook([Place(home.parent / "default"), Place(home / "policies", Tier.USER)], home)
    version = book.keep(book.now())
    (home / "policies" / "u.yaml").write_text(BLOCKS.replace("pushes", "fetches").replace("push", "fetch"))
    (home.parent / "default" / "d.yaml").write_text(BLOCKS.replace("escalate", "block"))
    found = told("diff", version[:8])
    assert ([one["id"] for one in found["added"]], [one["id"] for one in found["removed"]]) == (["topics"], ["fetches"])
    (change,) = found["changed"]
    assert change["rule"]["id"] == "pushes"
    assert change["fields"] == [{"field": "decide", "before": "block", "after": "escalate"}]
    assert "1 added, 1 removed, 1 changed" in weir("diff", version[:8]).stdout
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "x.yaml").write_text(LIFTS)
    assert [one["id"] for one in told("diff", str(folder))["added"]] == ["topics"]
    with pytest.raises(RequestInvalid, match="no kept version"):
        weir("diff", "0000")


def test_an_administrators_rules_stand_beside_the_users_and_a_variable_takes_none_away(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = tmp_path / "admin"
    admin.mkdir()
    (admin / "a.yaml").write_text("rules:\n  - {id: none, match: Bash(git *), decide: block, reason: Not here.}\n")
    monkeypatch.setenv("WEIR_ADMIN_POLICIES", str(admin))
    assert [one["tier"] for one in told("check")["files"]] == ["default", "user", "admin"]
    (home / "policies" / "u.yaml").write_text(LIFTS.replace("[pushes]", "[none]"))
    assert "which is no default rule" in told("check", exits=1)["problem"]["detail"]


def test_kept_versions_are_bounded_and_what_was_only_tried_is_not_among_them(home: Path) -> None:
    book = FolderRuleBook([Place(home.parent / "default"), Place(home / "policies", Tier.USER)], home)
    first = book.keep(book.now())
    tried = book.keep([file._replace(content=file.content + b"\n") for file in book.now()], tried=True)
    assert [one.version for one in book.kept()] == [first]
    assert book.version(tried)
    for number in range(KEPT + 3):
        (home / "policies" / "u.yaml").write_text(LIFTS + f"# {number}\n")
        newest = book.keep(book.now())
    kept = [one.version for one in book.kept()]
    assert len(kept) == KEPT
    assert kept[0] == newest
    assert first not in kept
    # the default file, the user's of each kept version, and the two of the tried one
    assert len(list((home / "policy-versions" / "objects").iterdir())) == 1 + KEPT + 2
