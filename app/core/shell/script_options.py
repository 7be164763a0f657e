"""Programs with options or scripts that run a shell: tar, rsync, awk, sed, vim."""

import re
from itertools import pairwise
from typing import Final

from app.core.shell.follow import Span, inside, text_of
from app.core.shell.form import Command
from app.core.shell.hazards import hazard_of
from app.core.shell.reading import Frame, Reading
from app.core.shell.stored import stored_text

PROGRAM_MAX: Final = 2048
QUOTES_MAX: Final = 128
"""A longer program of awk or sed is not looked through: strings that never end cost the square of its length."""
_TAR_RUNS: Final = re.compile(
    r"--(?:checkpoint-action=exec|to-command|use-compress-program|info-script|new-volume-script|rsh-command|rmt-command)=(.*)",
    re.DOTALL,
)
_AWK_SYSTEM: Final = re.compile(
    r'(?:system\s*\(\s*"((?:[^"\\]|\\.)*+)")|(?:"((?:[^"\\]|\\.)*+)"\s*\|\s*getline)|(?:\|&?\s*"((?:[^"\\]|\\.)*+)")'
)
_AWK_FILE: Final = re.compile(r"(?:-f|-E|-i|--(?:file|exec|include)(?:=|\Z))(.*)", re.DOTALL)
_SED_FILE: Final = re.compile(r"(?:-[nrEsuz]*f|--file(?:=|\Z))(.*)", re.DOTALL)
_SED_RUNS: Final = re.compile(r"(?:^|[;{}\n\d$/])[ \t]{0,8}e[ \t]+([^;\n}]+)")
_SED_STARTS: Final = re.compile(r"(?:^|[;{}\n\d$/ ])s([^\w\s\\;])")
_SED_FLAGS: Final = re.compile(r"[gpIMmw\d]*e")


def run_tar(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Tar: compressors, checkpoints and per-file commands."""
    for index, word in enumerate(words[1:], 1):
        found = _TAR_RUNS.match(word)
        text = (
            found[1]
            if found is not None
            else words[index + 1]
            if (word in {"--use-compress-program", "--to-command"} or re.fullmatch(r"-[a-zA-Z]*[IF]", word))
            and index + 1 < len(words)
            else ""
        )
        text = text.removeprefix("exec=")
        if text and text.split()[0] not in {
            "zstd",
            "pigz",
            "lz4",
            "xz",
            "gzip",
            "bzip2",
            "pbzip2",
            "pixz",
            "lbzip2",
            "brotli",
        }:
            text_of(reading, text, words, inside(frame, "tar", span), span)
        if word == "--checkpoint-action" and index + 1 < len(words) and words[index + 1].startswith("exec="):
            text_of(reading, words[index + 1][5:], words, inside(frame, "tar", span), span)
    return None


def run_rsync(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Rsync: its remote shell."""
    for index, word in enumerate(words[1:], 1):
        text = ""
        if word.startswith(("--rsh=", "--rsync-path=")):
            text = word.partition("=")[2]
        elif (re.fullmatch(r"-[a-zA-Z]*e", word) or word == "--rsh") and index + 1 < len(words):
            text = words[index + 1]
        if text and text.split()[0] not in {"ssh", "rsync", "sudo"}:
            text_of(reading, text, words, inside(frame, "rsync", span), span)
    return None


def run_awk(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Awk: system(), pipes to and from commands."""
    code = "\n".join(
        [
            *[word for word in words[1:] if "{" in word or "system" in word or "BEGIN" in word],
            *_programs(reading, words, frame),
        ]
    )
    for found in _AWK_SYSTEM.finditer(code):
        text = next(group for group in found.groups() if group is not None)
        if text not in {"sort", "sort -n", "cat", "cat 1>&2"}:
            text_of(reading, text.replace('\\"', '"'), words, inside(frame, "awk", span), span)
    if "system(" in code.replace(" ", "") and not _AWK_SYSTEM.search(code):
        reading.emit(Command("awk", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    if re.search(r"\|\s*(?:getline|[a-zA-Z$])|>\s*\$|@load|-f\b", code):
        reading.emit(Command("awk", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None


def _programs(reading: Reading, words: list[str], frame: Frame) -> list[str]:
    """Return the programs of `-f file`: of a file that the text itself wrote, else of one that lies in the store."""
    if "f" not in "".join(words[1:]) and "-E" not in words:
        return []
    glued = _SED_FILE if words[0].endswith("sed") else _AWK_FILE
    found: list[str] = []
    for word, following in pairwise([*words[1:], ""]):
        named = glued.fullmatch(word)
        if named is not None:
            found += _program(reading, named[1] or following, words, frame)
    return found


def _program(reading: Reading, path: str, words: list[str], frame: Frame) -> list[str]:
    made = frame.scope.contents(path)
    stored = stored_text(reading, path, frame) if path and not made else None
    if stored is None:
        return [*made]
    if len(stored) > PROGRAM_MAX or stored.count('"') > QUOTES_MAX:
        reading.doubt("script-too-long")
        return []
    reading.weigh_text(stored)
    doubt = hazard_of(words[0], [words[0], f"-e{stored}" if words[0].endswith("sed") else stored], frame)
    if doubt:
        reading.doubt(doubt)
    return [stored]


def run_sed(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Sed: the e command and flag."""
    scripts = [word for word in words[1:] if not word.startswith("-")]
    for script in [*scripts[:1], *_programs(reading, words, frame)]:
        for found in _SED_RUNS.finditer(script):
            text_of(reading, found[1], words, inside(frame, "sed", span), span)
        if _substitutes_and_runs(script):
            reading.emit(Command("sed", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None


def _substitutes_and_runs(script: str) -> bool:
    """Tell whether a substitution may have the flag `e`, which runs what it made."""
    for found in _SED_STARTS.finditer(script[:512]):
        parts = script[found.start(1) : 1024].split(found[1], 3)
        if len(parts) > 3 and _SED_FLAGS.match(parts[3]):
            return True
    return len(script) > 512 and "e" in script[512:] and "s" in script


def run_vim(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Vim: commands from the command line."""
    for index, word in enumerate(words[1:], 1):
        text = (
            word[1:]
            if word.startswith("+")
            else words[index + 1]
            if word in {"-c", "--cmd"} and index + 1 < len(words)
            else ""
        )
        found = re.match(r":?\s*(?:silent!?\s+)?(?:r(?:ead)?\s*)?!(.*)", text, re.DOTALL)
        if found is not None:
            text_of(reading, found[1], words, inside(frame, "vim", span), span)
        elif re.search(r"system\(|py(thon|3)?\b|lua\b|terminal|execute", text):
            reading.emit(Command("vim", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None
