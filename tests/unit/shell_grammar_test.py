"""Parsing keeps nothing of what it parsed, ends early with what is no shell, and reads every character as one."""

import resource
from pathlib import Path

import pytest
from tree_sitter import Parser

from app.core.shell.form import UNKNOWN
from app.core.shell.grammar import LANGUAGE, PIECE, SHORT_MAX, tree_of
from app.core.shell.script import canonical
from app.core.shell.syntax import NODES_MAX

PAGES = resource.getpagesize()
SCRIPT = 'for f in *.py; do if [ -f "$f" ]; then grep -n \'foo\' "$f" | sort | uniq -c > /tmp/x; fi; done\n'
RELEASE = """# stage one of the release: copy what the build has made, and say so
if [ -d "build/$name" ]; then
  mkdir -p "dist/$name" && cp -r build/assets "dist/$name/assets"
  grep -rn 'version = "1.0"' dist/manifest | sort > dist/versions.txt
else
  echo "nothing was built for $name, see build.log for the reason" >> dist/skipped.log
fi
"""
DENSE = (
    '[[ -f "$a" ]] && cp "$a" b\n',
    "[ -f a ] || touch a\n",
    "x=$(cat a.txt)\n",
    'y="${a[1]}"\n',
    "x=$((a + 1))\n",
    'if [ "$a" = b ]; then\n  echo "x: $a" >> log.txt\nfi\n',
    'f1() {\n  local a="$1"\n  echo "a is $a"\n}\n',
    "cat a.txt | sort | uniq -c | sort -rn | head > b.txt\n",
    'while read -r line; do\n  echo "$line" | sed "s/a/b/"\ndone < in.txt\n',
    'case "$1" in\n  -a|--all) all=1; shift ;;\n  *) break ;;\nesac\n',
    'echo "building $name for ${arch:-x86} in $dir"\n',
    "grep -n 'a b' src/app/module.py | sort > /tmp/out.txt\n",
    "ls a\n",
    SCRIPT,
)
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


def nodes(text: str) -> int:
    return Parser(LANGUAGE).parse(text.encode()).root_node.descendant_count


def as_long_as_may_be(unit: str) -> str:
    """Return a script of as many of these lines as the bounds of the issue let in: 8,000 bytes, 2,000 nodes."""
    return unit * min(8000 // len(unit), int(NODES_MAX / nodes(unit * 20) * 20))


def test_a_script_as_long_as_may_be_is_judged() -> None:
    text = (RELEASE * 40)[:8000]
    text = text[: text.rindex("# stage")]
    assert 7000 < len(text)
    assert 1500 < nodes(text) <= NODES_MAX
    form = canonical(text, "/home/dev/project")
    assert form.doubts == ()
    assert len([command for command in form.commands if command.program == "cp"]) == text.count("cp -r")


@pytest.mark.parametrize("unit", DENSE)
def test_a_dense_script_of_as_many_nodes_as_may_be_is_judged(unit: str) -> None:
    text = as_long_as_may_be(unit)
    assert nodes(text) > 0.9 * NODES_MAX or len(text) > 7900
    assert "too-complex" not in canonical(text).doubts
    assert tree_of(text.encode()) is not None


@pytest.mark.parametrize(("text", "reason"), [("ls a\n" * 600, "too-many-nodes"), ("# why\n" * 1400, "too-long")])
def test_a_script_over_a_bound_is_not_read_and_it_is_said_which(text: str, reason: str) -> None:
    assert canonical(text).doubts == (reason,)


@pytest.mark.parametrize("line", ["Don't (ever) use 'x'; it's \"bad\" | see (a) & (b)\n", "print(f(x)[0]); y = {'a': (1, 2)}  # it's so\n"])
def test_prose_and_code_in_a_heredoc_are_no_errors_of_the_script(line: str) -> None:
    assert tree_of(("cat > README.md <<EOF\n" + line * 120 + "EOF\ngit add README.md\n").encode()) is not None


def test_errors_in_the_middle_of_a_long_script_end_its_reading() -> None:
    text = RELEASE * 5 + "} < f(){ " * 200 + RELEASE * 5
    assert canonical(text).doubts == ("too-complex",)


def test_a_value_that_grows_is_not_read_without_end() -> None:
    text = "x=aaaaaaaaaaaaaaaa\n" + 'x="$x$x"\necho "$x"\n' * 12 + 'rm "$x" "$x" "$x"\n' * 60
    assert "too-complex" in canonical(text).doubts


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
