"""Which paths a command reads, writes, deletes, changes, sends or runs, by what is known of its program.

A program without an entry is taken to read each argument that looks like a path.
"""

import re
from itertools import pairwise
from typing import Final

from app.core.shell.form import Touch
from app.core.shell.names import CODERS, SHELLS
from app.core.shell.places import classify
from app.core.shell.reading import Frame

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
        "zip",
        "unzip",
        "7z",
        "7za",
        "jar",
        "ar",
        "cpio",
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
WRITERS: Final = frozenset(["tee", "touch", "mkdir", "truncate", "mkfifo", "mknod", "fallocate", "setfattr"])
CHANGERS: Final = frozenset(["chmod", "chown", "chgrp", "chattr", "setfacl"])
QUIET: Final = frozenset(["echo", "printf", "true", "false", ":", "test", "[", "[[", "pwd", "whoami", "id", "uname", "seq", "tr", "basename", "dirname", "expr", "let", "type", "which", "git", "docker", "kubectl", "yes", "sleep", "export", "alias", "unset", "set", "shopt", "local", "declare", "readonly", "typeset", "cd", "pushd", "popd", "kill", "pkill", "killall"])  # fmt: skip
_VALUES: Final = {
    "mkdir": "-m --mode", "touch": "-d -t -r --date --reference", "truncate": "-s -r --size", "install": "-m -o -g -S --mode --owner --group", "cp": "-S --suffix",
    "mv": "-S --suffix", "ln": "-S --suffix", "tee": "", "mknod": "-m", "mkfifo": "-m", "shred": "-n -s", "fallocate": "-l -o", "split": "-b -l -n -a", "rsync": "-e --rsh --exclude --include --filter",
    "scp": "-P -i -F -o -c -J -l", "chmod": "", "sed": "-e -f -E", "head": "-n -c", "tail": "-n -c", "cut": "-d -f -c -b", "sort": "-k -t -S",
}  # fmt: skip
_LOOKS: Final = re.compile(r"[~./]|.*/|id_rsa|id_ed25519|credentials|secrets?\b")
_PARTS: Final = re.compile(r"[=:@,]")
_SPACE: Final = re.compile(r"\s")
_GIT_MAKES: Final = {"init": 2, "clone": 3, "worktree": 3}


def touches_of(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what a simple command touches, classified from its folder and project."""
    if "/" in program:
        return (touch("run", program, frame), *_unknown(words, frame))
    found = _SPECIAL.get(program)
    if found is not None:
        return found(words, frame)
    if program in READERS:
        return tuple([touch("read", path, frame) for path in _operands(program, words)])
    if program in LISTERS:
        return tuple([touch("list", path, frame) for path in _operands(program, words)])
    if program in DELETERS:
        return tuple([touch("delete", path, frame) for path in _operands(program, words)])
    if program in WRITERS:
        return tuple([touch("write", path, frame) for path in _operands(program, words)])
    if program in CHANGERS:
        return tuple([touch("change", path, frame) for path in _operands(program, words)[0 if _refers(words) else 1 :]])
    if program in SHELLS or program in CODERS:
        return _script(words, frame)
    if program in PATTERN_FIRST:
        return _filter(program, words, frame)
    if program in QUIET:
        return _git(words, frame) if program == "git" else ()
    return _unknown(words, frame)


def touch(access: str, path: str, frame: Frame) -> Touch:
    """Return a touch with the classes of its path."""
    return Touch(access, path, classify(frame.scope.pointed(path), frame.scope.cwd, frame.scope.project))


def _operands(program: str, words: list[str]) -> list[str]:
    values = _VALUES.get(program, "")
    found: list[str] = []
    options, skip = True, False
    for word in words[1:]:
        if skip:
            skip = False
        elif options and word == "--":
            options = False
        elif options and word.startswith("-") and word != "-":
            skip = bool(values) and word in values.split()
        else:
            found.append(word)
    return found


def _refers(words: list[str]) -> bool:
    return any(word.startswith("--reference") for word in words)


def _script(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    for index, word in enumerate(words[1:], 1):
        if word in {"-m", "-c", "-e"} or re.fullmatch(r"-[a-zA-Z0-9]*[eE]", word):
            rest = _unknown(words[index + 1 :], frame)
            in_place = any(re.match(r"-[a-zA-Z0]*i", option) for option in words[1:index])
            return tuple([t._replace(access="write") for t in rest]) if in_place else rest
        if not word.startswith(("-", "+")):
            return (touch("run", word, frame), *_unknown(words[index:], frame))
    return ()


def _filter(program: str, words: list[str], frame: Frame) -> tuple[Touch, ...]:
    given = any(
        word in {"-e", "-f", "--regexp", "--file"} or word.startswith(("--regexp=", "--file=", "--expression"))
        for word in words
    )
    operands = _operands(program, words)
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
    operands = _operands(program, words)
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
        if word.startswith("--target-directory="):
            return word.partition("=")[2]
        if word in {"-t", "--target-directory"} and index + 1 < len(words):
            return words[index + 1]
    return None


def _install(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    if any(word in {"-d", "--directory"} for word in words):
        return tuple([touch("write", path, frame) for path in _operands("install", words)])
    return _copy(["install", *words[1:]], frame)


def _dd(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    found = []
    for word in words[1:]:
        name, _, path = word.partition("=")
        if name in {"if", "of"}:
            found.append(touch("read" if name == "if" else "write", path, frame))
    return tuple(found)


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
    if "-delete" in words:
        named = next((words[i + 1] for i, w in enumerate(words[:-1]) if w in {"-name", "-iname", "-path"}), "")
        found += [touch("delete", f"{path}/{named}" if named.strip("*") else path, frame) for path in starts]
    for option in ("-fprint", "-fprintf", "-fls", "-fprint0"):
        if option in words[:-1]:
            found.append(touch("write", words[words.index(option) + 1], frame))
    return tuple(found)


def _fetch(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Curl and wget: what is written where, and which files are sent."""
    found: list[Touch] = []
    for index, word in enumerate(words[1:], 1):
        name, sign, value = word.partition("=")
        if not sign or not word.startswith("--"):
            name, value = _short(word, words[index + 1] if index + 1 < len(words) else "")
        if name in {"-o", "--output", "--output-document"} or (name == "-O" and words[0].endswith("wget") and value):
            found += [touch("write", value, frame)] if value != "-" else []
        elif name in {
            "-T",
            "--upload-file",
            "--post-file",
            "--body-file",
            "-K",
            "--config",
            "--cert",
            "--key",
            "-E",
            "--netrc-file",
        }:
            found.append(touch("send", value, frame))
        elif (
            name
            in {
                "-d",
                "--data",
                "--data-binary",
                "--data-raw",
                "--data-ascii",
                "--data-urlencode",
                "-F",
                "--form",
                "--json",
                "-H",
                "--header",
            }
            and "@" in value
        ):
            found += [touch("send", value.partition("@")[2].partition(";")[0], frame)]
        elif word.startswith(("file://", "FILE://")):
            found.append(touch("read", word[7:], frame))
        elif name in {"--unix-socket", "--abstract-unix-socket"}:
            found.append(touch("read", value, frame))
        elif name in {"-P", "--directory-prefix", "--output-dir"}:
            found.append(touch("write", value, frame))
    return tuple([t for t in found if t.path not in {"", "-"}])


def _short(word: str, following: str) -> tuple[str, str]:
    if word.startswith("--") or not word.startswith("-") or len(word) < 2:
        return word, following
    for index, letter in enumerate(word[1:], 1):
        if letter in "oTKEdFHPO":
            return f"-{letter}", word[index + 1 :] or following
    return word, following


def _remote_copy(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    operands = _operands(words[0].rpartition("/")[2], words)
    if not operands:
        return ()
    *sources, target = operands
    far = _is_remote(target)
    found = [touch("send" if far else "read", path, frame) for path in sources if not _is_remote(path)]
    found += [touch("send", word.partition("=")[2], frame) for word in words if word.startswith("--files-from=")]
    if not far and len(operands) > 1:
        found.append(touch("write", target, frame))
        if any(word.startswith("--del") for word in words):
            found.append(touch("delete", target, frame))
    return tuple(found)


def _is_remote(path: str) -> bool:
    head = path.partition("/")[0]
    return ":" in head or path.startswith("rsync://")


def _tar(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    mode = next((word for word in words[1:2] if not word.startswith("--")), "")
    joined = "".join(word for word in words[1:] if re.match(r"-[A-Za-z]", word)) + mode
    extracts = "x" in joined or "--extract" in words or "--get" in words
    found: list[Touch] = []
    skip = 0
    for index, word in enumerate(words[1:], 1):
        following = words[index + 1] if index + 1 < len(words) else ""
        if index <= skip:
            continue
        if word in {"-C", "--directory"}:
            found.append(touch("write" if extracts else "read", following, frame))
            skip = index + 1
        elif re.match(r"-?[A-Za-z]*f$", word) and (index == 1 or word.startswith("-")):
            found += (
                [] if following == "-" else [touch("read" if extracts or "t" in mode else "write", following, frame)]
            )
            skip = index + 1
        elif not word.startswith("-") and (index > 1 or "/" in word):
            found += [] if extracts else [touch("read", word, frame)]
    if extracts and not any(t.access == "write" for t in found):
        found.append(touch("write", "./x", frame))
    return tuple(found)


def _git(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Contents that git shows by name (`HEAD:.env`), and folders that it writes outside."""
    if len(words) > 1 and words[1] in _GIT_MAKES:
        made = [
            word
            for word in words[_GIT_MAKES[words[1]] :]
            if not word.startswith("-") and "/" in word and ":" not in word
        ]
        return tuple([touch("write", word, frame) for word in made])
    named = [
        word for word in words[2:] if ":" in word and "//" not in word and "@" not in word and not _SPACE.search(word)
    ]
    found = [touch("read", word.rpartition(":")[2], frame) for word in named]
    if "--no-index" in words or "hash-object" in words:
        found += [touch("read", word, frame) for word in words[2:] if not word.startswith("-")]
    return tuple([t for t in found if "secret" in t.where])


def _unknown(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    found: list[Touch] = []
    for word in words[1:]:
        if "://" in word:
            continue
        parts = _PARTS.split(word) if word.startswith("-") or ":" in word or "@" in word or "=" in word else (word,)
        found += [touch("read", part, frame) for part in parts if part and _LOOKS.match(part) is not None]
    return tuple(found)


_SPECIAL: Final = {
    "cp": _copy, "mv": _copy, "ln": _copy, "link": _copy, "install": _install, "dd": _dd, "find": _find, "curl": _fetch, "wget": _fetch,
    "patch": lambda words, frame: tuple([touch("write", path, frame) for path in _operands("patch", words)]), "scp": _remote_copy, "rsync": _remote_copy, "sftp": _remote_copy, "tar": _tar,
}  # fmt: skip
