"""Wrappers: programs that run another one from their words, in another folder or with another environment perhaps."""

from itertools import pairwise
from typing import Final

from app.core.shell.environment import note_given
from app.core.shell.follow import Span, inside, moved
from app.core.shell.form import UNKNOWN, Command, marks_of
from app.core.shell.names import PREFIXES
from app.core.shell.operands import touch
from app.core.shell.reading import Frame, Reading
from app.core.shell.runners import acts

_TAKES: Final = {
    "flock": ("-c", "--command"),
    "runuser": ("-c", "--command"),
    "uv run": ("-m", "--module"),
}
_FOLDERS: Final = {
    "env": ("-C", "--chdir"),
    "sudo": ("-D", "--chdir"),
    "run0": ("-D", "--chdir"),
    "bwrap": ("--chdir",),
    "unshare": ("-w", "--wd"),
    "nsenter": ("-w", "--wd"),
    "proot": ("-w", "--cwd", "--pwd"),
    "daemonize": ("-c",),
    "systemd-run": ("--working-directory",),
    "uv run": ("--directory",),
    "conda run": ("--cwd",),
    "mamba run": ("--cwd",),
    "stack exec": ("--cwd",),
    "meson devenv": ("-C", "-w", "--workdir"),
    "parallel": ("--wd", "--workdir"),
    "fd": ("-C", "--base-directory"),
}
"""Options by which a wrapper runs its program in another folder."""
_OUTPUTS: Final = {
    "time": ("-o", "--output"),
    "strace": ("-o", "--output"),
    "ltrace": ("-o", "--output"),
    "perf stat": ("-o", "--output"),
    "perf record": ("-o", "--output"),
    "valgrind": ("--log-file", "--xml-file"),
    "xvfb-run": ("-e", "-f", "--error-file", "--auth-file"),
    "daemonize": ("-o", "-e", "-p", "-l"),
}
"""Options by which a wrapper writes a file."""
_NO_WRAPPER: Final = 8


def given(words: list[str], names: tuple[str, ...]) -> tuple[str, int] | None:
    """Return the value of an option that `words` begin with, and how many of them it takes; None where it is none of
    `names`. A cluster (`-iC x`) and the beginning of a long name give it too.
    """
    if not names or not words[0].startswith("-"):
        return None
    name, sign, value = words[0].partition("=")
    following = words[1] if len(words) > 1 else UNKNOWN
    if name.startswith("--"):
        found = len(name) > 3 and any(one.startswith(name) for one in names)  # `--c`
        return ((value, 1) if sign else (following, 2)) if found else None
    at = min([words[0].find(one[1], 1) for one in names if len(one) == 2 and one[1] in words[0][1:]], default=0)
    if not at:
        return None
    return (words[0][at + 1 :], 1) if words[0][at + 1 :] else (following, 2)


def where_told(words: list[str], frame: Frame) -> Frame:
    """Return the frame of what a launcher runs that takes a folder anywhere among its options."""
    names = _FOLDERS[words[0]]
    folders = [found[0] for index in range(1, len(words)) if (found := given(words[index:], names)) is not None]
    return moved(frame, folders[0]) if folders else frame


def run_prefix_pair(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Follow a wrapper that is two words: `uv run`."""
    return run_prefix(reading, [f"{words[0]} {words[1]}", *words[2:]], frame, span)


def run_prefix(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Follow a wrapper into the words behind its options."""
    values, skip = PREFIXES[words[0]]
    if skip > _NO_WRAPPER:
        return None
    _doubt_options(reading, words, values)
    index = 1
    while index < len(words) and words[index].startswith(("-", "+")) and words[index] not in {"-", "--"}:
        if words[index] in _TAKES.get(words[0], ()) and index + 1 < len(words):
            return _taken(reading, words, index + 1, inside(frame, words[0], span), span)
        frame, taken = _placed(reading, words, index, frame, span)
        _doubt_value(reading, words[index], values, taken)
        index += taken or (2 if words[index] in values else 1)
    index = _after_assignments(words, index + (words[index : index + 1] == ["--"]))
    inner = words[index + skip :]
    if words[0] == "flock":
        _note_written(reading, words[index : index + 1], frame, span)
    if words[0] == "flock" and inner[:1] in (["-c"], ["--command"]) and len(inner) > 1:
        return reading.run_text(reading, inner[1], inside(frame, words[0], span))
    if not inner:
        return None
    return reading.run_words(reading, inner, inside(frame, words[0], span), span)


def _placed(reading: Reading, words: list[str], index: int, frame: Frame, span: Span) -> tuple[Frame, int]:
    """Return the frame behind an option that names a folder or a file, and how many words that took; 0 for another."""
    folder = given(words[index:], _FOLDERS.get(words[0], ()))
    if folder is not None:
        return moved(frame, folder[0]), folder[1]
    output = given(words[index:], _OUTPUTS.get(words[0], ()))
    if output is None:
        return frame, 0
    _note_written(reading, [output[0]], frame, span)
    return frame, output[1]


def _note_written(reading: Reading, paths: list[str], frame: Frame, span: Span) -> None:
    for path in paths:
        written = touch("write", path, frame)
        if "null" not in written.where:
            reading.emit(Command(">", (">", path), frame.wrappers, span, frozenset(), (written,), bool(marks_of(path))))


def _doubt_options(reading: Reading, words: list[str], values: frozenset[str]) -> None:
    if values and any(" " in word and acts(word) for a, word in pairwise(words) if a in values):
        reading.doubt("argument-is-a-command")


def _doubt_value(reading: Reading, word: str, values: frozenset[str], taken: int) -> None:
    """Doubt an option that takes the next word by a cluster (`-nw 5`) or a shortened name (`--wai 5`)."""
    if taken or word in values or "=" in word:
        return
    if any(name.startswith(word) for name in values) if word.startswith("--") else f"-{word[2:][-1:]}" in values:
        reading.doubt("option-takes-the-next-word")


def _taken(reading: Reading, words: list[str], index: int, frame: Frame, span: Span) -> str:
    """What an option of a wrapper runs: a text, or a module of Python."""
    if words[0] == "uv run":
        return reading.run_words(reading, ["python", "-m", *words[index:]], frame, span)
    return reading.run_text(reading, words[index], frame)


def _after_assignments(words: list[str], index: int) -> int:
    while index < len(words) and "=" in words[index] and words[index].partition("=")[0].isidentifier():
        index += 1
    return index


def run_env(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Follow `env` into what it runs, with the environment and in the folder that it gives."""
    index, frame = 1, frame._replace(scope=frame.scope.copy())
    while index < len(words):
        word = words[index]
        if word in {"-S", "--split-string"} or word.startswith(("-S", "--split-string=")):
            text = " ".join([word.removeprefix("--split-string=").removeprefix("-S"), *words[index + 1 :]])
            return reading.run_text(reading, text, inside(frame, "env", span))
        if word.startswith("-"):
            frame, taken = _placed(reading, words, index, frame, span)
            index += taken or (2 if word in {"-u", "--unset"} else 1)
        elif "=" in word:
            _given_to_env(reading, word, frame, span)
            index += 1
        else:
            break
    if index >= len(words):
        return None
    return reading.run_words(reading, words[index:], inside(frame, "env", span), span)


def _given_to_env(reading: Reading, word: str, frame: Frame, span: Span) -> None:
    name, _, value = word.partition("=")
    frame.scope.assign(name, value)
    note_given(reading, span, frame, name, value)
