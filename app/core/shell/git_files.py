"""Files that git's options and operands name: what it writes, moves and reads besides the files that it tracks.

Git takes the beginning of a long option for the option, and the folder of `-C` for its own.
"""

import re
from itertools import pairwise
from typing import Final, NamedTuple

from app.core.shell.follow import moved
from app.core.shell.form import Touch
from app.core.shell.operands import touch
from app.core.shell.reading import Frame

_BEFORE: Final = frozenset(("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env"))
"""Options before the sub-command that take the next word."""
_SPACE: Final = re.compile(r"\s")


class _Files(NamedTuple):
    """Options of a sub-command by what is done to the file that they name; `values` take a word that is no file."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


_DIFF: Final = ("--output",)
_DIFF_READS: Final = ("-O",)
_DIFF_VALUES: Final = ("-S", "-G", "-n", "-U", "-L", "--grep", "--author", "--since", "--until", "--format")
_SHOWS: Final = _Files(_DIFF, _DIFF_READS, _DIFF_VALUES)
_MESSAGE: Final = ("-F", "--file")
_MESSAGE_VALUES: Final = ("-m", "--message")
_FILES: Final[dict[str, _Files]] = {
    **dict.fromkeys(("log", "show", "diff", "shortlog", "reflog", "stash", "whatchanged", "range-diff"), _SHOWS),
    **dict.fromkeys(("diff-tree", "diff-index", "diff-files", "rev-list"), _SHOWS),
    "format-patch": _Files(("-o", "--output-directory", *_DIFF), ("--signature-file", "--description-file")),
    "archive": _Files(("-o", "--output"), ("--add-file",)),
    "blame": _Files((), ("--contents", "-S", "--ignore-revs-file")),
    "annotate": _Files((), ("--contents", "-S", "--ignore-revs-file")),
    "commit": _Files((), (*_MESSAGE, "-t", "--template", "--pathspec-from-file"), (*_MESSAGE_VALUES, "-C", "-c")),
    "commit-tree": _Files((), _MESSAGE, ("-m", "-p")),
    "tag": _Files((), _MESSAGE, (*_MESSAGE_VALUES, "-u")),
    "notes": _Files((), _MESSAGE, (*_MESSAGE_VALUES, "-C", "-c")),
    "merge": _Files((), _MESSAGE, (*_MESSAGE_VALUES, "-s", "-X")),
    "grep": _Files((), ("-f",), ("-e", "-A", "-B", "-C", "-m")),
    "ls-files": _Files((), ("-X", "--exclude-from"), ("-x", "--exclude")),
    "checkout-index": _Files(("--prefix",)),
    **dict.fromkeys(("add", "reset", "checkout", "restore", "rm"), _Files((), ("--pathspec-from-file",))),
    "config": _Files((), (), ("-f", "--file", "--blob", "--type", "-t", "--default", "--comment", "--value", "--url")),
    "interpret-trailers": _Files((), (), ("--trailer", "--where", "--if-exists", "--if-missing")),
    "worktree": _Files((), (), ("-b", "-B", "--reason")),
    "merge-file": _Files((), (), ("-L", "--marker-size", "--diff-algorithm")),
    "apply": _Files((), (), ("-p", "-C", "--directory", "--exclude", "--include", "--whitespace")),
    "am": _Files((), (), ("-p", "-C", "--directory", "--exclude", "--include", "--whitespace", "--patch-format")),
    "hash-object": _Files((), (), ("-t", "--path")),
    "clone": _Files(
        ("--separate-git-dir",),
        (),
        ("-b", "--branch", "-o", "--origin", "-j", "--jobs", "--depth", "--filter", "-c"),
    ),
    "init": _Files(("--separate-git-dir",), (), ("-b", "--initial-branch", "--object-format", "--ref-format")),
    "fast-export": _Files(("--export-marks",), ("--import-marks", "--import-marks-if-exists")),
    "fast-import": _Files(("--export-marks", "--export-pack-edges"), ("--import-marks", "--import-marks-if-exists")),
    **dict.fromkeys(("diagnose", "bugreport", "cliff"), _Files(("-o", "--output", "--output-directory"))),
}
_NONE: Final = _Files()
_LOOKS_TEXT: Final = """
status log show diff blame grep ls-files ls-tree ls-remote rev-parse rev-list describe shortlog cat-file remote branch
config reflog for-each-ref show-ref name-rev merge-base diff-tree diff-index diff-files whatchanged version help
count-objects var check-ignore check-attr symbolic-ref tag stash fetch archive
"""
_LOOKS: Final = frozenset(_LOOKS_TEXT.split()) - {"stash"}
"""Sub-commands that change no file of the tree; what else they do is asked of their words."""


def _telling(known: _Files) -> re.Pattern[str]:
    """Return what some of the words have, joined by NUL, wherever any of them names a file."""
    names = (*known.writes, *known.reads)
    long = "".join({name[2] for name in names if name[:2] == "--"})
    short = "".join([name[1] for name in names if len(name) == 2])
    ways = [r"\0[^\s@\0:]*+:[^\s@\0]*+(?=\0|\Z)|--no-index"]
    ways += [f"\0--[{long}]"] if long else []
    ways += [f"\0-[^-\0]*[{short}]"] if short else []
    return re.compile("|".join(ways))


_TELLS_LEAST: Final = _telling(_NONE)
_TELLS: Final = {verb: _telling(known) for verb, known in _FILES.items()}
_CONFIG_READS: Final = re.compile(r"--(?:get|list)[a-z-]*|-l|get|list")
_CONFIG_WRITES: Final = re.compile(r"(?:--)?(?:add|set|unset|replace|rename|remove|edit)[a-z-]*|-e")


def sub_command(words: list[str]) -> int:
    """Return the place of git's sub-command among the words; their number where there is none."""
    index = 1
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in _BEFORE else 1
    return min(index, len(words))


def git_touches(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return the files that git's words name, as writes, moves and reads; contents too (`HEAD:.env`)."""
    if len(words) < 3:
        return ()
    at = sub_command(words)
    verb = words[at] if at < len(words) else ""
    step = _OPERANDS.get(verb)
    if at > 1 and verb not in _LOOKS and (elsewhere := _elsewhere(words, at, frame)):
        return elsewhere
    if step is None and _TELLS.get(verb, _TELLS_LEAST).search("\0".join(words)) is None:
        return ()
    frame, after = _placed(words, at, frame), words[at + 1 :]
    known = _FILES.get(verb, _NONE)
    found = [touch("write", path, frame) for path in _values(after, known.writes)]
    found += [touch("read", path, frame) for path in _values(after, known.reads)]
    if step is not None:
        found += [touch(access, path, frame) for access, path in step(after, _plain(after, known))]
    return (*[one for one in found if one.path not in {"", "-"}], *_contents(after, frame))


def _elsewhere(words: list[str], at: int, frame: Frame) -> tuple[Touch, ...]:
    """Return the tree that `-C` or `--work-tree` names, which the sub-command may change, where it is another one."""
    place = _placed(words, at, frame).scope.cwd
    named = [following for word, following in pairwise(words[1:at]) if word == "--work-tree"]
    named += [word.partition("=")[2] for word in words[1:at] if word.startswith("--work-tree=")]
    named += [place] if place != frame.scope.cwd else []
    found = [touch("change", path, frame) for path in named]
    return tuple([one for one in found if one.where[0] not in {"project", "temp"}])


def foreign_repository(words: list[str], frame: Frame) -> str:
    """Return the doubt of a folder that is no `.git` of the project: git runs what its settings there say."""
    if "--git-dir" not in "".join(words):
        return ""
    at = sub_command(words)
    before, frame = [*words[1:at], ""], _placed(words, at, frame)
    named = [following for word, following in pairwise(before) if word == "--git-dir"]
    named += [word.partition("=")[2] for word in before if word.startswith("--git-dir=")]
    where = [touch("read", path, frame).where for path in named]
    return "git-settings-from-elsewhere" if any(one[0] != "project" or "git" not in one for one in where) else ""


def _placed(words: list[str], at: int, frame: Frame) -> Frame:
    """Return the frame in the folder of `-C`."""
    for option, folder in pairwise(words[1:at]):
        frame = moved(frame, folder) if option == "-C" else frame
    return frame


def _contents(after: list[str], frame: Frame) -> list[Touch]:
    """Contents of a credential that git shows by name, and files that it compares as they lie there."""
    named = [word for word in after if ":" in word]
    found = [
        touch("read", word.rpartition(":")[2], frame)
        for word in named
        if "//" not in word and "@" not in word and not _SPACE.search(word)
    ]
    if "--no-index" in after:
        found += [touch("read", word, frame) for word in after if not word.startswith("-")]
    return [one for one in found if "secret" in one.where]


def _values(after: list[str], names: tuple[str, ...]) -> list[str]:
    """Return the values of these options, glued or not, in a cluster (`-aF x`) or under a shortened name."""
    if not names:
        return []
    found: list[str] = []
    for index, word in enumerate(after):
        if word == "--":
            break
        if word[:1] != "-" or len(word) < 2:
            continue
        value = _value(word, after[index + 1] if index + 1 < len(after) else "", names)
        if value is not None:
            found.append(value)
    return found


def _value(word: str, following: str, names: tuple[str, ...]) -> str | None:
    if word[:2] == "--":
        name, sign, value = word.partition("=")
        if not any(name == one or (len(name) > 3 and one.startswith(name)) for one in names):
            return None
        return value if sign else following
    for one in names:
        at = word.find(one[1], 1) if len(one) == 2 else -1
        if at == 1 or (at > 1 and word[1:at].isalpha() and word[1:at].islower() and "m" not in word[1:at]):
            return word[at + 1 :].removeprefix("=") or following
    return None


def _plain(after: list[str], known: _Files) -> list[str]:
    """Return the words that are neither options nor their values."""
    takes = (*known.values, *known.reads, *known.writes)
    found: list[str] = []
    skip, options = False, True
    for word in after:
        if skip:
            skip = False
        elif options and word == "--":
            options = False
        elif options and word.startswith("-") and word != "-":
            skip = word in takes
        else:
            found.append(word)
    return found


def _moved(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return [*[("delete", path) for path in plain[:-1]], *[("write", path) for path in plain[-1:]]]


def _trailers(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    in_place = any(word.startswith("--in") for word in after)
    accesses = ("read", "write") if in_place else ("read",)
    return [(access, path) for path in plain for access in accesses]


def _merged(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    shown = any(word == "-p" or word.startswith("--std") for word in after)
    return [*[("read", path) for path in plain], *([] if shown else [("write", path) for path in plain[:1]])]


def _configured(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    files = _values(after, ("-f", "--file"))
    if not files:
        return []
    asked = [*[word for word in after if word[:1] == "-"], *plain[:1]]
    reads = any(_CONFIG_READS.fullmatch(word) for word in asked)
    writes = not reads and (len(plain) > 1 or any(_CONFIG_WRITES.fullmatch(word) for word in asked))
    return [("write" if writes else "read", path) for path in files]


def _read(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return [("read", path) for path in plain]


def _made(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return [("write", path) for path in plain if "/" in path and ":" not in path]


def _cloned(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return _made(after, plain[1:])


def _worktree(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return [("write", path) for path in (plain[1:2] if plain[:1] == ["add"] else plain[1:])]


def _bundled(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    return [("write" if plain[0] == "create" else "read", path) for path in plain[1:2]]


def _written(after: list[str], plain: list[str]) -> list[tuple[str, str]]:
    glued = [word.removeprefix("-o") for word in after if word[:1] in {"/", "~"} or ".." in word or word[:2] == "-o"]
    return [("write", word) for word in dict.fromkeys([*plain, *glued])]


_OPERANDS: Final = {
    "mv": _moved,
    "interpret-trailers": _trailers,
    "merge-file": _merged,
    "config": _configured,
    **dict.fromkeys(("apply", "am", "hash-object", "stripspace", "check-mailmap"), _read),
    "init": _made,
    "clone": _cloned,
    "worktree": _worktree,
    "bundle": _bundled,
    **dict.fromkeys(("mailinfo", "mailsplit", "index-pack", "pack-objects", "commit-graph"), _written),
}
