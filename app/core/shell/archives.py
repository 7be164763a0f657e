"""What archives are made of: operands, and the names that come in on standard input.

Tar's words are read as getopt and its old style give them, since a folder may be glued to `-C`.
"""

import re
from itertools import pairwise
from posixpath import join
from typing import Final

from app.core.shell.form import MARKS, UNKNOWN, Touch, marks_of
from app.core.shell.operands import operands_of, touch
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
_NAMES_MAX: Final = 64
"""A text that is known has seldom more lines."""
_ENDS: Final = re.compile(r"[\n\0]")
_IN_FOLDER: Final = re.compile(rf"[^{''.join(MARKS)}]*/[^/]*\Z")
_ACCESS: Final = {"T": "read", "g": "write", "into": "write"}
_MAKES: Final = frozenset("cruA")


def archived(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what goes into an archive as read, where it is unpacked as written, and the archive itself as either."""
    given = options_of(words)
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
        elif name == "T" and value == "-":
            found += given_names(frame, folder)
        elif name in _ACCESS and value:
            found.append(touch(_ACCESS[name], value, frame))
        elif name in {"", "+"} and not extracts:
            found.append(touch(taken, join(folder, value), frame))
    if extracts and "C" not in names:
        found.append(touch("write", "./x", frame))
    return tuple(found)


def copied_in_and_out(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what cpio takes (the names that it is given, in the folder of `-D`) and where it puts it: what comes out
    of an archive goes where that says.
    """
    folder = next((b for a, b in pairwise(words) if a in {"-D", "--directory"}), "")
    letters = frozenset("".join([word[1:] for word in words[1:] if word.startswith("-") and word[1:2] != "-"]))
    archives = [b for a, b in pairwise(words) if a in {"-F", "-O", "--file"}]
    archives += [word.partition("=")[2] for word in words if word.startswith("--file=")]
    found = [touch("write", path, frame) for path in archives]
    if "t" in letters or "--list" in words:
        return tuple(found)
    if "i" in letters or "--extract" in words:
        safe = "--no-absolute-filenames" in words
        return (*found, touch("write", join(folder, "./x") if safe else UNKNOWN, frame))
    passes = "p" in letters or "--pass-through" in words
    found += [touch("write" if passes else "read", path, frame) for path in operands_of("cpio", words)]
    return (*found, *given_names(frame, folder))


def zipped(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what zip and pax read: operands, or the names that they are given."""
    found = tuple([touch("read", path, frame) for path in operands_of(words[0].rpartition("/")[2], words)])
    return (*found, *given_names(frame))


def given_names(frame: Frame, folder: str = "") -> tuple[Touch, ...]:
    """Return what standard input names as read, by a program that works in `folder`: everything in a folder, where only
    that of a name is known.
    """
    names = [name for name in _ENDS.split(frame.stdin or "") if name][:_NAMES_MAX]
    known = [f"{name.rpartition('/')[0]}/*" if marks_of(name) and _IN_FOLDER.match(name) else name for name in names]
    return tuple([touch("read", join(folder, name), frame) for name in known])


def options_of(words: list[str]) -> list[tuple[str, str]]:
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
