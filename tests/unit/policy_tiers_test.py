"""Who may say what: the project's own file only restricts, a rollback puts back the user's files and nothing else."""

import shutil
import threading
from pathlib import Path

import pytest

from app.adapters.policy_files import Place, PolicyWatcher, load_policy
from app.adapters.project_rules import PROJECT_FILE, FolderProjectRules
from app.adapters.rule_book import FolderRuleBook
from app.adapters.rule_versions import RuleVersions
from app.core.decisions import ToolCall, Verdict
from app.core.errors import PolicyInvalid, RequestInvalid, StoreUnavailable
from app.core.policy.glob import simple_glob
from app.core.policy.source import Tier
from app.services.alerts import Watched, alerts
from app.services.rule_keeping import Look, RuleKeeper
from app.services.rule_rollback import roll_back


def rule(name: str, match: str, decide: str = "block", more: str = "") -> str:
    return f"rules:\n  - {{id: {name}, match: {match}, decide: {decide}, reason: Because.{more}}}\n"


DEFAULT = rule("lists", "Bash(ls *)", "approve")
RESTRICTS = rule("no-lists", "Bash(ls *)", "escalate")


class Store:
    """What the project holds, as the store would say."""

    def __init__(self) -> None:
        self.content: bytes | Exception | None = None

    def root_file(self, name: bytes, bytes_max: int) -> bytes | None:
        assert name == PROJECT_FILE.encode()
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


class Site:
    """A home with all four tiers, the keeper of its rules, and a watcher as gateway and workers have one."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        for name in ("home/policies", "default", "admin"):
            (folder / name).mkdir(parents=True)
        (folder / "default" / "d.yaml").write_text(DEFAULT)
        self.places = [
            Place(folder / "default"),
            Place(self.home / "project-rules", Tier.PROJECT),
            Place(self.home / "policies", Tier.USER),
            Place(folder / "admin", Tier.ADMIN),
        ]
        self.book = FolderRuleBook(self.places, self.home)
        self.store = Store()
        self.project = FolderProjectRules(self.home / "project-rules", self.store)
        self.keeper = RuleKeeper(self.book, self.project, PROJECT_FILE)
        self.watcher = PolicyWatcher(self.places)

    def look(self, content: str | Exception | None) -> Look:
        self.store.content = content.encode() if isinstance(content, str) else content
        looked = self.keeper.look()
        self.watcher.refresh(force=True)
        return looked

    def users(self, text: str, name: str = "u.yaml") -> None:
        (self.home / "policies" / name).write_text(text)
        self.watcher.refresh(force=True)

    def verdict(self, command: str) -> Verdict:
        return self.watcher.judge(ToolCall("Bash", {"command": command}, "a", "", "/home/dev/project")).verdict

    def alerts(self) -> list[str]:
        watched = Watched(lambda: "", dict, self.project.refused)
        return [f"{one.name}: {one.detail}; {one.remedy}" for one in alerts(self.home, watched) if one.name != "disk"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_projects_own_file_restricts_comes_into_force_and_goes_with_the_file(site: Site) -> None:
    assert site.verdict("ls -la") is Verdict.APPROVE
    assert site.look(RESTRICTS).project == "taken"
    assert site.verdict("ls -la") is Verdict.ESCALATE
    assert site.look(RESTRICTS).project == "same"
    assert site.look(None).project == "none"
    assert site.verdict("ls -la") is Verdict.APPROVE
    assert not site.alerts()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (rule("yes", "Bash(rm *)", "approve"), f"{PROJECT_FILE}:2: rule 'yes': a project's own file cannot approve"),
        (
            rule("up", "Bash(ls *)", "block", ", lifts: [lists]"),
            f"{PROJECT_FILE}:2: rule 'up': only admin and user rules",
        ),
        (rule("lists", "Bash(ls *)"), f"{PROJECT_FILE}:2: rule 'lists': the id is taken by d.yaml:2"),
        ("rules: [", f"{PROJECT_FILE}:2: not YAML"),
        (RequestInvalid("it is no regular file"), f"{PROJECT_FILE}: it is no regular file"),
    ],
)
def test_a_project_file_that_approves_lifts_or_does_not_parse_is_refused_whole_with_an_alert(
    site: Site, text: str | Exception, says: str
) -> None:
    site.look(RESTRICTS)
    assert site.look(text).project == "refused"
    assert site.verdict("ls -la") is Verdict.ESCALATE  # the last that held stays
    (alert,) = site.alerts()
    assert alert.startswith(f"project-rules: the project's own rules are refused, whole: {says}")
    assert alert.rpartition("; ")[2]
    assert site.look(RESTRICTS).project == "same"
    assert not site.alerts()


def test_one_rule_that_approves_takes_the_good_ones_of_its_file_with_it(site: Site) -> None:
    both = RESTRICTS + rule("yes", "Bash(rm *)", "approve").partition("\n")[2]
    assert site.look(both).project == "refused"
    assert site.verdict("ls") is Verdict.APPROVE
    assert f"{PROJECT_FILE}:3: rule 'yes'" in site.alerts()[0]


def test_a_store_that_is_away_leaves_the_projects_rules_in_force(site: Site) -> None:
    site.look(RESTRICTS)
    with pytest.raises(StoreUnavailable):
        site.look(StoreUnavailable("away"))
    assert site.verdict("ls -la") is Verdict.ESCALATE


def test_a_project_file_waits_while_other_rules_do_not_load(site: Site) -> None:
    site.users("rules: [")
    assert site.look(RESTRICTS).project == "waits"
    assert not site.alerts()
    (site.home / "policies" / "u.yaml").unlink()
    assert site.look(RESTRICTS).project == "taken"


def test_only_default_rules_are_lifted_whoever_lifts(site: Site, tmp_path: Path) -> None:
    site.look(rule("p", "Bash(cat *)"))
    site.users(rule("u", "Bash(ls *)", "block", ", lifts: [lists]"))
    assert site.verdict("ls") is Verdict.BLOCK
    for target in ("p", "a"):
        (tmp_path / "admin" / "a.yaml").write_text(rule("a", "Bash(cat *)"))
        site.users(rule("u", "Bash(cat *)", "approve", f", lifts: [{target}]"))
        assert "which is no default rule" in site.watcher.alert
    (tmp_path / "admin" / "a.yaml").write_text(rule("a", "Bash(ls *)", "escalate", ", lifts: [lists]"))
    site.users(rule("u", "Bash(cat *)"))
    assert site.verdict("ls") is Verdict.ESCALATE


def test_one_bad_rule_among_a_thousand_keeps_the_old_ones_in_force(site: Site) -> None:
    def thousand(bad: str = "") -> str:
        rules = [f"  - {{id: r{n}, match: Bash(tool{n} *), decide: block, reason: Because.}}\n" for n in range(1000)]
        rules[700] = rules[700].replace("block", bad or "block")
        return "rules:\n" + "".join(rules)

    site.users(thousand())
    version = site.watcher.version
    assert site.verdict("tool999 x") is Verdict.BLOCK
    site.users(thousand("perhaps").replace("tool999", "other999"))
    assert site.watcher.version == version
    assert site.verdict("tool999 x") is Verdict.BLOCK
    assert "u.yaml:702: rule 'r700'" in site.watcher.alert
    site.users(thousand().replace("tool999", "other999"))
    assert (site.verdict("other999 x"), site.verdict("tool999 x")) == (Verdict.BLOCK, Verdict.ESCALATE)


def test_a_rollback_puts_back_the_users_files_and_leaves_what_is_not_a_rule_file(site: Site) -> None:
    site.users(rule("first", "Bash(ls *)"))
    first = site.look(None).kept
    (site.home / "policies" / "notes.txt").write_text("mine")
    site.users(rule("second", "Bash(cat *)"), "more.yaml")
    second = site.look(None).kept
    done = roll_back(site.book, "")
    assert (done.version, done.before, done.now, done.files) == (first, second, first, ("u.yaml",))
    site.watcher.refresh(force=True)
    assert site.watcher.version == first
    assert (site.verdict("ls"), site.verdict("cat x")) == (Verdict.BLOCK, Verdict.ESCALATE)
    assert (site.home / "policies" / "notes.txt").read_text() == "mine"
    assert {path.name for path in site.home.iterdir()} == {"policies", "policy-versions"}
    assert roll_back(site.book, second[:10]).now == second
    with pytest.raises(RequestInvalid, match="nothing to put back"):
        roll_back(site.book, second)


def test_a_rollback_heals_rules_that_do_not_load(site: Site) -> None:
    site.users(rule("first", "Bash(ls *)"))
    first = site.look(None).kept
    site.users("rules: [")
    done = roll_back(site.book, "")
    assert (done.version, done.before) == (first, "")


def test_a_rollback_that_does_not_load_with_the_other_tiers_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.users(rule("mine", "Bash(ls *)"))
    site.look(None)
    site.users(rule("other", "Bash(ls *)"))
    site.look(None)
    (tmp_path / "default" / "d.yaml").write_text(rule("mine", "Bash(cat *)"))
    with pytest.raises(PolicyInvalid, match="the id is taken"):
        roll_back(site.book, "")
    assert (site.home / "policies" / "u.yaml").read_text() == rule("other", "Bash(ls *)")


def test_no_reader_finds_a_moment_without_rules_during_a_rollback(site: Site) -> None:
    site.users(rule("first", "Bash(ls *)"))
    site.look(None)
    site.users(rule("second", "Bash(ls *)"))
    site.look(None)
    found: set[Verdict] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            site.watcher.refresh(force=True)
            found.add(site.verdict("ls"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        roll_back(site.book, "")
    done.set()
    reader.join()
    assert found == {Verdict.BLOCK}


def test_a_process_that_starts_while_the_files_do_not_load_takes_what_was_in_force(site: Site) -> None:
    site.users(rule("mine", "Bash(cat *)"))
    version = site.look(None).kept
    (site.home / "policies" / "u.yaml").write_text("rules: [")
    last = RuleVersions(site.home / "policy-versions").last
    fresh = PolicyWatcher(site.places, last=last)
    assert fresh.version == version
    assert "u.yaml:2: not YAML" in fresh.alert
    assert fresh.judge(ToolCall("Bash", {"command": "ls"}, "a", "", "/p")).verdict is Verdict.APPROVE
    (site.home / "policies" / "u.yaml").unlink()
    assert fresh.refresh(force=True)
    assert not fresh.alert
    shutil.rmtree(site.home / "policy-versions")
    (site.home / "policies" / "u.yaml").write_text("rules: [")
    assert PolicyWatcher(site.places, last=last).judge(ToolCall("Bash", {"command": "ls"}, "a", "", "/p")).verdict is (
        Verdict.BLOCK
    )


def test_no_call_compiles_a_glob_of_a_rule(tmp_path: Path) -> None:
    stated = [
        f"  - {{id: r{n}, match: Bash(tool *), decide: block, reason: Because., when: {{agent: bot-{n}-*}}}}\n"
        for n in range(1_200)
    ]
    (tmp_path / "a.yaml").write_text("rules:\n" + "".join(stated))
    policy = load_policy([tmp_path])
    before = simple_glob.cache_info().misses
    assert policy.judge(ToolCall("Bash", {"command": "tool x"}, "bot-7-a", "", "/p")).verdict is Verdict.BLOCK
    assert policy.judge(ToolCall("Bash", {"command": "tool x"}, "other", "", "/p")).verdict is Verdict.ESCALATE
    assert simple_glob.cache_info().misses == before
