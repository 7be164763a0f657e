"""What listings print: paths, known as far as their folder, or as a glob for what they were told to find.

A glob stands for files of the kind that it names, in whatever folder below: `find src -name '*.py' | xargs cat` is
judged as `cat src/*.py` is. So it is given only for what is ordinary wherever it lies.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.form import ANY, BELOW, UNKNOWN, marks_of
from app.core.shell.places import classify
from app.core.shell.reading import Frame
from app.core.shell.searches import FOUND, OTHERS, name_found

_IN_GIT_TEXT: Final = """
HEAD ORIG_HEAD FETCH_HEAD index refs heads tags objects logs info packed-refs modules worktrees branches
config hooks policies mnt current flags.toml
"""
_IN_GIT: Final = frozenset(_IN_GIT_TEXT.split())
_FOLLOWING: Final = frozenset(("-L", "-follow", "-files0-from"))
_LETTERS: Final = frozenset("-rlLinFEPwxaIsvHh")
_ENDING: Final = re.compile(r"[*\w]\.([A-Za-z][A-Za-z0-9]{0,7})\Z", re.ASCII)
_APART_TEXT: Final = """
json toml yaml yml lock conf cfg ini env sock db sqlite sqlite3 pem key crt p12 pfx jks pack idx rev sample keep bitmap
sh bash zsh fish netrc secret secrets credentials token git
"""
_MADE_OF_OTHERS_TEXT: Final = "env local prod dev test stage staging live ci bak old orig save swp swo backup copy"
_MADE_OF_OTHERS: Final = frozenset(_MADE_OF_OTHERS_TEXT.split())
"""Endings behind another name, `.env` perhaps."""
_APART: Final = frozenset(_APART_TEXT.split()) | _MADE_OF_OTHERS
"""Endings of files too that are more than ordinary: settings of agents, rules, keys, hooks, the inside of git."""
_WRITES_ELSE: Final = ("--format", "--pretty", "--line-prefix", "--no-index", "--full-name", "-C", "--git-d", "--work")
_PRINTS_ELSE: Final = re.compile(r"-(?:printf|exec|ok)")
_NAMES_ALONE: Final = re.compile(r"-[1aAtrSUvXcuhd]+")
_GLOB: Final = frozenset("*?[")
_BELOW: Final = frozenset(("-name", "-iname", "-mindepth", "-path", "-regex"))
"""Tests which the folder that find begins in does not meet by the way."""
_NOT: Final = frozenset(("!", "-not"))
_NAMES_FILES: Final = re.compile(r"-[a-zA-Z]*[lL][a-zA-Z]*|--files-with(?:out)?-match(?:es)?")
_NARROWS: Final = re.compile(r"--files-with(?:out)?-match(?:es)?|--(?:include|exclude|exclude-dir)=.*")
_PATHS: Final = frozenset((BELOW,))
_KEEPS_LINES: Final = re.compile(r"-[viEFPwxzea]+")
_SPELLED: Final = frozenset(":-/~.")
"""What a pathspec of git begins with where it is more than a name."""
_PLAIN_MKTEMP: Final = re.compile(r"-[dqtu]+|--directory|--quiet")
_COUNTS_LINES: Final = re.compile(r"-(?:n?[1-9]\d*|[nuVf])\Z")
_COUNT: Final = re.compile(r"-?\d+\Z|-[a-zA-Z]\d*\Z|--[a-z-]+(?:=\d+)?\Z")


def paths_found(words: list[str], start: str, frame: Frame) -> str:
    """Return what `find` prints of a folder: a glob where it is told one of ordinary files, and no more."""
    name = name_found(words, start, frame)
    if not _FOLLOWING.isdisjoint(words):
        return UNKNOWN
    if name:
        place = classify(f"{start}/{name}", frame.scope.cwd, frame.scope.project)
        ordinary = place == ("project",) and name[0] != "." and name not in _IN_GIT
        return f"{start.rstrip('/')}/{ANY if ordinary else BELOW}/{name}"
    globs = [following for word, following in pairwise(words) if word in FOUND]
    if len(globs) == 1 and OTHERS.isdisjoint(words) and names_files(globs[0], frame):
        return f"{start.rstrip('/')}/{_listed(globs[0])}"
    path = below(start, frame)
    return f"{path}/{BELOW}" if path.endswith(BELOW) and _tells(words, frame) else path


def _tells(words: list[str], frame: Frame) -> bool:
    """Tell whether a search is for names of ordinary files alone: what it finds is not everything."""
    named = [two for two in zip(words, words[1:], words[2:], strict=False) if two[1] in FOUND and two[0] not in _NOT]
    return bool(named) and all(names_files(glob, frame) for _, _, glob in named)


def files_matching(words: list[str], frame: Frame) -> str | None:
    """Return the names of files with a match that a search prints: below the one folder that it is given, or of those
    that a glob names.
    """
    everywhere, operands = words[0].endswith("rg"), [word for word in words[1:] if word[:1] != "-"]
    letters = set("".join([word for word in words[1:] if word[:1] == "-" and word[1:2] != "-"]))
    if any(word[:2] == "--" and _NARROWS.fullmatch(word) is None for word in words) or not letters <= _LETTERS:
        return None
    if everywhere and "r" in letters:  # what to put in the place of a match
        return None
    starts, everywhere = operands[1:] or ["."], everywhere or "r" in letters
    if len(starts) != 1 or "*" in starts[0]:
        return _listed(starts[0]) if len(starts) == 1 and names_files(starts[0], frame) else None
    return below(starts[0], frame) if everywhere else None


def below(start: str, frame: Frame) -> str:
    """Return a path below a folder: of an ordinary one of the project that is not the whole, the glob for all of it."""
    ordinary = classify(start, frame.scope.cwd, frame.scope.project) == ("project",)
    if ordinary and not any(part.startswith(".") for part in start.removeprefix("./").split("/")):
        return f"{start.rstrip('/')}/{ANY}"
    return f"{start.rstrip('/')}/{BELOW}"


def names_files(glob: str, frame: Frame) -> bool:
    """Tell whether a glob names nothing but ordinary files, in whatever folder: by what it ends with."""
    if _ENDING.search(glob) is None or marks_of(glob) or _is_apart(glob, _APART):
        return False
    return classify(glob.rpartition("/")[2], frame.scope.cwd, frame.scope.project) == ("project",)


def _listed(glob: str) -> str:
    return glob.replace("*", ANY)


def _is_apart(glob: str, endings: frozenset[str]) -> bool:
    ending = _ENDING.search(glob)
    return ending is not None and ending[1].lower() in endings


def _paths_below(words: list[str], frame: Frame) -> str | None:
    """Find names paths below where it looks: known as far as their folder."""
    starts = _starts(words)
    start = starts[0] if len(starts) == 1 else "." if not starts else None
    if start is None or marks_of(start) or any(_PRINTS_ELSE.match(word) for word in words[1:]):
        return None
    itself = start != "." and "-type f" not in " ".join(words) and _BELOW.isdisjoint(words)
    if itself and "project-root" in classify(start, frame.scope.cwd, frame.scope.project):
        return None
    return paths_found(words, start, frame)


def _names_in(words: list[str], frame: Frame) -> str | None:
    """Of one folder `ls` names what is in it, without the folder; of files it prints the paths that it was given."""
    starts = [word for word in words[1:] if word[:1] != "-"]
    options = [word for word in words[1:] if word[:1] == "-"]
    if len(starts) > 1 or marks_of("".join(starts)) or not all(_NAMES_ALONE.fullmatch(word) for word in options):
        return None
    start = starts[0] if starts else "."
    if names_files(start, frame):
        return _listed(start)
    if "d" not in "".join(options) and _GLOB.isdisjoint(start):
        return f"./{BELOW}"
    if "project-root" in classify(start, frame.scope.cwd, frame.scope.project):
        return None
    folder, above, _ = start.rstrip("/").rpartition("/")
    return f"{folder}{above or './'}{BELOW}"


def _starts(words: list[str]) -> list[str]:
    starts: list[str] = []
    for word in words[1:]:
        if word.startswith(("-", "(", "!")):
            break
        starts.append(word)
    return starts


def _tracked(words: list[str], frame: Frame) -> str | None:
    """What git tracks lies below the folder that it is asked in, unless it is told how to write that."""
    if any(word.startswith(_WRITES_ELSE) for word in words):
        return None
    if words[1:2] == ["ls-files"] and len(words) == 3 and words[2][:1] not in _SPELLED and names_files(words[2], frame):
        return f"./{_listed(words[2])}"
    return f"./{BELOW}" if words[1:2] == ["ls-files"] or "--name-only" in words else None


def _lines(words: list[str], frame: Frame) -> str | None:
    """Some of the lines that come in: of paths that are not known, such paths."""
    text = frame.stdin
    if not text or "\n" in text:
        return None
    if UNKNOWN in text or BELOW in text:
        return text if all(_COUNT.match(word) for word in words[1:]) else None
    lines = [(before == "-n" and word.isdecimal()) or _COUNTS_LINES.match(word) for before, word in pairwise(words)]
    return text if all(lines) else None


def _matching(words: list[str], frame: Frame) -> str | None:
    """Those lines of its input that a pattern matches, or does not, or the names of files with such lines; None where
    it prints more, less, or a file.
    """
    if any(_NAMES_FILES.fullmatch(word) for word in words[1:]):
        return files_matching(words, frame)
    text = frame.stdin
    if not text or not _PATHS.intersection(text) or "\n" in text or sum(word[:1] != "-" for word in words[1:]) != 1:
        return None
    return text if all(_KEEPS_LINES.fullmatch(word) for word in words[1:] if word[:1] == "-") else None


def _temporary(words: list[str], frame: Frame) -> str | None:
    """A path of its own: in the temporary folder, or as its template says; its X become letters and digits."""
    options = [word for word in words[1:] if word[:1] == "-"]
    template = [word for word in words[1:] if word[:1] != "-"]
    plain = all(_PLAIN_MKTEMP.fullmatch(word) for word in options)
    if not plain or len(template) > 1 or "TMPDIR" in frame.scope.variables:
        return None
    if not template:
        return "/tmp/tmp.XXXXXXXXXX\n"
    if "t" in "".join(options):
        return None if "/" in template[0] else f"/tmp/{template[0]}\n"
    return f"{template[0]}\n"


LISTED: Final[dict[str, Callable[[list[str], Frame], str | None]]] = {
    "find": _paths_below,
    "ls": _names_in,
    **dict.fromkeys(("head", "tail", "sort", "uniq"), _lines),
    **dict.fromkeys(("grep", "egrep", "fgrep", "rg"), _matching),
    "mktemp": _temporary,
    "git": _tracked,
}
