"""Programs that run other programs from their arguments: each is followed into what it would run.

A step returns None where nothing is launched and the command is to be kept like any other one; most launchers are
kept as
well as followed, since they do something of their own.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.follow import Span, inside, kept, moved, text_of
from app.core.shell.form import BELOW, UNKNOWN, Command, marks_of, unknown
from app.core.shell.git_launch import run_git
from app.core.shell.listed import paths_found
from app.core.shell.operands import touch
from app.core.shell.reading import Frame, Reading
from app.core.shell.runners import runs_package, runs_recipes, runs_texts, set_scripts
from app.core.shell.script_options import run_awk, run_rsync, run_sed, run_tar, run_vim
from app.core.shell.wrappers import where_told

Step = Callable[[Reading, list[str], Frame, Span], str | None]
_XARGS_VALUES: Final = frozenset(
    [
        "-n",
        "-P",
        "-d",
        "-L",
        "-E",
        "-s",
        "-a",
        "-l",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--max-lines",
        "--max-chars",
        "--arg-file",
        "--eof",
    ]
)
_SSH_VALUES: Final = frozenset(
    [
        "-b",
        "-c",
        "-D",
        "-E",
        "-e",
        "-F",
        "-I",
        "-i",
        "-J",
        "-L",
        "-l",
        "-m",
        "-O",
        "-o",
        "-p",
        "-Q",
        "-R",
        "-S",
        "-W",
        "-w",
        "-B",
    ]
)
_EXEC_VALUES: Final = frozenset(
    [
        "-e",
        "--env",
        "-u",
        "--user",
        "-w",
        "--workdir",
        "-n",
        "--namespace",
        "-c",
        "--container",
        "--context",
        "--kubeconfig",
        "-v",
        "--volume",
        "-p",
        "--publish",
        "--name",
        "--entrypoint",
        "--network",
        "--env-file",
        "--mount",
        "-h",
        "--hostname",
        "--platform",
        "--memory",
        "-m",
        "--cpus",
        "--label",
        "-l",
        "--gpus",
        "--detach-keys",
        "--index",
        "--add-host",
        "--restart",
        "--device",
        "--shm-size",
    ]
)
_REST: Final = 100
_ITEM: Final = re.compile(r"(?:'[^'\n]*'|\"[^\"\n]*\"|\\.|[^ \t\n'\"\\])+", re.DOTALL)
_ITEM_PART: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\\.", re.DOTALL)
_ARG_FILE: Final = re.compile(r"-[0oprtx]*a(.*)", re.DOTALL)
_OPERATORS: Final = frozenset(("|", "&&", "||", ";", "&", ">", "<"))


def _followed(reading: Reading, words: list[str], frame: Frame, span: Span) -> str:
    return reading.run_words(reading, words, frame, span)


def _after_options(words: list[str], values: frozenset[str], start: int = 1) -> int:
    index = start
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        if words[index] == "--":
            return index + 1
        index += 2 if words[index] in values else 1
    return index


def _arg_file(words: list[str]) -> str:
    """Return the file that xargs reads in the place of its input."""
    for word, following in pairwise([*words[1:], ""]):
        if word.startswith("--arg"):
            return word.partition("=")[2] or following
        glued = _ARG_FILE.fullmatch(word)
        if glued is not None:
            return glued[1] or following
    return ""


def _xargs(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    mark, index = "", 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        if word == "--":
            index += 1
            break
        if word.startswith(("-I", "--replace")) or word in {"-i", "-J"}:
            mark = (
                word[2:] if word.startswith("-I") and len(word) > 2 else word.partition("=")[2] if "=" in word else ""
            )
            if not mark and word in {"-I", "-J"} and index + 1 < len(words):
                index, mark = index + 1, words[index + 1]
            mark = mark or "{}"
        elif word in _XARGS_VALUES:
            index += 1
        index += 1
    inner = words[index:] or ["echo"]
    path = _arg_file(words[:index])
    if path:
        read = (touch("read", path, frame),)
        reading.emit(Command("<", ("<", path), frame.wrappers, span, frozenset(), read, bool(marks_of(path))))
    given = (frame.scope.content(path) if path else frame.stdin) or UNKNOWN
    items = _items(given) if not marks_of(given) else [given.strip()]
    placed = [word.replace(mark, " ".join(items)) for word in inner] if mark else [*inner, *items]
    if any(item in _OPERATORS or item.endswith(";") for item in items):
        # words that look like shell syntax: read also as what somebody meant by them
        text_of(reading, " ".join(placed), words, inside(frame, "xargs", span)._replace(stdin=None), span)
    return _followed(reading, placed, inside(frame, "xargs", span)._replace(stdin=None), span)


def _items(text: str) -> list[str]:
    """Split as xargs does: blanks separate, quotes group and glue, a backslash takes the next character as it is."""
    return [_ITEM_PART.sub(_bare, word) for word in _ITEM.findall(text)[:_REST]]


def _bare(part: re.Match[str]) -> str:
    return part[0][1:] if part[0][0] == "\\" else part[0][1:-1]


def _parallel(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = _after_options(
        words, frozenset(("-j", "--jobs", "-a", "-n", "-N", "-S", "--delay", "--timeout", "--colsep", "-C"))
    )
    rest = words[index:]
    cut = next((i for i, word in enumerate(rest) if word in {":::", "::::", ":::+"}), len(rest))
    given = [word for word in rest[cut + 1 :] if not word.startswith(":::")] or [frame.stdin or UNKNOWN]
    if not rest[:cut]:
        text = "\n".join(given)
        return text_of(reading, text, words, inside(frame, "parallel", span), span)
    text = " ".join(rest[:cut])
    inner = inside(where_told(words[: index + cut], frame), "parallel", span)
    for item in given[:12]:
        text_of(reading, text.replace("{}", item) if "{}" in text else f"{text} {item}", words, inner, span)
    return unknown(*given)


def _find(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    starts = []
    for word in words[1:]:
        if word.startswith(("-", "(", "!")):
            break
        starts.append(word)
    index, printed = 1, ""
    while index < len(words):
        if words[index] in {"-exec", "-execdir", "-ok", "-okdir"}:
            end = next((i for i in range(index + 1, len(words)) if words[i] in {";", "+"}), len(words))
            if end == len(words):
                reading.doubt("exec-without-an-end")
            for start in starts or ["."]:
                path = paths_found(words[:index], start, frame)
                inner = [word.replace("{}", path) for word in words[index + 1 : end]]
                place = moved(frame, start) if words[index].endswith("dir") else frame
                printed += _followed(reading, inner, inside(place, "find", span), span)
            index = end
        index += 1
    if not printed:
        return None
    return kept(reading, words, frame, span) + printed


def _fd(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    frame = where_told(words, frame)
    for option in ("-x", "-X", "--exec", "--exec-batch"):
        if option in words:
            inner = words[words.index(option) + 1 :]
            if not any("{" in word for word in inner):
                inner = [*inner, f"./{BELOW}"]
            _followed(reading, [word.replace("{}", f"./{BELOW}") for word in inner], inside(frame, "fd", span), span)
    return None


def _watch(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = _after_options(words, frozenset(("-n", "--interval", "-q", "--equexit", "-s")))
    if index >= len(words):
        return None
    if {"-x", "--exec"} & set(words[1:index]):
        return _followed(reading, words[index:], inside(frame, "watch", span), span)
    return text_of(reading, " ".join(words[index:]), words, inside(frame, "watch", span), span)


def _ssh(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words:
        found = re.match(
            r"(?:-o)?\s*(?:ProxyCommand|LocalCommand|KnownHostsCommand)[= ](.*)", word, re.DOTALL | re.IGNORECASE
        )
        if found is not None:
            text_of(reading, found[1], words, inside(frame, "ssh", span), span)
    index = _after_options(words, _SSH_VALUES)
    index = _after_options(words, _SSH_VALUES, index + 1)
    if index < len(words):
        text_of(reading, " ".join(words[index:]), words, inside(frame, "ssh", span), span)
    elif frame.stdin:
        text_of(reading, frame.stdin, words, inside(frame, "ssh", span)._replace(stdin=None), span)
    return None


def _su(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--command", "-lc", "--session-command"}:
            return text_of(reading, words[index + 1], words, inside(frame, words[0], span), span)
        if word.startswith("--command="):
            break
    text = next((word.partition("=")[2] for word in words if word.startswith("--command=")), "")
    return text_of(reading, text, words, inside(frame, words[0], span), span) if text else None


def _script(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if re.fullmatch(r"-[a-zA-Z]*c|--command", word):
            return text_of(reading, words[index + 1], words, inside(frame, "script", span), span)
    return _su(reading, words, frame, span)


def _container(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Docker and kubectl: `exec` runs in a container; the command is kept and what it runs is followed."""
    verb = next((i for i, word in enumerate(words[1:], 1) if word in {"exec", "run"}), 0)
    if not verb or any(word in {"push", "build", "logs", "create"} for word in words[1:verb]):
        return None
    if "--" in words[verb:]:
        inner = words[words.index("--", verb) + 1 :]
    else:
        inner = words[_after_options(words, _EXEC_VALUES, verb + 1) + 1 :]
    if inner:
        _followed(reading, inner, inside(frame, f"{words[0]} {words[verb]}", span), span)
    return None


def _npx(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--call"} and words[0] != "pnpm":  # there it says that the words are for a shell
            return text_of(reading, words[index + 1], words, inside(frame, words[0], span), span)
    set_scripts(reading, words, frame, span)
    return runs_package(reading, words, frame, span)


def _socket(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Nc -e and socat EXEC: put a program on a socket."""
    for index, word in enumerate(words[1:], 1):
        text = ""
        if word.startswith(("--exec=", "--sh-exec=", "--lua-exec=")):
            text = word.partition("=")[2]
        elif (re.fullmatch(r"-[a-zA-Z]*[ec]", word) or word in {"--exec", "--sh-exec"}) and index + 1 < len(words):
            text = words[index + 1]
        elif (found := re.search(r"(?:EXEC|SYSTEM|SHELL):(.*)", word, re.IGNORECASE | re.DOTALL)) is not None:
            text = re.split(r",(?=[a-z]+(?:=|,|$))", found[1])[0].strip("'\"")
        if text:
            reading.emit(Command(words[0], tuple(words), frame.wrappers, span, frozenset(("program-on-socket",))))
            text_of(reading, text, words, inside(frame, words[0], span), span)
    return None


def _mux(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for verb in ("new-session", "new", "new-window", "send-keys", "run-shell", "split-window", "-dmS", "-dm"):
        if verb in words:
            rest = words[
                _after_options(words, frozenset(("-s", "-t", "-n", "-c", "-x", "-y")), words.index(verb) + 1) :
            ]
            rest = rest[1:] if verb == "-dmS" else [word for word in rest if word not in {"Enter", "C-m"}]
            if rest:
                text_of(reading, " ".join(rest), words, inside(frame, words[0], span), span)
    return None


def _at(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    if frame.stdin:
        text_of(reading, frame.stdin, words, inside(frame, words[0], span)._replace(stdin=None), span)
    return None


LAUNCHERS: Final[dict[str, Step]] = {
    "xargs": _xargs,
    "parallel": _parallel,
    "find": _find,
    "fd": _fd,
    "watch": _watch,
    "ssh": _ssh,
    "su": _su,
    "script": _script,
    "docker": _container,
    "docker compose": _container,
    "kubectl": _container,
    "git": run_git,
    "tar": run_tar,
    "rsync": run_rsync,
    "awk": run_awk,
    "sed": run_sed,
    **dict.fromkeys(("npx", "npm", "pnpm", "yarn", "bunx", "pnpx", "uvx"), _npx),
    **dict.fromkeys(("hyperfine", "split"), runs_texts),
    **dict.fromkeys(("make", "gmake"), runs_recipes),
    **dict.fromkeys(("composer", "dune", "pipx"), runs_package),
    "nc": _socket,
    "socat": _socket,
    "tmux": _mux,
    "screen": _mux,
    "at": _at,
    "batch": _at,
    "vim": run_vim,
}
