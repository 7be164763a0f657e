"""Programs that make files out of what nobody can read where it lies: archives, ciphers, pieces, other repositories.

What they make is FOREIGN: it may be looked at and sent as ever, but where it is run it is code known only when it runs.
The names inside an archive are not known either, so all that lies below its folder counts as made by it.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from posixpath import basename
from typing import Final

from app.core.shell.archives import options_of
from app.core.shell.form import FOREIGN, NETWORK, unknown
from app.core.shell.operands import operands_of
from app.core.shell.places import absolute, classify
from app.core.shell.reading import Frame

_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".Z", ".z", ".br", ".lz", ".gpg", ".age", ".cpt")
_COMPRESSORS: Final = """
gunzip gzip bunzip2 bzip2 unxz xz unlzma lzma unzstd zstd unlz4 lz4 uncompress brotli pigz unpigz lzip
"""
_CIPHERS: Final = "openssl gpg gpg2 age rage ccrypt ccdecrypt iconv base64 base32 sops recode"
_LISTS: Final = re.compile(r"-[a-zA-Z]*[ltvZzp]")
_KEEPS_PIECES: Final = {"split": "x", "csplit": "xx"}
_CODED: Final = frozenset(("-d", "--decrypt", "-D", "--decode", "-decrypt"))
_OUTPUTS: Final = ("-o", "--output", "-out", "--out", "--output-file")


def unpack(program: str, words: list[str], frame: Frame) -> None:
    """Remember what files a command makes whose content cannot be known."""
    step = _STEPS.get(program)
    if step is not None:
        step(words, frame)


def decodes(program: str) -> bool:
    """Tell whether what a program prints may be what it took out of an archive or a cipher."""
    return program in _STEPS and program not in {"git", "patch", "python"}


def stem_of(folder: str, cwd: str) -> str:
    """Return what all paths below a folder begin with."""
    full = absolute(folder or ".", cwd)
    return "" if full == "." else full.rstrip("/") + "/"


def _foreign(words: list[str], frame: Frame) -> str:
    """What comes out has the marks of all that may have gone in."""
    scope = frame.scope
    read = [scope.content(word) or "" for word in words[1:] if not word.startswith("-")] if scope.made() else []
    return unknown(frame.stdin or "", *read) + FOREIGN


def _into(folder: str, words: list[str], frame: Frame) -> None:
    frame.scope.unpack(stem_of(folder, frame.scope.cwd), _foreign(words, frame))


def _valued(words: list[str], *names: str) -> str:
    """Return the value of the first of these options that is given, apart or glued."""
    for word, following in pairwise([*words, ""]):
        if word in names:
            return following
        name, sign, value = word.partition("=")
        if sign and name in names:
            return value
        short = next((one for one in names if len(one) == 2 and word.startswith(one)), "")
        if short and len(word) > 2:
            return word[2:]
    return ""


def _tar(words: list[str], frame: Frame) -> None:
    given = options_of(words)
    names = {name for name, _ in given}
    if "x" not in names or names & {"O", "--to-stdout"}:
        return
    folders = [value for name, value in given if name in {"C", "into"}]
    for folder in folders or ["."]:
        _into(folder, words, frame)


def _always(*options: str) -> Callable[[list[str], Frame], None]:
    """Return the step of a program that unpacks below the folder of one of these options, else where it stands."""
    return lambda words, frame: _into(_valued(words, *options) if options else "", words, frame)


def _unzip(words: list[str], frame: Frame) -> None:
    if not any(_LISTS.match(word) for word in words[1:2]):
        _into(_valued(words, "-d"), words, frame)


def _verb(*verbs: str, folder: str = "") -> Callable[[list[str], Frame], None]:
    """Return the step of a program that unpacks at some of its first words."""

    def step(words: list[str], frame: Frame) -> None:
        if len(words) > 1 and words[1].lstrip("-").startswith(verbs):
            _into(_valued(words, folder) if folder else words[-1] if words[-1].endswith("/") else "", words, frame)

    return step


def _cpio(words: list[str], frame: Frame) -> None:
    if any(re.match(r"-[a-zA-Z]*[ipr]|--extract|--pass", word) for word in words[1:]):
        _into(_valued(words, "-D", "--directory"), words, frame)


def _dpkg(words: list[str], frame: Frame) -> None:
    if {"-x", "-X", "-R", "--extract", "--vextract", "--raw-extract"} & set(words):
        _into(words[-1], words, frame)


def _decompress(words: list[str], frame: Frame) -> None:
    """`gunzip x.sh.gz` makes x.sh; `zstd -d x.zst -o y` makes y."""
    letters = "".join([word[1:] for word in words[1:] if re.match(r"-[a-zA-Z0-9]+\Z", word)])
    opens = words[0].startswith("un") or "un" in words[0] or "d" in letters or "--decompress" in words
    if not opens or "c" in letters or "l" in letters or {"--stdout", "--list"} & set(words):
        return
    output = _valued(words, "-o", "--output")
    for path in [output] if output else operands_of(words[0], words):
        made = next((path.removesuffix(end) for end in _COMPRESSED if path.endswith(end)), path)
        frame.scope.put(made, _foreign(words, frame))
        _into(made, words, frame)


def _decode(words: list[str], frame: Frame) -> None:
    """Ciphers and codes, with the file that they are told to write, or that the name of the other one says."""
    output = _valued(words, *_OUTPUTS)
    if output:
        frame.scope.put(output, _foreign(words, frame))
    elif not _CODED.isdisjoint(words):
        for path in operands_of(words[0], words):
            frame.scope.put(path.rpartition(".")[0] if path.endswith(_COMPRESSED) else path, _foreign(words, frame))


def _pieces(words: list[str], frame: Frame) -> None:
    """Each piece begins with a prefix; together they are what was cut."""
    program = basename(words[0])
    operands = operands_of("split", words)
    prefix = _valued(words, "-f", "--prefix") if program == "csplit" else "".join(operands[1:2])
    frame.scope.unpack(absolute(prefix or _KEEPS_PIECES[program], frame.scope.cwd), _foreign(words, frame))


def _python(words: list[str], frame: Frame) -> None:
    """`python -m zipfile -e archive folder`."""
    if words[1:2] == ["-m"] and words[2:3] and words[2] in {"zipfile", "tarfile"}:
        given = next((i for i, word in enumerate(words) if word in {"-e", "--extract"}), 0)
        if given:
            _into("".join(words[given + 2 : given + 3]), words, frame)


def _git(words: list[str], frame: Frame) -> None:
    if words[1:2] == ["clone"]:
        given = [word for word in words[2:] if not word.startswith("-")]
        named = given[-1].rstrip("/").removesuffix(".git") if given else ""
        _into(named if "/" not in named and ":" not in named else re.split(r"[/:]", named)[-1], words, frame)
        if len(given) > 1:
            _into(given[-1], words, frame)
    elif words[1:2] in (["apply"], ["am"]):
        _patch(words, frame)


def _patch(words: list[str], frame: Frame) -> None:
    """A patch of the project is as much the project's as what it changes; another one may make any file."""
    scope = frame.scope
    named = [word.removeprefix("-i").removeprefix("--input=") for word in words[1:] if "/" in word]
    outside = any(classify(path, scope.cwd, scope.project)[0] != "project" for path in named)
    if outside or {FOREIGN, NETWORK} & set(frame.stdin or ""):
        _into("", words, frame)


_STEPS: Final[dict[str, Callable[[list[str], Frame], None]]] = {
    "tar": _tar,
    "unzip": _unzip,
    "jar": _verb("x"),
    "ar": _verb("x"),
    **dict.fromkeys(("7z", "7za", "7zr", "7zz"), _verb("x", "e", folder="-o")),
    **dict.fromkeys(("unrar", "rar"), _verb("x", "e")),
    **dict.fromkeys(("cpio", "pax"), _cpio),
    **dict.fromkeys(("dpkg", "dpkg-deb"), _dpkg),
    **dict.fromkeys(("dtrx", "unp", "aunpack", "unsquashfs", "cabextract"), _always("-d", "-X", "--directory")),
    "unar": _always("-o", "-output-directory"),
    **dict.fromkeys(("ouch", "atool", "patool"), _always("-d", "--dir", "-X", "--outdir")),
    "uudecode": _always(),
    **dict.fromkeys(_COMPRESSORS.split(), _decompress),
    **dict.fromkeys(_CIPHERS.split(), _decode),
    **dict.fromkeys(("split", "csplit"), _pieces),
    "python": _python,
    "git": _git,
    "patch": _patch,
}
