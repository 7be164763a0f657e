"""Rules of Claude and of Codex become the user's own, and approve no more than they did there."""

import json
import re
from pathlib import Path

import pytest

from app.adapters.policy_files import Place, load_policy
from app.adapters.rule_book import FolderRuleBook
from app.core.decisions import ToolCall, Verdict
from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy.source import Tier
from app.services.rule_import import import_rules

PACK = Path(__file__).resolve().parents[2] / "config" / "policies"
APPROVE, ESCALATE, BLOCK = Verdict.APPROVE, Verdict.ESCALATE, Verdict.BLOCK


class Site:
    """A project with the default pack, and what is imported into it."""

    def __init__(self, folder: Path, pack: Path = PACK) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        self.places = [Place(pack), Place(self.home / "policies", Tier.USER)]
        self.book = FolderRuleBook(self.places, self.home)
        self.policy = None

    def brought(self, kind: str, text: str, *, writes: bool = True, name: str = ""):
        self.policy = None
        source = self.folder / f"{kind}.txt"
        source.write_text(text)
        return import_rules(self.book, kind, source, name or kind, Path("/home/dev"), writes=writes)

    def claude(self, writes: bool = True, **permissions: object):
        return self.brought("claude", json.dumps({"permissions": permissions}), writes=writes)

    def verdict(self, command: str, tool: str = "Bash", **given: object) -> Verdict:
        call = ToolCall(tool, dict(given) or {"command": command}, "a", "", "/home/dev/project")
        self.policy = self.policy or load_policy(self.places)
        return self.policy.judge(call).verdict


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def empty_site(tmp_path: Path) -> Site:
    """Make a project without the default pack, whose loading takes most of a test that judges nothing."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a.yaml").write_text("rules: []\n")
    return Site(tmp_path, tmp_path / "pack")


def test_an_allowed_prefix_of_claudes_is_approved_and_nothing_chained_redirected_or_hidden_behind_it(
    site: Site,
) -> None:
    assert site.verdict("own-tool run") is not APPROVE
    site.claude(allow=["Bash(own-tool run:*)"])
    for text in ("own-tool run", "own-tool run -- --dry", "own-tool  'run'"):
        assert site.verdict(text) is APPROVE, text
    for text in (
        "own-tool runs",
        "own-tool run && some-program",
        "own-tool run; some-program",
        "own-tool run | some-program",
        "own-tool run & some-program",
        "own-tool run\nsome-program",
        "own-tool run > /home/dev/notes",
        "own-tool run $(some-program)",
        "own-tool run `some-program`",
        "own-tool run <(some-program)",
        "own-tool run $UNKNOWN",
        "sudo own-tool run",
        "PATH=/tmp/x own-tool run",
        "own-tool() { some-program; }; own-tool run",
        "ssh host own-tool run",
    ):
        assert site.verdict(text) is not APPROVE, text


def test_a_denial_or_question_of_claudes_holds_for_every_spelling(site: Site) -> None:
    site.claude(deny=["Bash(curl:*)", "Read(./.secrets/**)", "WebFetch"], ask=["Bash(ls:*)", "Edit(/docs/**)"])
    for text in ("curl x", "c''url x", "sh -c 'curl x'", "true; /usr/bin/curl", "cat .secrets/a"):
        assert site.verdict(text) is BLOCK, text
    assert site.verdict("", "WebFetch", url="https://a.example") is BLOCK
    assert site.verdict("", "Read", file_path="/home/dev/project/.secrets/a/b") is BLOCK
    assert site.verdict("ls -la") is ESCALATE
    assert site.verdict("", "Write", file_path="docs/a.md", content="x") is ESCALATE


def test_claudes_paths_keep_their_anchors(site: Site) -> None:
    done = site.claude(allow=["Read(~/notes/**)", "Read(//srv/x)", "Read(/top)", "Read(deep)"])
    assert [rule["match"][0] for rule in done.rules] == [
        "Read(/home/dev/notes/**)", "Read(/srv/x)", "Read(./top)", "Read(deep)",
    ]  # fmt: skip
    assert site.verdict("", "Read", file_path="/home/dev/notes/a") is APPROVE
    assert site.verdict("", "Read", file_path="/srv/x") is APPROVE


@pytest.mark.parametrize(
    ("key", "entry", "why"),
    [
        ("allow", "Bash", "every command"),
        ("allow", "Bash(*)", "every command"),
        ("allow", "Bash(a && b)", "more than one"),
        ("deny", 'Bash(echo "a")', "quotes"),
        ("allow", "Bash(A=1 b)", "assignment"),
        ("allow", "Bash(sudo x:*)", "no command reads like this"),
        ("deny", "Bash(x", "closing bracket"),
        ("deny", "Read(*.{a,b})", r"more than \*"),
        ("deny", "Read(../x)", "from the root"),
        ("deny", "WebFetch(https://x)", "only domain"),
        ("deny", "Task(Explore)", "takes no pattern"),
        ("allow", "mcp__*", "does not name"),
        ("deny", "", "names no tool"),
    ],
)
def test_what_cannot_be_said_is_named_with_its_reason_and_never_guessed(
    empty_site: Site, key: str, entry: str, why: str
) -> None:
    done = empty_site.claude(**{key: [entry]}, writes=False)
    assert not done.rules
    (left,) = done.untranslated
    assert left.entry == entry
    assert left.line == 1
    assert re.search(why, left.why)


def test_settings_that_are_no_rules_are_named(site: Site) -> None:
    done = site.claude(defaultMode="bypassPermissions", somethingNew=1)
    assert [one.entry for one in done.untranslated] == ["defaultMode", "somethingNew"]


CODEX = """
# rules
prefix_rule(
    pattern = ["gh", "pr", ["view", "list"]],
    decision = "prompt",
    justification = "A person looks.",
    match = ["gh pr view 7888", ["gh", "pr", "list"]],
    not_match = ["gh pr --repo a/b view 7888"],
)
prefix_rule(pattern = ["own-tool", "run"])
prefix_rule(pattern = ["ls"], decision = "forbidden")
"""


def test_codex_prefixes_decide_as_they_did_there(site: Site) -> None:
    done = site.brought("codex", CODEX)
    assert not done.untranslated
    assert [rule["decide"] for rule in done.rules] == ["escalate", "approve", "block"]
    assert done.rules[0]["reason"] == "A person looks."
    assert site.verdict("own-tool run --now") is APPROVE
    assert site.verdict("own-tool run; some-program") is not APPROVE
    assert site.verdict("ls -la") is BLOCK
    assert site.verdict("gh pr view 1") is ESCALATE


@pytest.mark.parametrize(
    "text",
    [
        'prefix_rule(pattern=["a", "b c"])',
        'prefix_rule(pattern=["a", "*"])',
        'prefix_rule(pattern=["a" + "b"])',
        "prefix_rule(pattern=[x])",
        'prefix_rule(pattern="a")',
        "prefix_rule(pattern=[])",
        'prefix_rule(["a"])',
        'prefix_rule(pattern=["a"], decision="perhaps")',
        'prefix_rule(pattern=["a"], more=1)',
        'prefix_rule(pattern=[["a","b"],["a","b"],["a","b"],["a","b"],["a","b"],["a","b"],["a","b"]])',
        'prefix_rule(pattern=["a"], match=["b"])',
        'host_executable(name="a")',
        "x = 1",
    ],
)
def test_what_is_no_plain_prefix_is_left_out_by_name(empty_site: Site, text: str) -> None:
    done = empty_site.brought("codex", text, writes=False)
    assert not done.rules
    assert len(done.untranslated) == 1


def test_a_rules_file_is_read_and_never_run(empty_site: Site, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    done = empty_site.brought("codex", f'prefix_rule(pattern=[open({str(mark)!r}, "w").name])', writes=False)
    assert len(done.untranslated) == 1
    assert not mark.exists()
    for broken in ("prefix_rule(", "(" * 100_000, "\0"):
        with pytest.raises(RequestInvalid, match=r"codex.txt:\d+: not a rules file"):
            empty_site.brought("codex", broken)


def test_an_import_replaces_its_own_file_and_no_other(site: Site) -> None:
    first = site.claude(allow=["Bash(own-tool run:*)"])
    again = site.claude(deny=["Bash(own-tool run:*)"])
    assert first.file == again.file
    assert site.verdict("own-tool run") is BLOCK
    (site.home / "policies" / "mine.yaml").write_text("rules: []\n")
    with pytest.raises(RequestInvalid, match="a file of your own"):
        site.brought("codex", CODEX, name="mine")
    assert [one.version for one in site.book.kept()][0] == again.version


def test_a_file_of_which_nothing_becomes_a_rule_takes_no_earlier_import_away(site: Site) -> None:
    site.brought("codex", CODEX)
    kept = (site.home / "policies" / "codex.yaml").read_bytes()
    with pytest.raises(RequestInvalid, match="becomes a rule .* the earlier import stays"):
        site.brought("codex", '{"permissions": {"deny": ["Bash(ls)"]}}')
    assert (site.home / "policies" / "codex.yaml").read_bytes() == kept


def test_an_import_that_does_not_load_with_the_other_rules_changes_nothing(site: Site) -> None:
    (site.home / "policies").mkdir()
    taken = "rules:\n  - {id: claude-deny-bash-ls, match: Bash(ls), decide: block, reason: Mine.}\n"
    (site.home / "policies" / "mine.yaml").write_text(taken)
    with pytest.raises(PolicyInvalid, match="the id is taken"):
        site.claude(deny=["Bash(ls:*)"])
    assert [path.name for path in (site.home / "policies").iterdir()] == ["mine.yaml"]


def test_a_file_that_is_no_settings_file_is_refused(site: Site) -> None:
    for text in ("{", "[]", '{"permissions": []}', '{"permissions": {"allow": [1]}}', "[" * 100_000):
        with pytest.raises(RequestInvalid, match=r"claude\.txt"):
            site.brought("claude", text)
