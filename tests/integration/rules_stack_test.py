"""Rules in the running system: what a person writes, what the project may say, what is put back, and who is told."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.entry.cli.control import AGENTS

pytestmark = pytest.mark.timeout(180)
LOOKED_S = 3.0
"""Each process follows the files by itself: after this long all have looked, also on a busy machine."""
PROJECT_FILE = ".weir-policy.yaml"


def rules(*stated: tuple[str, str, str]) -> str:
    return "rules:\n" + "".join(
        f"  - {{id: {name}, match: {match}, decide: {decide}, reason: Because.}}\n" for name, match, decide in stated
    )


def thousand(bad: int | None = None) -> str:
    return rules(*[(f"r{n}", f"Bash(tool{n} *)", "perhaps" if n == bad else "block") for n in range(1000)])


class Site:
    """The stack, seen by a person at a terminal."""

    def __init__(self, stack) -> None:
        self.stack = stack
        self.folder = Path(stack.environ["WEIR_HOME"]) / "policies"
        self.folder.mkdir(exist_ok=True)

    def told(self, *words: str, exits: int = 0) -> dict:
        ran = self.stack.weir(*words, "--json")
        assert ran.returncode == exits, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    def verdict(self, command: str) -> str:
        return json.loads(self.stack.weir("validate", "--dry-run", "--json", "--", command).stdout)["verdict"]

    def alerts(self) -> dict[str, dict]:
        return {one["name"]: one for one in json.loads(self.stack.weir("status", "--json").stdout)["alerts"]}

    def until(self, true: Callable[[], object], timeout_s: float = 30.0) -> object:
        give_up = time.monotonic() + timeout_s
        while not (found := true()):
            assert time.monotonic() < give_up, f"never true; alerts: {self.alerts()}"
            time.sleep(0.1)
        return found


@pytest.fixture
def site(stack) -> Iterator[Site]:
    made = Site(stack)
    yield made
    for path in made.folder.glob("*.yaml"):
        path.unlink()
    (stack.current / PROJECT_FILE).unlink(missing_ok=True)
    made.until(lambda: made.verdict("tool1 x") == "escalate" and made.verdict("ls -la") == "approve")


def test_one_bad_rule_among_a_thousand_leaves_the_old_ones_in_force_and_status_says_so(site: Site) -> None:
    path = site.folder / "many.yaml"
    path.write_text(thousand())
    site.until(lambda: site.verdict("tool999 x") == "block")
    time.sleep(LOOKED_S)
    path.write_text(thousand(bad=700))
    alert = site.until(lambda: site.alerts().get("rules"))
    assert f"{path}:702: rule 'r700'" in alert["detail"]
    assert alert["remedy"]
    time.sleep(LOOKED_S)
    assert site.verdict("tool999 x") == "block"
    refused = site.told("policy", "check", exits=1)
    assert (refused["problem"]["file"], refused["problem"]["line"]) == (str(path), 702)
    assert site.told("policy", "show")["problem"]["line"] == 702
    path.write_text(thousand().replace("tool999", "other999"))
    site.until(lambda: site.verdict("other999 x") == "block" and site.verdict("tool999 x") == "escalate")
    assert "rules" not in site.alerts()


def test_the_projects_own_file_restricts_and_is_refused_whole_when_it_approves_or_lifts(site: Site) -> None:
    own = site.stack.current / PROJECT_FILE
    assert site.verdict("ls -la") == "approve"
    own.write_text(rules(("no-lists", "Bash(ls *)", "escalate")))
    site.until(lambda: site.verdict("ls -la") == "escalate")
    for bad, says in (
        (rules(("yes", "Bash(tool1 *)", "approve")), "cannot approve"),
        (rules(("up", "Bash(tool1 *)", "block")).replace("}", ", lifts: [lists]}"), "only admin and user rules"),
    ):
        own.write_text(rules(("no-lists", "Bash(ls *)", "escalate")) + bad.partition("\n")[2])
        alert = site.until(
            lambda says=says: (one := site.alerts().get("project-rules")) and says in one["detail"] and one
        )
        assert f"{PROJECT_FILE}:3" in alert["detail"]
        assert alert["remedy"]
        assert site.verdict("tool1 x") == "escalate"
        assert site.verdict("ls -la") == "escalate"  # the last that held
    own.unlink()
    site.until(lambda: site.verdict("ls -la") == "approve")
    assert "project-rules" not in site.alerts()


def test_a_person_puts_rules_back_and_the_log_says_who(site: Site) -> None:
    path = site.folder / "mine.yaml"
    path.write_text(rules(("first", "Bash(tool1 *)", "block")))
    site.until(lambda: site.verdict("tool1 x") == "block")
    first = site.told("policy", "show")["version"]
    site.until(lambda: first in [one["version"] for one in site.told("policy", "show")["kept"]])
    path.write_text(rules(("second", "Bash(tool1 *)", "escalate")))
    site.until(lambda: site.verdict("tool1 x") == "escalate")
    refused = site.stack.weir
    environ = site.stack.environ
    for mark in ("WEIR_AGENT", "CLAUDECODE"):
        site.stack.environ = {n: v for n, v in environ.items() if n not in AGENTS} | {mark: "1"}
        ran = refused("policy", "rollback")
        assert ran.returncode == 1
        assert "refused to agents" in ran.stderr
    site.stack.environ = environ
    done = site.told("policy", "rollback", first[:12])
    assert done["now"] == first
    assert done["files"] == ["mine.yaml"]
    assert not done["not_recorded"]
    site.until(lambda: site.verdict("tool1 x") == "block")
    logged = json.loads(site.stack.weir("log", "--decisions", "--json", "--limit", "1").stdout.splitlines()[0])
    assert (logged["tool"], logged["layer"], logged["position"]) == ("weir policy rollback", "person", done["position"])
    assert json.loads(logged["input"])["to"] == first


def test_recorded_decisions_are_replayed_through_a_worker_against_a_changed_policy(site: Site, tmp_path: Path) -> None:
    agent = "replayed"
    for command in ("ls -la", "ls src", "tool7 x", "rm -rf /"):
        site.stack.weir("validate", "--agent", agent, "--", command)
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "a.yaml").write_text(rules(("no-lists", "Bash(ls *)", "block"), ("seven", "Bash(tool7 *)", "approve")))
    words = ("policy", "replay", "--agent", agent, "--policy", str(changed))
    site.until(lambda: site.told(*words)["judged"] == 4)
    found = site.told(*words)
    counts = {(one["from"], one["to"]): one["count"] for one in found["counts"]}
    assert counts == {("approve", "block"): 2, ("block", "block"): 1, ("escalate", "approve"): 1}
    assert found["differ"] == 3
    assert [one["input"]["command"] for one in found["changes"]] == ["tool7 x", "ls src", "ls -la"]
    assert found["changes"][0]["rules"] == ["seven"]
    assert site.told("policy", "replay", "--agent", agent)["differ"] == 0  # by the rules in force
    assert "3 of 4 differ" in site.stack.weir(*words).stdout
    assert site.told(*words, "--limit", "1")["judged"] == 1
    (changed / "a.yaml").write_text("rules: [")
    assert site.told(*words, exits=1)["problem"]["file"] == str(changed / "a.yaml")


def test_an_explanation_reads_the_stored_script_that_a_worker_reads(site: Site) -> None:
    folder = site.stack.current
    (folder / "explained.sh").write_text("ls\nrm -rf /\n")

    def explained() -> dict:
        ran = site.stack.weir("explain", "--cwd", str(folder), "--json", "--", "bash explained.sh")
        return json.loads(ran.stdout)

    site.until(lambda: explained()["decision"]["verdict"] == "block")
    why = explained()["explanation"]
    assert why["verdict"] == "block"
    assert ["rm", "-rf", "/"] in [one["words"] for one in why["commands"]]
    assert why["reads"] == ["script"]
