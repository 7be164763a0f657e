"""What tar touches: its words are read as getopt and its old style give them, since a folder may be glued to `-C`."""

from posixpath import join
from typing import Final

from app.core.shell.form import Touch
from app.core.shell.operands import touch
from app.core.shell.reading import Frame

_LETTERS: Final = frozenset("bCfFgHIKLNTVX")
"""Letters that take a value."""
_NAMES: Final = {
    "--create": "c",
    "--append": "r",
    "--update": "u",
    "--catenate": "A",
    "--concatenate": "A",
    "--delete": "r",
    "--extract": "x",
    "--get": "x",
    "--list": "t",
    "--diff": "t",
    "--compare": "t",
    "--file": "f",
    "--directory": "C",
    "--cd": "C",
    "--files-from": "T",
    "--exclude-from": "T",
    "--add-file": "+",
    "--listed-incremental": "g",
    "--index-file": "g",
    "--volno-file": "g",
    "--one-top-level": "into",
    "--remove-files": "removes",
}
_WITH_VALUE: Final = frozenset(
    (
        "--file",
        "--directory",
        "--cd",
        "--files-from",
        "--exclude-from",
        "--add-file",
        "--listed-incremental",
        "--index-file",
        "--volno-file",
        "--exclude",
        "--transform",
        "--xform",
        "--strip-components",
        "--owner",
        "--group",
        "--mode",
        "--mtime",
        "--newer",
        "--format",
        "--label",
        "--use-compress-program",
        "--sort",
    )
)
_ACCESS: Final = {"T": "read", "g": "write", "into": "write"}
_MAKES: Final = frozenset("cruA")


def archived(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what goes into an archive as read, where it is unpacked as written, and the archive itself as either."""
    given = _given(words)
    names = frozenset(name for name, _ in given)
    makes, extracts = bool(names & _MAKES), "x" in names
    taken = "delete" if "removes" in names else "read"
    found: list[Touch] = []
    folder = ""
    for name, value in given:
        if name == "C":
            folder = join(folder, value)
            found.append(touch("write" if extracts else "read", folder, frame))
        elif name == "f" and value != "-":
            found.append(touch("write" if makes else "read", value, frame))
        elif name in _ACCESS and value:
            found.append(touch(_ACCESS[name], value, frame))
        elif name in {"", "+"} and not extracts:
            found.append(touch(taken, join(folder, value), frame))
    if extracts and "C" not in names:
        found.append(touch("write", "./x", frame))
    return tuple(found)


def _given(words: list[str]) -> list[tuple[str, str]]:
    """Return options by their letter with their value, and operands under ''."""
    found, rest, options = [], list(reversed(words[1:])), True
    if rest and not rest[-1].startswith("-"):
        found = [(letter, rest.pop() if letter in _LETTERS and rest else "") for letter in rest.pop()]
    while rest:
        word = rest.pop()
        if word == "--":
            options = False
        elif not options or not word.startswith("-") or word == "-":
            found.append(("", word))
        elif word.startswith("--"):
            found.append(_long(word, rest))
        else:
            found += _short(word[1:], rest)
    return found


def _long(word: str, rest: list[str]) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    full = next((one for one in (*_NAMES, *_WITH_VALUE) if one.startswith(name)), name)
    if not sign and full in _WITH_VALUE and rest:
        value = rest.pop()
    return _NAMES.get(full, full), value


def _short(letters: str, rest: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for index, letter in enumerate(letters):
        if letter in _LETTERS:
            return [*found, (letter, letters[index + 1 :] or (rest.pop() if rest else ""))]
        found.append((letter, ""))
    return found
