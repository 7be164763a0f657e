"""Rules that depend on branch or time: they hold when they say, are never cached, and what cannot be known never approves."""

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from app.adapters.policy_files import Place, load_policy
from app.adapters.surroundings import Surroundings
from app.core.decisions import Asked, Judgement, Verdict
from app.core.errors import PolicyInvalid
from app.core.policy import NOWHERE, Policy
from app.core.policy.source import Tier
from app.core.policy.world import is_within
from app.core.shell.stored import Lack

CWD = "/home/dev/project"
PATIENT_S = 20.0
RULES = """rules:
  - {{id: main, match: Bash(git push *), decide: {push}, reason: Main is shared., when: {{branch: main}}}}
  - {{id: topic, match: Bash(git push *), decide: approve, reason: Topics are ours., when: {{branch: topic-*}}}}
  - {{id: night, match: Bash(make deploy), decide: block, reason: Nobody is there., when: {{time: "{night}"}}}}
  - {{id: deploy, match: Bash(make deploy), decide: approve, reason: It deploys.}}
  - {{id: rest, match: ["Bash(git checkout *)", "Bash(ls *)", "Bash(cd *)"], decide: approve, reason: It is harmless.}}
  - {{id: cron, match: Bash(ls *), decide: block, reason: Not on Sundays., when: {{time: "sun 00:00-23:59", agent: cron}}}}
"""


class Here:
    """A World that a test can change."""

    def __init__(self, branch: str | None = "topic-1", minute: int | None = 12 * 60) -> None:
        self.name, self.minute = branch, minute

    def branch(self, folder: str) -> str | None:
        return self.name

    def minute_of_week(self) -> int | None:
        return self.minute

    def script(self, path: str) -> bytes | Lack:
        return Lack.ELSEWHERE


def rules(folder: Path, push: str = "block", night: str = "22:00-06:00") -> Policy:
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_text(RULES.format(push=push, night=night))
    return load_policy([Place(folder, Tier.USER)])


def judged(policy: Policy, command: str, world: Any = NOWHERE, agent: str = "a") -> Judgement:
    return policy.judge(Asked("Bash", {"command": command}, agent, "", CWD), world)


@pytest.mark.parametrize(("branch", "verdict"), [("main", "block"), ("topic-9", "approve"), ("other", "escalate"), ("", "escalate")])
def test_a_branch_decides_and_is_named_as_read(tmp_path: Path, branch: str, verdict: str) -> None:
    found = judged(rules(tmp_path), "git push origin x", Here(branch))
    assert (found.verdict, found.reads) == (verdict, ("branch",))


@pytest.mark.parametrize(
    "command",
    [
        "git checkout main; git push x",
        "cd /other && git push x",
        "git -C ../other push x",
        "git --git-dir ../o/.git push x",
        "git push $REMOTE",
    ],
)
def test_a_text_that_may_push_from_another_branch_is_not_approved_by_this_ones_name(tmp_path: Path, command: str) -> None:
    assert judged(rules(tmp_path), command, Here("topic-1")).verdict is not Verdict.APPROVE


def test_what_cannot_be_known_blocks_and_never_approves(tmp_path: Path) -> None:
    policy = rules(tmp_path)
    for world in (NOWHERE, Here(None, None)):
        assert judged(policy, "git push x", world).verdict is Verdict.BLOCK
        assert judged(policy, "make deploy", world).verdict is Verdict.BLOCK
    assert judged(rules(tmp_path, push="approve"), "git push x").verdict is Verdict.ESCALATE


def test_only_what_was_asked_is_named_as_read_so_that_the_rest_stays_cached(tmp_path: Path) -> None:
    policy = rules(tmp_path)
    assert judged(policy, "ls", Here()).reads == ()
    assert judged(policy, "ls", Here(), agent="cron").reads == ("time",)
    assert judged(policy, "ls && make deploy && git push x", Here()).reads == ("branch", "time")


@pytest.mark.parametrize(
    ("window", "minute", "inside"),
    [
        ("09:00-17:30", 9 * 60, True),
        ("09:00-17:30", 17 * 60 + 30, False),
        ("22:00-06:00", 23 * 60, True),
        ("22:00-06:00", 5 * 60 + 59, True),
        ("22:00-06:00", 12 * 60, False),
        ("mon-fri 09:00-17:00", 5 * 1440 + 600, False),
        ("fri 22:00-06:00", 5 * 1440 + 60, True),
        ("fri 22:00-06:00", 4 * 1440 + 60, False),
        ("sun 22:00-06:00", 60, True),
        ("sat-mon,wed 10:00-11:00", 6 * 1440 + 600, True),
        ("sat-mon,wed 10:00-11:00", 1440 + 600, False),
    ],
)
def test_a_time_window_holds_in_its_days_and_over_midnight(window: str, minute: int, inside: bool) -> None:
    assert is_within(window, minute) is inside


@pytest.mark.parametrize("when", ['{time: "9-17"}', '{time: "12:00-12:00"}', '{time: "monday 09:00-10:00"}', '{time: "24:00-25:00"}'])
def test_a_window_that_means_nothing_is_refused_with_its_line(tmp_path: Path, when: str) -> None:
    (tmp_path / "a.yaml").write_text(f"rules:\n  - {{id: r, match: Bash, decide: block, reason: x, when: {when}}}\n")
    with pytest.raises(PolicyInvalid, match=r"a\.yaml:2.*time window; write"):
        load_policy([tmp_path])


def test_a_rule_for_the_mount_cannot_depend_on_the_branch(tmp_path: Path) -> None:
    touch = "touch: {access: [write], path: ['a/**']}, on: [write]"
    (tmp_path / "a.yaml").write_text(f"rules:\n  - {{id: r, {touch}, decide: block, reason: x, when: {{branch: main}}}}\n")
    with pytest.raises(PolicyInvalid, match="cannot depend on branch"):
        load_policy([tmp_path])


def test_the_branch_is_that_of_the_folder_git_would_find(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path / "p", *words], check=True, capture_output=True)

    (tmp_path / "p" / "sub").mkdir(parents=True)
    git("init", "-b", "feature/x")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "x")
    here = Surroundings(read_s=PATIENT_S)
    assert here.branch(str(tmp_path / "p" / "sub")) == "feature/x"
    git("worktree", "add", "-b", "other", str(tmp_path / "w"))
    assert here.branch(str(tmp_path / "w")) == "other"
    git("checkout", "--detach")
    assert here.branch(str(tmp_path / "p")) == ""
    assert here.branch(str(tmp_path)) is None
    assert 0 <= (here.minute_of_week() or 0) < 7 * 1440


def test_a_folder_that_hangs_is_unknown_and_holds_nobody_else_up(tmp_path: Path) -> None:
    import os

    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")  # opening it waits for a writer
    here = Surroundings()
    assert here.branch(str(tmp_path)) is None
    threads = threading.active_count()
    assert here.branch(str(tmp_path)) is None
    assert threading.active_count() == threads
    (tmp_path / ".git" / "HEAD").open("wb").close()  # let go
