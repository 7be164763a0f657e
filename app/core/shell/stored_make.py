"""Makefiles that the store holds: of the targets asked for and of what they need each recipe is read as shell text."""

import re
from itertools import pairwise
from posixpath import dirname
from typing import Final

from app.core.shell.follow import Span, inside, text_followed
from app.core.shell.form import UNKNOWN, marks_of
from app.core.shell.makefile import Makefile, Rule
from app.core.shell.places import absolute
from app.core.shell.reading import Frame, Reading
from app.core.shell.stored import stored_text

NAMES: Final = ("GNUmakefile", "makefile", "Makefile")
_STEP_BYTES: Final = 128
_VALUES: Final = frozenset(("-C", "--directory", "-f", "--file", "--makefile", "-o", "-W", "-I", "--include-dir"))
_FOLDERS: Final = re.compile(r"(?:-C=?|--directory=)(.+)")
_FILES: Final = re.compile(r"(?:-f=?|--file=|--makefile=)(.+)")
_UNKNOWN: Final = "$UNKNOWN_TO_WHOEVER_READS"
"""Stands in a recipe for words that only a run would show: an unknown word, where a mark would be unknown code."""


def follow_make(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """Read the stored makefile that a call of make would run, each recipe line in a shell of its own."""
    if reading.scripts is None:
        return
    folder, names, given, goals = asked(words)
    scope = frame.scope.copy()
    scope.cwd = absolute(folder, scope.cwd) if folder else scope.cwd
    inner = inside(frame, words[0], span)._replace(scope=scope)
    texts = [text for name in names or NAMES if (text := stored_text(reading, name, inner)) is not None]
    text = "\n".join(texts if names else texts[:1])
    reading.steps += len(text) // _STEP_BYTES
    if text and not reading.spent():
        _read_recipes(reading, Makefile(text, given), goals, words, inner, span)


def _read_recipes(
    reading: Reading, file: Makefile, goals: list[str], words: list[str], frame: Frame, span: Span
) -> None:
    texts: list[str] = []
    for target, rule in file.needed(goals):
        names = _automatic(target, rule)
        lines = [file.expand(line, names).lstrip("@-+ \t").replace(UNKNOWN, _UNKNOWN) for line in rule.recipe]
        texts += ["\n".join(lines)] if file.one_shell else lines
    for text in dict.fromkeys([*[text.replace(UNKNOWN, _UNKNOWN) for text in file.shell], *texts]):
        if text.strip() and not text.startswith("#") and not reading.spent():
            text_followed(reading, text, words, frame._replace(scope=frame.scope.copy()), span)
    if file.doubt:
        reading.doubt(file.doubt)


def _automatic(target: str, rule: Rule) -> dict[str, str]:
    """Return what make calls `$@`, `$<`, ... in a recipe; a pattern's names are those of any file."""
    made = (target or rule.targets[0]).replace("%", "x")
    needs = [need.replace("%", "x") for need in rule.needs]
    names = {"@": made, "<": needs[0] if needs else UNKNOWN, "^": " ".join(needs), "*": "x"}
    names |= {"+": names["^"], "?": names["^"], "|": names["^"], "%": UNKNOWN}
    folders = {f"{name}D": UNKNOWN if marks_of(text) else dirname(text) or "." for name, text in names.items()}
    return names | folders


def asked(words: list[str]) -> tuple[str, list[str], dict[str, str], list[str]]:
    """Return folder, files, given variables and goals of a command line of make."""
    folder, names, given, goals = "", list[str](), dict[str, str](), list[str]()
    for before, word in pairwise(words):
        name, sign, value = word.partition("=")
        if (found := _FOLDERS.fullmatch(f"{before}={word}") or _FOLDERS.fullmatch(word)) is not None:
            folder = absolute(found[1], folder)
        elif (found := _FILES.fullmatch(f"{before}={word}") or _FILES.fullmatch(word)) is not None:
            names.append(found[1])
        elif sign and re.fullmatch(r"[\w.-]+[:?+]*", name) and not word.startswith("-"):
            given[name.rstrip(":?+")] = value
        elif not (word.startswith("-") or before in _VALUES or (before in {"-j", "-l"} and word.isdigit())):
            goals.append(word)
    return folder, names, given, goals
