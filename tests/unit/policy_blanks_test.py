"""What parts words: space, tab and newline to a shell; more than that to Python, and to the grammar."""

from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy
from app.core.shell import canonical

PACK = Path(__file__).resolve().parents[2] / "config" / "policies"
CWD = "/home/dev/project"
ODD = ["\r", "\f", "\v", "\x1c", "\x1f", "\x01", "\x7f"]
UNICODE = ["\x85", "\u00a0", "\u2028", "\u3000"]


@pytest.fixture(scope="module")
def pack() -> Policy:
    return load_policy([PACK])


def judged(pack: Policy, command: str) -> Verdict:
    return pack.judge(ToolCall("Bash", {"command": command}, "claude", "", CWD)).verdict


@pytest.mark.parametrize("blank", [*ODD, *UNICODE])
@pytest.mark.parametrize("command", ["ls{}rm -rf /", "ls{}", "{}ls", "sh -c 'ls{} -l'", "cat a\nls{}\n", "git status{}"])
def test_what_is_no_blank_to_a_shell_parts_no_words_of_a_command(pack: Policy, command: str, blank: str) -> None:
    assert judged(pack, command.format(blank)) is not Verdict.APPROVE


@pytest.mark.parametrize("blank", ODD)
@pytest.mark.parametrize(
    "command",
    ["mkdir d{}", "echo x >d{}/../../../../../etc/passwd", "echo x > d{}/../../../x", "cat <<E{}\na\nE{}\n", "x={}; ls"],
)
def test_a_control_character_in_a_word_is_a_doubt_with_its_own_name(pack: Policy, command: str, blank: str) -> None:
    assert judged(pack, command.format(blank, blank)) is not Verdict.APPROVE
    assert "control-character" in canonical(command.format(blank, blank), CWD).doubts


@pytest.mark.parametrize("blank", ODD)
def test_a_control_character_belongs_to_the_word_around_it(blank: str) -> None:
    assert canonical(f"ls{blank}rm -rf x", CWD).commands[0].words == (f"ls{blank}rm", "-rf", "x")


@pytest.mark.parametrize("blank", ["\r", "\v", "\x85", "\u2028"])
def test_what_read_and_mapfile_cut_is_cut_where_a_shell_cuts(blank: str) -> None:
    read = canonical(f"read a b <<< 'c{blank}d e'\n$a", CWD)
    assert (f"c{blank}d",) in [command.words for command in read.commands]
    lines = canonical(f"mapfile -t a <<< 'c{blank}d'\n\"${{a[@]}}\"", CWD)
    assert (f"c{blank}d",) in [command.words for command in lines.commands]


@pytest.mark.parametrize(
    "command",
    ["echo 'a\rb'", 'echo "a\r\nb"', "cat <<'E'\na\r\nb\r\nE\n", "ls # a\r\nls", r"printf '%s\r\n' x", "\n ls\t-l \n"],
)
def test_what_is_only_carried_on_may_hold_any_character(pack: Policy, command: str) -> None:
    assert judged(pack, command) is Verdict.APPROVE


@pytest.mark.parametrize("command", ["'ls\r-l' x", "'ls\n' x", "'ls\f' x"])
def test_a_rule_for_a_program_is_none_for_another_whose_name_begins_so(pack: Policy, command: str) -> None:
    assert judged(pack, command) is not Verdict.APPROVE


@pytest.mark.parametrize("given", [["ls", ";rm -rf /"], ["ls"], [], [1], 1, None, {"ls": 1}])
def test_a_command_that_is_no_text_is_not_approved(pack: Policy, given: object) -> None:
    assert pack.judge(ToolCall("Bash", {"command": given}, "claude", "", CWD)).verdict is Verdict.ESCALATE


def test_words_of_a_tool_that_takes_a_list_are_judged_and_none_are_no_command(pack: Policy) -> None:
    assert pack.judge(ToolCall("shell", {"command": ["ls", "-l"]}, "codex", "", CWD)).verdict is Verdict.APPROVE
    assert pack.judge(ToolCall("shell", {"command": []}, "codex", "", CWD)).verdict is Verdict.ESCALATE


@pytest.mark.parametrize(
    "command",
    [
        "OLDPWD=/etc; cd -; cat shadow",
        "OLDPWD=/etc cd -; cat shadow",
        "export OLDPWD=/etc; cd -; cat shadow",
        "PWD=/etc; cat ~+/shadow",
        "PWD=/etc; cat $PWD/x",
        "read OLDPWD <<< /etc; cd -; cat shadow",
        "read -a OLDPWD <<< /etc; cd -; cat shadow",
        "for OLDPWD in /etc; do cd -; cat shadow; done",
        "printf -v OLDPWD /etc; cd -; cat shadow",
        "OLDPWD[0]=/etc; cd -; cat shadow",
        "env OLDPWD=/etc sh -c 'cd -; cat shadow'",
        "cd /etc; cd /srv/project; cd -; cat shadow",
        "pushd /etc; pushd /srv/project; popd; cat shadow",
        "cd /etc; cd /srv/project; cat ~-/shadow",
        "cat < ~-/shadow",
        "cat ~1/shadow",
        "HOME=/etc; cat ~/shadow",
    ],
)
def test_a_folder_that_a_variable_steers_to_is_not_taken_for_the_project(pack: Policy, command: str) -> None:
    assert judged(pack, command) is not Verdict.APPROVE


@pytest.mark.parametrize("command", ["cd src && make && cd - && ls", "pushd src && make && popd && cat a", "git commit -m '~10 ms'"])
def test_going_into_a_folder_and_back_is_everyday_work(pack: Policy, command: str) -> None:
    assert judged(pack, command) is Verdict.APPROVE


@pytest.mark.parametrize("sets", ["mapfile x <<< rm", "mapfile -t x <<< rm", "read -a x <<< rm", "x[0]=rm"])
def test_an_array_takes_the_place_of_the_variable_of_its_name(pack: Policy, sets: str) -> None:
    assert judged(pack, f"x=ls; {sets}; $x -rf /") is not Verdict.APPROVE
