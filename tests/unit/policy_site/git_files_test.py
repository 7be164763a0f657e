"""Files that git's options name are judged as if they were written or read plainly; git believes no planted settings."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy
from app.core.shell import git_files
from app.core.shell.reading import Frame
from app.core.shell.scope import Scope

PACK = Path(__file__).resolve().parents[3] / "config" / "policies"
WRITES = r"""
git log --output={0}
git log -1 --format='[core]' --output {0}
git show --outpu={0}
git diff --output={0} HEAD
git shortlog --output={0} HEAD
git reflog --output={0}
git stash show --output={0}
git format-patch -o {0} HEAD~1
git format-patch -o{0} HEAD~1
git format-patch --output-directory={0} HEAD~1
git archive -o {0} HEAD
git archive --output={0} HEAD
git mv x {0}
git mv a b {0}
git worktree add -b x {0}
git -C . worktree add {0}
git interpret-trailers --in-place --trailer x=y {0}
git config -f {0} a.b c
git config --file={0} --add a.b c
git config -f {0} set a.b get
git bundle create {0} HEAD
git merge-file {0} a b
git mailinfo {0} x < y
"""
READS = r"""
git blame --contents={0} x
git annotate --contents {0} x
git merge-file -p {0} a b
git merge-file -p a b {0}
git commit -F {0}
git commit -aF {0}
git commit --file={0}
git commit -t {0}
git tag -a -F {0} v1
git notes add -F {0}
git merge -F {0} x
git diff --no-index a {0}
git hash-object {0}
git hash-object -w {0}
git grep --no-index . {0}
git diff -O{0}
git config -f {0} --list
git config --file {0} a.b
git interpret-trailers {0}
git apply {0}
git add --pathspec-from-file={0}
git archive --add-file={0} HEAD
"""
SETTINGS = r"""
git --git-dir=./git status
git --git-dir /tmp/x status
git --git-dir=/home/dev/other/.git log
git -C /tmp --git-dir=.git log
git --git-dir="$X" log
XDG_CONFIG_HOME=. git status
env XDG_CONFIG_HOME=. git status
export XDG_CONFIG_HOME=$PWD; git status
GIT_COMMON_DIR=x git status
HOME=. git status
"""
EVERYDAY = r"""
git log --oneline --output=log.txt
git diff --output=/tmp/x.patch
git format-patch -o patches HEAD~3
git archive -o out.tar HEAD
git mv a.py src/b.py
git worktree add wt topic
git worktree add /tmp/wt topic
git interpret-trailers --in-place --trailer x=y msg.txt
git config --file .gitmodules --list
git config -f x.ini a.b c
git config user.name x
git bundle create x.bundle HEAD
git blame --contents=new.py README.md
git merge-file -p a b c
git commit -F msg.txt
git commit -F .git/COMMIT_EDITMSG
git commit -m 'see .git/config and .env'
git tag -F notes.txt v1
git diff --no-index /tmp/a b
git hash-object a
git grep --no-index TODO src
git --git-dir=.git log
git --git-dir .git --work-tree . status
git -C sub status
git rev-parse --git-dir
git am x.patch
git clone https://x.example/a/b
"""


@cache
def pack() -> Policy:
    return load_policy([PACK])


def judged(command: str) -> Verdict:
    return pack().judge(ToolCall("Bash", {"command": command}, "a", "", "/home/dev/project")).verdict


def _lines(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


@pytest.mark.parametrize("form", _lines(WRITES))
def test_what_git_is_told_to_write_is_judged_as_a_write(form: str) -> None:
    for place in (".git/hooks/pre-commit", "~/.bashrc", "/etc/x"):
        assert judged(form.format(place)) is Verdict.BLOCK, place
    for place in (".claude/settings.json", "../other/x"):
        assert judged(form.format(place)) is Verdict.ESCALATE, place


@pytest.mark.parametrize("form", _lines(READS))
def test_a_credential_that_git_is_told_to_read_is_judged_as_a_read(form: str) -> None:
    for place in (".env", "~/.ssh/id_rsa", "/etc/shadow"):
        assert judged(form.format(place)) is Verdict.BLOCK, place


@pytest.mark.parametrize("command", _lines(SETTINGS))
def test_git_with_settings_from_elsewhere_is_asked_about(command: str) -> None:
    assert judged(command) is Verdict.ESCALATE


@pytest.mark.parametrize("command", _lines(EVERYDAY))
def test_everyday_git_stays_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE


def test_a_file_that_git_names_is_taken_from_the_folder_of_its_c() -> None:
    assert judged("git -C .git log --output=config") is Verdict.BLOCK
    assert judged("git -C /etc archive -o x HEAD") is Verdict.BLOCK
    assert judged("git -C .. hash-object .env") is Verdict.BLOCK
    assert judged("git -C src log --output=config") is Verdict.APPROVE


_PARTS = st.sampled_from(
    ["-", "--", "o", "O", "out", "put", "=", "F", "f", "m", "a", ":", "@", " ", "/", "~/.ssh/id_rsa", "HEAD:.env", "no-index"]
)
_WORDS = st.lists(st.lists(_PARTS, max_size=5).map("".join), max_size=5)
_VERBS = st.sampled_from([*git_files._FILES, "status", "push", ""])  # noqa: SLF001  what it knows


@given(_VERBS, _WORDS)
def test_no_file_is_missed_by_the_quick_look(verb: str, words: list[str]) -> None:
    frame = Frame(Scope("/p", "/p"), b"")
    quick = git_files.git_touches(["git", verb, *words], frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(git_files, "_TELLS", {})
        patch.setattr(git_files, "_TELLS_LEAST", re.compile(""))
        assert git_files.git_touches(["git", verb, *words], frame) == quick
