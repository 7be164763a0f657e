"""Files that programs write besides their operands, or in the place of them: where options say, compressed, renamed."""

import re
from typing import Final

from app.core.shell.form import Touch
from app.core.shell.operands import operands_of, touch
from app.core.shell.reading import Frame

_NAMED: Final = re.compile(
    r"--?(?:(?:[a-z0-9]+-)?(?:out(?:put)?|outfile|outdir|output-\w+|out-\w+|log|log-?file|logfile|report|report-file|save"
    r"|save-\w+|dump-header|cookie-jar|trace|trace-ascii|stderr|hsts|hsts-file|etag-save|libcurl|append-output|rejected-log|warc-\w+"
    r"|state-out|write-\w+|export-marks|destination|dest|target-directory|index-output|results?-directory|target-dir|site-dir"
    r"|backup-dir|alt-svc|directory-pre\w*|coverprofile|cpuprofile|memprofile|blockprofile|mutexprofile|trace-out|iidfile"
    r"|metadata-file|log-out|log-io|working-directory|basetemp|junit-?xml))(?:=(.*))?",
    re.DOTALL,
)
_FAR: Final = re.compile(r"[/~]|\.\.(?:/|$)")
_BEGINS: Final = frozenset("/~.")
_NO_FILE_TEXT: Final = """
grep rg ag ack zgrep ps ssh mount find test set bash sh zsh lsof ls id column kubectl docker readelf netstat ss git stat
pgrep chmod sed awk echo printf sudo openssl scp sftp docker compose apt apt-get xargs objdump nm cut
"""
_NO_FILE: Final = frozenset(_NO_FILE_TEXT.split())
"""Programs whose `-o` is no file."""
_COMPRESSORS_TEXT: Final = """
gzip gunzip bzip2 bunzip2 xz unxz zstd unzstd compress uncompress lzma unlzma lz4 pigz pbzip2 pixz lzip plzip brotli
lzop
"""
_COMPILES: Final = re.compile(r"-(?:M[FD]|odir|hidir|stubdir|dumpdir|dumpbase|outputdir|aux-info)")
_GLUED: Final = {
    **dict.fromkeys(("gcc", "g++", "cc", "c++", "clang", "clang++", "ghc", "gfortran"), _COMPILES),
    **dict.fromkeys(("pip", "pip3", "uv"), re.compile(r"-t|--target")),
    "mktemp": re.compile(r"-p|--tmpdir"),
    "script": re.compile(r"-[OBI]|--log-(?:out|io|in)"),
    "patch": re.compile(r"-d|--dir(?:ectory)?|-o|--output|-r|--reject-file"),
    "mkdocs": re.compile(r"-d|--site-dir"),
    "aria2c": re.compile(r"-l|--log|-d|--dir"),
    "rsync": re.compile(r"-M--log-file|--log-file|--backup-dir"),
    "go": re.compile(r"-C|-o|-(?:test\.)?\w*profile|-outputdir|-trace"),
}
"""Options, glued to their value or not, by which programs write where it says."""
COMPRESSORS: Final = frozenset(_COMPRESSORS_TEXT.split())
_KEEPS: Final = re.compile(r"-[a-zA-Z0-9]*k[a-zA-Z0-9]*|--keep")
_TO_OUTPUT: Final = re.compile(r"-[a-zA-Z0-9]*[cltVh]|--(?:stdout|to-stdout|list|test|version|help)")


def written_by_option(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what options name outside of the folder, as files that are written; what lies in it is ordinary."""
    found: list[Touch] = []
    for index, word in enumerate(words):
        if word[:1] != "-" or len(word) < 2:
            continue
        following = words[index + 1] if index + 1 < len(words) else ""
        if program in _GLUED and (glued := _GLUED[program].match(word)) is not None:
            path = word[glued.end() :].lstrip("=") or following
            found += [touch("write", path, frame)] if _FAR.match(path) is not None else []
            continue
        if (word.partition("=")[2] or following)[:1] not in _BEGINS and word[:2] != "-o":
            continue  # most options: 0.2 us instead of 0.8
        value = _value(program, word, following)
        if value and _FAR.match(value) is not None and "://" not in value:
            found.append(touch("write", value, frame))
    return tuple(found)


def _value(program: str, word: str, following: str) -> str:
    if word.startswith("-o") and not word.startswith("-out"):
        return "" if program in _NO_FILE else word[2:].lstrip("=") or following
    named = _NAMED.fullmatch(word)
    if named is None:
        return ""
    return named[1] if named[1] is not None else following


def compressed(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """What a compressor reads, and puts its own file in the place of unless it is told to keep it."""
    paths = operands_of(words[0].rpartition("/")[2], words)
    found = tuple([touch("read", path, frame) for path in paths])
    if any(_TO_OUTPUT.fullmatch(word) for word in words[1:]):
        return found
    if any(_KEEPS.fullmatch(word) for word in words[1:]):
        return (*found, *[touch("write", f"{path}/x.gz", frame) for path in paths])
    return (*found, *[touch("delete", path, frame) for path in paths])


def changed_in_place(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Every operand is read and written again."""
    paths = operands_of(words[0].rpartition("/")[2], words)
    return tuple([touch(access, path, frame) for path in paths for access in ("read", "write")])


def renamed(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Whatever stands behind the pattern gets another name."""
    return tuple([touch("change", path, frame) for path in operands_of("rename", words)[1:]])


def second_written(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """The first operand is read, the second is written."""
    paths = operands_of(words[0].rpartition("/")[2], words)
    return (*[touch("read", path, frame) for path in paths[:1]], *[touch("write", path, frame) for path in paths[1:2]])
