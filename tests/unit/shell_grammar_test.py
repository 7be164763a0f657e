"""Parsing keeps nothing of what it parsed, ends early with what is no shell, and reads every character as one."""

import resource
from pathlib import Path

import pytest
from tree_sitter import Parser

from app.core.shell.form import UNKNOWN
from app.core.shell.grammar import LANGUAGE, PIECE, SHORT_MAX, tree_of
from app.core.shell.script import canonical

PAGES = resource.getpagesize()
SCRIPT = 'for f in *.py; do if [ -f "$f" ]; then grep -n \'foo\' "$f" | sort | uniq -c > /tmp/x; fi; done\n'
ROUNDS = 80


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGES


def outline(node) -> list[tuple[str, int, int]]:
    return [(node.type, node.start_byte, node.end_byte), *[part for child in node.children for part in outline(child)]]


def test_a_process_does_not_grow_with_the_texts_that_it_read() -> None:
    texts = [(f"echo {number:06d}; " * 120 + "# é日本💠" * 300).encode() for number in range(ROUNDS)]
    for text in texts[:20]:
        assert tree_of(text) is not None
    before = resident_bytes()
    for text in texts:
        tree_of(text + b" ")  # beyond the count, and so given up: what was read is given back as well
    assert resident_bytes() - before < sum(map(len, texts)) / 2


@pytest.mark.parametrize("text", [SCRIPT * 2, SCRIPT * 12, "ls a; " * 50, f"echo '{'x' * 300}' \"$(ls {UNKNOWN})\"\n" * 3])
def test_a_long_text_has_the_tree_that_it_has_in_one_piece(text: str) -> None:
    source = text.encode()
    root = tree_of(source)
    assert len(source) > SHORT_MAX
    assert root is not None
    assert outline(root) == outline(Parser(LANGUAGE).parse(source).root_node)


@pytest.mark.parametrize("text", [")$" * 4000, ")'" * 2000, "a) ?" * 1000, ")$" * 100, "a=)" * 2000, "`])" * 100, ":)?" * 170, "-a a=(\t" * 1000, "${ " * 2000, "$( " + "a) $( `" * 1100, "~/$'`" * 1300, "(( x[ " + "x=$x; " * 900, "[[ " + "| b ~'" * 900])
def test_what_is_no_shell_is_given_up(text: str) -> None:
    assert tree_of(text.encode()) is None
    assert canonical(text).doubts


def test_a_case_of_many_patterns_is_read() -> None:
    text = "case $1 in\n" + "".join(f"a{number}) ls;;\n" for number in range(150)) + "esac\n"
    assert tree_of(text.encode()) is not None


def test_a_script_of_many_lines_stays_within_the_count() -> None:
    assert tree_of((SCRIPT * 27).encode()) is not None  # 2.6 KB, 1,300 nodes
    assert tree_of(b"grep -n 'a b' src/app/module.py | sort > /tmp/out.txt\n" * 60) is not None


def test_a_text_that_is_given_up_within_a_character_harms_nobody() -> None:
    for size in range(1000, 8000, 250):
        assert tree_of(("*<<-E\n" + "} é$x " * size)[:size].encode()) is None


@pytest.mark.parametrize("at", range(PIECE - 4, PIECE + 5))
def test_a_character_is_whole_wherever_a_piece_ends(at: int) -> None:
    text = f"echo {'x' * (at - 5)}\U0001f4a0é日 y" + " z" * SHORT_MAX
    (command,) = canonical(text).commands
    assert list(command.words[:3]) == ["echo", f"{'x' * (at - 5)}\U0001f4a0é日", "y"]


@pytest.mark.parametrize("pad", ["", " # " + "x" * SHORT_MAX])
def test_letters_beyond_ascii_are_words_to_the_shell_and_no_names(pad: str) -> None:
    (command,) = canonical(f"é=1 ls{pad}").commands
    assert list(command.words) == ["é=1", "ls"]
    (command,) = canonical(f"rm 'a b'é\u00a0日 💠{pad}").commands
    assert list(command.words) == ["rm", "a bé\u00a0日", "💠"]


@pytest.mark.parametrize("text", ['echo "é', 'cat ")日', 'x="💠', 'sh -c\n"é'])
def test_a_string_that_never_ends_is_no_fault_of_the_engine(text: str) -> None:
    assert canonical(text).doubts == ("syntax",)
