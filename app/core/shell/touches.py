"""Which paths a command reads, writes, deletes, changes, sends or runs, by what is known of its program.

A program without an entry is taken to read each argument that looks like a path.
"""

import re
from itertools import pairwise
from typing import Final

from app.core.shell.archives import archived, copied_in_and_out, zipped
from app.core.shell.form import Touch
from app.core.shell.git_files import git_touches
from app.core.shell.names import CODERS, SHELLS
from app.core.shell.operands import operands_of, touch
from app.core.shell.outputs import COMPRESSORS, changed_in_place, compressed, renamed, second_written, written_by_option
from app.core.shell.reading import Frame
from app.core.shell.transfers import copied, fetched
from app.core.shell.venvs import MODULES, cleared, cleared_by_uv

READERS: Final = frozenset(
    [
        "cat",
        "head",
        "tail",
        "less",
        "more",
        "bat",
        "tac",
        "nl",
        "od",
        "xxd",
        "hexdump",
        "hd",
        "strings",
        "wc",
        "sort",
        "uniq",
        "cut",
        "paste",
        "join",
        "diff",
        "cmp",
        "comm",
        "md5sum",
        "sha1sum",
        "sha256sum",
        "sha512sum",
        "b2sum",
        "cksum",
        "base64",
        "base32",
        "zcat",
        "bzcat",
        "xzcat",
        "zless",
        "fold",
        "fmt",
        "expand",
        "column",
        "rev",
        "shuf",
        "split",
        "csplit",
        "source",
        "iconv",
        "gzip",
        "gunzip",
        "bzip2",
        "xz",
        "zstd",
        "lz4",
        "unzip",
        "7z",
        "7za",
        "jar",
        "ar",
        "uuencode",
        "look",
        "tsort",
        "ptx",
        "colordiff",
        "vimdiff",
        "icdiff",
        "delta",
        "most",
        "pg",
        "xdg-open",
        "open",
        "vim",
        "nano",
        "emacs",
        "code",
        "ed",
        "pico",
        "hexyl",
    ]
)
PATTERN_FIRST: Final = frozenset(
    ["grep", "rg", "ag", "ack", "sed", "awk", "jq", "yq", "perl", "zgrep", "git-grep", "sd", "xq"]
)
LISTERS: Final = frozenset(
    ["ls", "dir", "tree", "du", "stat", "file", "readlink", "realpath", "exa", "eza", "lsd", "namei", "locate", "test"]
)
DELETERS: Final = frozenset(["rm", "rmdir", "unlink", "shred", "srm", "wipe", "trash", "trash-put", "rimraf", "del"])
WRITERS: Final = frozenset(["tee", "sponge", "touch", "mkdir", "truncate", "mkfifo", "mknod", "fallocate", "setfattr"])
CHANGERS: Final = frozenset(["chmod", "chown", "chgrp", "chattr", "setfacl"])
QUIET: Final = frozenset(
    [
        "echo",
        "printf",
        "true",
        "false",
        ":",
        "test",
        "[",
        "[[",
        "pwd",
        "whoami",
        "id",
        "uname",
        "seq",
        "tr",
        "basename",
        "dirname",
        "expr",
        "let",
        "type",
        "which",
        "git",
        "docker",
        "kubectl",
        "yes",
        "sleep",
        "export",
        "alias",
        "unset",
        "set",
        "shopt",
        "local",
        "declare",
        "readonly",
        "typeset",
        "cd",
        "pushd",
        "popd",
        "kill",
        "pkill",
        "killall",
    ]
)
_LOOKS: Final = re.compile(r"[~./]|.*/|id_rsa|id_ed25519|credentials|secrets?\b")
_GLUED_OPTIONS: Final = frozenset(("-o", "-O", "-d"))
_PARTS: Final = re.compile(r"[=:@,]")
_TARGET: Final = re.compile(r"-[a-su-zA-FH-LNP-RT-Z]*t(.*)\Z", re.DOTALL)


def touches_of(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what a simple command touches, classified from its folder and project."""
    if "/" in program:
        return (touch("run", program, frame), *_unknown(words, frame))
    found = _operands(program, words, frame)
    written = written_by_option(program, words, frame)
    return (*found, *written) if written else found


def _operands(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    found = _SPECIAL.get(program)
    if found is not None:
        return found(words, frame)
    access = _ACCESS.get(program)
    if access is not None:
        return (*[touch(access, path, frame) for path in operands_of(program, words)], *_secret_values(words, frame))
    if program in SHELLS or program in CODERS:
        return _script(words, frame)
    if program in PATTERN_FIRST:
        return _filter(program, words, frame)
    return () if program in QUIET else _unknown(words, frame)


def _secret_values(words: list[str], frame: Frame) -> list[Touch]:
    """A credential that an option names is read: `diff --from-file=.env x`."""
    values = [word.partition("=")[2] for word in words if word[:1] == "-" and "=" in word]
    return [found for value in values if value and "secret" in (found := touch("read", value, frame)).where]


def _changed(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    given = any(word.startswith("--reference") for word in words)
    return tuple([touch("change", path, frame) for path in operands_of("chmod", words)[0 if given else 1 :]])


def _script(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    for index, word in enumerate(words[1:], 1):
        if word in {"-m", "-c", "-e"} or re.fullmatch(r"-[a-zA-Z0-9]*[eE]", word):
            rest = (*_unknown(words[index + 1 :], frame), *_module(words[index:], frame))
            in_place = any(re.match(r"-[a-zA-Z0]*i", option) for option in words[1:index])
            return tuple([t._replace(access="write") for t in rest]) if in_place else rest
        if not word.startswith(("-", "+")):
            return (touch("run", word, frame), *_unknown(words[index:], frame))
    return ()


def _module(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    return cleared(words[2:], frame) if words[0] == "-m" and words[1:2] and words[1] in MODULES else ()


def _history(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Bash's history goes to and comes from the file that is named, or that HISTFILE names."""
    letters = "".join([word for word in words[1:] if word[:1] == "-"])
    access = "read" if set(letters) & set("rn") else "write" if set(letters) & set("aw") else ""
    paths = operands_of("history", words) or [frame.scope.variables.get("HISTFILE", "")]
    return tuple([touch(access, path, frame) for path in paths[:1] if path]) if access else ()


def _filter(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    given = any(
        word in {"-e", "-f", "--regexp", "--file"} or word.startswith(("--regexp=", "--file=", "--expression"))
        for word in words
    )
    operands = operands_of(program, words)
    in_place = program in {"sed", "perl", "yq", "sd", "awk"} and any(
        re.match(r"-[a-zA-Z]*i|--in-place", word) for word in words[1:]
    )
    files = [word for word in operands[0 if given and program != "sed" else 1 :] if word] if operands else []
    if given and program == "sed":
        files = operands
    found = [touch("write" if in_place else "read", path, frame) for path in files]
    found += [
        touch("read", b, frame)
        for a, b in pairwise(words)
        if a in {"-f", "--file"} or (a.startswith("--") and a.endswith("from"))
    ]
    return tuple(found)


def _copy(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    program = words[0].rpartition("/")[2]
    operands = operands_of(program, words)
    source = "delete" if program == "mv" else "read"
    target = _target_folder(words)
    if target is None:
        if len(operands) < 2:
            return tuple([touch("write", path, frame) for path in operands])
        target = operands.pop()
    else:
        operands = [path for path in operands if path != target]
    extra = [touch("read", path, frame) for path in operands] if source == "delete" else []
    return (*extra, *[touch(source, path, frame) for path in operands], touch("write", target, frame))


def _target_folder(words: list[str]) -> str | None:
    for index, word in enumerate(words):
        if word.startswith("--t") and "=" in word:
            return word.partition("=")[2]
        if word == "--target-directory" and index + 1 < len(words):
            return words[index + 1]
        if (glued := _TARGET.match(word)) is not None:
            return glued[1] or (words[index + 1] if index + 1 < len(words) else "")
    return None


def _install(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    if any(word in {"-d", "--directory"} for word in words):
        return tuple([touch("write", path, frame) for path in operands_of("install", words)])
    return _copy(["install", *words[1:]], frame)


def _dd(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    found = []
    for word in words[1:]:
        name, _, path = word.partition("=")
        if name in {"if", "of"}:
            found.append(touch("read" if name == "if" else "write", path, frame))
    return tuple(found)


_EXECUTES: Final = frozenset(("-exec", "-execdir", "-ok", "-okdir"))
_NAMES: Final = frozenset(("-name", "-iname", "-path", "-ipath", "-wholename"))


def _find(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    starts: list[str] = []
    for word in words[1:]:
        if word in {"-H", "-L", "-P"} or word.startswith(("-O", "-D")):
            continue
        if word.startswith(("-", "(", "!")):
            break
        starts.append(word)
    starts = starts or ["."]
    found = [touch("list", path, frame) for path in starts]
    if not _EXECUTES.isdisjoint(words):  # what runs is given each of them
        each = [f"{path}/{words[i + 1]}" for path in starts for i, w in enumerate(words[:-1]) if w in _NAMES]
        found += [one for one in [touch("read", path, frame) for path in each] if "secret" in one.where]
    if "-delete" in words:
        named = next((words[i + 1] for i, w in enumerate(words[:-1]) if w in {"-name", "-iname", "-path"}), "")
        found += [touch("delete", f"{path}/{named}" if named.strip("*") else path, frame) for path in starts]
    for option in ("-fprint", "-fprintf", "-fls", "-fprint0"):
        if option in words[:-1]:
            found.append(touch("write", words[words.index(option) + 1], frame))
    return tuple(found)


def _unknown(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    found: list[Touch] = []
    for word in words[1:]:
        if "://" in word:
            continue
        parts = _PARTS.split(word) if word.startswith("-") or ":" in word or "@" in word or "=" in word else (word,)
        if word[:2] in _GLUED_OPTIONS and word[2:3] in {"/", "~"}:
            parts = [word[2:]]
        found += [touch("read", part, frame) for part in parts if part and _LOOKS.match(part) is not None]
    return tuple(found)


def _targets(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """`//app:all` is a target of the project, no path from the root."""
    return _unknown([word for word in words if word[:2] not in {"//", "-/"}], frame)


def _moved_in(words: list[str], frame: Frame) -> list[Touch]:
    """`zip -m` deletes what it has taken in."""
    moves = any(re.fullmatch(r"-[a-zA-Z0-9]*m[a-zA-Z0-9]*|--move", word) for word in words[1:])
    return [touch("delete", path, frame) for path in operands_of("zip", words)[1:]] if moves else []


_ACCESS: Final = {
    **dict.fromkeys(READERS, "read"),
    **dict.fromkeys(LISTERS, "list"),
    **dict.fromkeys(DELETERS, "delete"),
    **dict.fromkeys(WRITERS, "write"),
}
_SPECIAL: Final = {
    **dict.fromkeys(("bazel", "bazelisk", "buck", "buck2", "pants", "plz"), _targets),
    **dict.fromkeys(CHANGERS, _changed),
    "git": git_touches,
    "history": _history,
    "uv": lambda words, frame: (*_unknown(words, frame), *cleared_by_uv(words, frame)),
    "virtualenv": lambda words, frame: (*_unknown(words, frame), *cleared(words[1:], frame)),
    "cp": _copy,
    "mv": _copy,
    "ln": _copy,
    "link": _copy,
    "install": _install,
    "dd": _dd,
    "find": _find,
    "curl": fetched,
    "wget": fetched,
    "patch": lambda words, frame: tuple([touch("write", path, frame) for path in operands_of("patch", words)]),
    "scp": copied,
    "rsync": copied,
    "sftp": copied,
    "tar": archived,
    "bsdtar": archived,
    "cpio": copied_in_and_out,
    "zip": lambda words, frame: (*zipped(words, frame), *_moved_in(words, frame)),
    **dict.fromkeys(COMPRESSORS, compressed),
    **dict.fromkeys(("dos2unix", "unix2dos", "mac2unix", "unix2mac"), changed_in_place),
    **dict.fromkeys(("rename", "prename"), renamed),
    "xxd": second_written,
    "pax": zipped,
}
