"""Commands with quotes around whole words are read without a tree: what is read must be the same."""

import random
from pathlib import Path

import pytest

from app.core.shell import script
from app.core.shell.launch import run_words
from app.core.shell.reading import Frame, Reading
from app.core.shell.scope import Scope
from app.core.shell.syntax import parse, plain_words, quoted_words

CWD = "/home/dev/project"
EVERYDAY = (Path(__file__).parent / "policy_site" / "everyday_commands.txt").read_text().splitlines()
PROGRAMS = (
    "git sed awk find xargs make sh env python3 echo export unset test tar grep rm cp npx docker trap foo".split()
)
OPTIONS = "-c -e -m --eval -f -exec -I commit log exec config -- a=b alias.z ../x /etc/passwd".split()
QUOTED = ["rm -rf /", "a b", "*.py", "s/a/b/e", "1e ls", "a;b", "~/x", "/etc/shadow", "x: ; ls", "A=b", "{a,b}", "(a)"]


def by_tree(text: str) -> tuple[object, ...]:
    reading = Reading(script.run_node, script.run_text, run_words)
    parsed = parse(text)
    assert parsed.root is not None
    script.run_node(reading, parsed.root, Frame(Scope(CWD, CWD), parsed.source))
    return tuple(reading.commands), tuple(reading.doubts)


def is_short_cut(text: str) -> bool:
    return plain_words(text) is None and quoted_words(text) is not None


def composed(draw: random.Random) -> str:
    words = [draw.choice(PROGRAMS)]
    for _ in range(draw.randrange(1, 5)):
        quote = draw.choice("'\"")
        words.append(draw.choice(OPTIONS) if draw.random() < 0.5 else quote + draw.choice(QUOTED) + quote)
    return " ".join(words)


def test_what_is_read_without_a_tree_is_what_the_tree_says() -> None:
    draw = random.Random(3)
    texts = [text for text in EVERYDAY + [composed(draw) for _ in range(2500)] if is_short_cut(text)]
    assert len(texts) > 1000
    for text in texts:
        assert script.canonical(text, CWD, CWD) == by_tree(text), text


def test_globs_and_tildes_need_no_tree() -> None:
    draw = random.Random(4)
    words = [*OPTIONS, "*", "*.py", "a?", "~", "~/x", "~dev/.ssh", "HEAD~3", "HEAD^", "^x", "a=~/b", "/etc/*", "if=~", "2", ".*"]
    texts = [" ".join([draw.choice(PROGRAMS), *draw.choices(words, k=draw.randrange(1, 5))]) for _ in range(1500)]
    texts = [text for text in texts if text.split()[0] not in {"export", "unset"}]
    assert sum(plain_words(text) is not None for text in texts) > 1000
    for text in texts:
        assert script.canonical(text, CWD, CWD) == by_tree(text), text


@pytest.mark.parametrize(
    "text",
    [
        "echo '$(rm x)'",
        'echo "`rm x`"',
        "echo 'a'b",
        "echo 'a\nb'",
        "then 'x'",
        "export 'A=b'",
        "echo '\\x'",
        "echo ''",
    ],
)
def test_what_quotes_may_not_settle_is_left_to_the_tree(text: str) -> None:
    assert quoted_words(text) is None
