"""Rule files: tiers, lifts, examples, and the refusal of what does not hold."""

import os
import time
from pathlib import Path

import pytest

from app.adapters.policy_files import (
    CHECK_EVERY_S,
    YIELDING_FROM_BYTES,
    Place,
    PolicyWatcher,
    load_policy,
    rule_file,
)
from app.core.decisions import ToolCall, Verdict
from app.core.errors import PolicyInvalid
from app.core.policy.source import Tier

LS = """rules:
  - id: ls
    match: Bash(ls *)
    decide: approve
    reason: It lists.
    examples: {match: [ls -la, ls], no_match: [lsof]}
"""


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def bash(command: str, agent: str = "a") -> ToolCall:
    return ToolCall("Bash", {"command": command}, agent, "", "/home/dev/project")


def rule(match: str, decide: str = "block", more: str = "", name: str = "r") -> str:
    return f"  - id: {name}\n    match: {match}\n    decide: {decide}\n    reason: Because.\n{more}"


def test_an_approval_of_paths_is_for_all_that_a_call_names_and_a_block_for_any(tmp_path: Path) -> None:
    def edited(decide: str, *paths: str) -> Verdict:
        given = {"edits": [{"file_path": path, "old_string": "a", "new_string": "b"} for path in paths]}
        policy = load_policy([write(tmp_path, "rules:\n" + rule("Edit(src/**)", decide))])
        return policy.judge(ToolCall("MultiEdit", given, "a", "", "/home/dev/project")).verdict

    assert edited("approve", "src/a", "src/b") is Verdict.APPROVE
    assert edited("approve", "src/a", "/srv/b") is edited("approve", "/srv/b", "src/a") is Verdict.ESCALATE
    assert edited("block", "/srv/b", "src/a") is Verdict.BLOCK


def test_a_claude_style_pattern_sees_the_words_and_not_the_spelling(tmp_path: Path) -> None:
    policy = load_policy([write(tmp_path, "rules:\n" + rule("Bash(git push --force*)"))])
    for text in (
        "git push --force",
        "git push --force-with-lease",
        "g''it pu\\sh  --force",
        "/usr/bin/git push --force x",
    ):
        assert policy.judge(bash(text)).verdict is Verdict.BLOCK, text
    assert policy.judge(bash("echo git push --force")).verdict is Verdict.ESCALATE


def test_of_rules_that_say_the_same_the_one_stated_first_is_named(tmp_path: Path) -> None:
    by_place = "  - id: first\n    touch: {where: [secret]}\n    decide: block\n    reason: Because.\n"
    by_tool = rule("Bash(cat *)", name="second")
    policy = load_policy([write(tmp_path, "rules:\n" + by_place + by_tool)])
    assert [one.id for one in policy.judge(bash("cat .env")).rules] == ["first"]


def test_path_host_and_mcp_patterns_match_what_they_name(tmp_path: Path) -> None:
    text = "rules:\n" + "".join(
        [
            rule("Write(infra/**)", name="w"),
            rule("WebFetch(domain:*.bad.example)", name="h"),
            rule("mcp__db__drop", name="m"),
            rule("mcp__mail", name="s"),
        ]
    )
    policy = load_policy([write(tmp_path, text)])

    def verdict(tool: str, **given: object) -> Verdict:
        return policy.judge(ToolCall(tool, dict(given), "a", "", "/p")).verdict

    assert verdict("Write", file_path="/p/infra/a/b.tf") is Verdict.BLOCK
    assert verdict("Edit", file_path="infra/x") is Verdict.BLOCK
    assert verdict("Write", file_path="src/infra.py") is Verdict.ESCALATE
    assert policy.judge(ToolCall("Bash", {"command": "echo a > infra/x"}, "a", "", "/p")).verdict is Verdict.BLOCK
    assert verdict("WebFetch", url="https://a.bad.example/x") is Verdict.BLOCK
    assert verdict("WebFetch", url="https://notbad.example/x") is Verdict.ESCALATE
    assert verdict("mcp__db__drop") is Verdict.BLOCK
    assert verdict("mcp__mail__send") is Verdict.BLOCK
    assert verdict("mcp__db__read") is Verdict.ESCALATE


def test_no_approval_beats_a_block_whatever_its_tier(tmp_path: Path) -> None:
    default = write(tmp_path / "d", "rules:\n" + rule("Bash(ls *)"))
    admin = write(tmp_path / "a", LS)
    assert load_policy([Place(default), Place(admin, Tier.ADMIN)]).judge(bash("ls")).verdict is Verdict.BLOCK


def test_an_admin_rule_lifts_the_default_rule_it_names(tmp_path: Path) -> None:
    default = write(tmp_path / "d", "rules:\n" + rule("Bash(git push *)", name="push"))
    user = write(
        tmp_path / "u", "rules:\n" + rule("Bash(git push origin topic-*)", "approve", "    lifts: [push]\n", "topic")
    )
    policy = load_policy([Place(default), Place(user, Tier.USER)])
    assert policy.judge(bash("git push origin topic-1")).verdict is Verdict.APPROVE
    assert policy.judge(bash("git push origin main")).verdict is Verdict.BLOCK


def test_a_condition_on_the_agent_holds_for_that_agent_only(tmp_path: Path) -> None:
    policy = load_policy([write(tmp_path, "rules:\n" + rule("Bash(ls)", "approve", "    when: {agent: ci-*}\n"))])
    assert policy.judge(bash("ls", "ci-1")).verdict is Verdict.APPROVE
    assert policy.judge(bash("ls", "other")).verdict is Verdict.ESCALATE


@pytest.mark.parametrize(
    ("text", "tier", "says"),
    [
        ("rules: [", Tier.DEFAULT, "not YAML"),
        ("- a", Tier.DEFAULT, "`rules:`"),
        ("rules:\n  - id: x\n    decide: maybe\n    reason: a\n    match: Bash", Tier.DEFAULT, ":2:"),
        ("rules:\n  - id: x\n    decide: block\n    reason: a\n    mach: Bash", Tier.DEFAULT, "mach"),
        ("rules:\n  - id: x\n    decide: block\n    reason: a\n", Tier.DEFAULT, "matches everything"),
        ("rules:\n  - id: x\n    decide: block\n    reason: ' '\n    match: Bash", Tier.DEFAULT, "no reason"),
        ("rules:\n" + rule("Bash(ls") + "", Tier.DEFAULT, "closing bracket"),
        ("rules:\n" + rule("Bash(ls)") + rule("Bash(a)"), Tier.DEFAULT, "taken by a.yaml:2"),
        (LS, Tier.PROJECT, "cannot approve"),
        ("rules:\n" + rule("Bash(ls)", more="    lifts: [x]\n"), Tier.DEFAULT, "only admin and user"),
        ("rules:\n" + rule("Bash(ls)", more="    lifts: [x]\n"), Tier.USER, "which is no rule"),
        (
            "rules:\n" + rule("Bash(ls)", more="    examples: {match: [cat x]}\n"),
            Tier.DEFAULT,
            "does not match its example",
        ),
        (
            "rules:\n" + rule("Bash(ls)", more="    examples: {no_match: [ls]}\n"),
            Tier.DEFAULT,
            "matches its counter-example",
        ),
    ],
)
def test_a_bad_file_is_refused_whole_with_file_line_and_remedy(
    tmp_path: Path, text: str, tier: Tier, says: str
) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy([Place(write(tmp_path, text), tier)])
    assert says in str(caught.value)
    assert "a.yaml:" in str(caught.value)


def test_a_broken_change_keeps_the_old_rules_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, LS)
    watcher = PolicyWatcher([tmp_path])
    before = watcher.version
    assert watcher.judge(bash("ls")).verdict is Verdict.APPROVE
    path.write_text(LS + rule("Bash(ls", name="b"))
    assert not watcher.refresh(force=True)
    assert watcher.version == before and "a.yaml:7" in watcher.alert
    path.write_text(LS.replace("approve", "block"))
    assert watcher.refresh(force=True)
    assert watcher.version != before and not watcher.alert
    assert watcher.judge(bash("ls")).verdict is Verdict.BLOCK
    assert watcher.previous[0].version == before


def test_a_changed_rule_is_tried_on_its_examples_again_and_its_neighbour_need_not_be(tmp_path: Path) -> None:
    path = write(tmp_path, LS + rule("Bash(rm *)", name="rm", more="    examples: {match: [rm x]}\n"))
    watcher = PolicyWatcher([tmp_path])
    for wrong in ("Bash(ls)", "Bash(lsof *)"):
        path.write_text(path.read_text().replace("Bash(ls *)", wrong))
        assert not watcher.refresh(force=True)
        assert "match its" in watcher.alert or "counter-example" in watcher.alert
        path.write_text(LS)
        watcher.refresh(force=True)
        assert not watcher.alert
        path.write_text(LS + "# the same\n" + rule("Bash(rm *)", name="rm", more="    examples: {match: [rm x]}\n"))
        assert watcher.refresh(force=True)


def test_what_is_kept_of_the_rules_before_stands_where_it_stands_now(tmp_path: Path) -> None:
    first = "  - id: first\n    touch: {where: [secret]}\n    decide: block\n    reason: Because.\n"
    second, git = rule("Bash(cat *)", name="second"), rule("Bash(git *)", "approve", name="git")
    path = write(tmp_path, "rules:\n" + first + second)
    watcher = PolicyWatcher([tmp_path])
    path.write_text("rules:\n" + git + second + first)  # now the other one is stated first
    assert watcher.refresh(force=True)
    (named,) = watcher.judge(bash("cat .env")).rules
    assert (named.id, named.line) == ("second", 6)
    assert watcher.judge(bash("git status")).verdict is Verdict.APPROVE
    path.write_text("rules:\n" + git + second.replace("block", "approve"))
    assert watcher.refresh(force=True)
    assert watcher.judge(bash("cat .env")).verdict is Verdict.APPROVE


def test_half_a_file_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path, LS)
    watcher = PolicyWatcher([tmp_path])
    before = watcher.version
    for size in range(10):  # each look finds it longer
        path.write_text(LS + "".join(rule(f"Bash(x{n})", name=f"x{n}") for n in range(size + 1)))
        time.sleep(CHECK_EVERY_S)
        assert not watcher.refresh()
    assert watcher.version == before
    time.sleep(CHECK_EVERY_S)
    assert watcher.refresh()


def test_a_file_of_any_size_is_read_the_same(tmp_path: Path) -> None:
    text = "about: {by: &who [a, b]}\n" + LS + rule("Bash(rm x)", more="    when: {agent: [on, 'no']}\n")
    small = rule_file(write(tmp_path / "s", text), Tier.USER)
    large = rule_file(write(tmp_path / "l", text + "#" * YIELDING_FROM_BYTES + "\n"), Tier.USER)
    assert (small.rules, small.lines) == (large.rules, large.lines)
    assert small.lines == [3, 8]
    with pytest.raises(PolicyInvalid, match=r"a\.yaml:9: not YAML"):
        rule_file(write(tmp_path / "b", LS + "  - {id: \n" + "#" * YIELDING_FROM_BYTES), Tier.USER)


def test_a_pipe_among_the_rules_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    write(tmp_path, "rules: []")
    os.mkfifo(tmp_path / "pipe.yaml")  # reading it would wait for a writer, and no later change would be seen
    with pytest.raises(PolicyInvalid, match="not a file"):
        load_policy([tmp_path])
    (tmp_path / "pipe.yaml").unlink()
    (tmp_path / "pipe.yaml").symlink_to("/dev/zero")
    with pytest.raises(PolicyInvalid, match="not a file"):
        load_policy([tmp_path])


def test_without_any_valid_rules_everything_is_blocked(tmp_path: Path) -> None:
    watcher = PolicyWatcher([write(tmp_path, "rules: 3")])
    assert watcher.alert
    assert watcher.judge(bash("ls")).verdict is Verdict.BLOCK
    assert watcher.judge(ToolCall("Read", {"file_path": "a"}, "a")).verdict is Verdict.BLOCK


def test_default_rules_that_are_gone_leave_those_of_before_in_force_and_are_told(tmp_path: Path) -> None:
    """A user's own approvals were written with the default rules beside them: alone they would let everything pass."""
    pack, own = tmp_path / "pack", tmp_path / "own"
    harm = write(pack, "rules:\n" + rule("Bash(rm *)", "block"), "10-harm.yaml")
    write(pack, LS, "90-everyday.yaml")
    places = [Place(pack), Place(write(own, "rules:\n" + rule("Bash(*)", "approve", name="u")), Tier.USER)]
    watcher = PolicyWatcher(places)
    pack.rename(tmp_path / "elsewhere")
    pack.mkdir()
    assert not watcher.refresh(force=True)
    assert str(pack) in watcher.alert
    assert watcher.judge(bash("rm x")).verdict is Verdict.BLOCK
    assert PolicyWatcher(places).judge(bash("rm x")).verdict is Verdict.BLOCK
    pack.rmdir()
    (tmp_path / "elsewhere").rename(pack)
    watcher.refresh(force=True)
    assert watcher.alert == ""
    kept = harm.read_text()
    harm.unlink()
    watcher.refresh(force=True)
    assert str(harm) in watcher.alert
    harm.write_text(kept)
    watcher.refresh(force=True)
    assert watcher.alert == ""


def test_the_version_names_content_and_nothing_else(tmp_path: Path) -> None:
    one, two = write(tmp_path / "x", LS), write(tmp_path / "y", LS)
    assert load_policy([one]).version == load_policy([two]).version
    two.write_text(LS + "# more\n")
    assert load_policy([one]).version != load_policy([two]).version


def test_words_like_yes_and_on_are_words_in_rule_files(tmp_path: Path) -> None:
    text = "rules:\n  - id: y\n    command: {program: [yes, no, on]}\n    decide: block\n    reason: a\n"
    assert load_policy([write(tmp_path, text)]).judge(bash("yes n")).verdict is Verdict.BLOCK


def test_ten_thousand_rules_find_the_one_that_speaks(tmp_path: Path) -> None:
    text = "rules:\n" + "".join([rule(f"Bash(tool{i % 50} sub{i} *)", "approve", name=f"r{i}") for i in range(2000)])
    policy = load_policy([write(tmp_path, text)])
    answer = policy.judge(bash("tool7 sub1907 x"))
    assert [ref.id for ref in answer.rules] == ["r1907"]
