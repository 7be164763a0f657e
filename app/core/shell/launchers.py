"""Programs that run other programs from their arguments: each is followed into what it would run.

A step returns None where nothing is launched and the command is to be kept like any other one; most launchers are kept as
well as followed, since they do something of their own.
"""

import re
from collections.abc import Callable
from typing import Final

from app.core.shell.form import UNKNOWN, Command, marks_of, unknown
from app.core.shell.reading import Frame, Reading

Span = tuple[int, int]
Step = Callable[[Reading, list[str], Frame, Span], "str | None"]
_XARGS_VALUES: Final = frozenset("-n -P -d -L -E -s -a -l --max-args --max-procs --delimiter --max-lines --max-chars --arg-file --eof".split())
_SSH_VALUES: Final = frozenset("-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w -B".split())
_EXEC_VALUES: Final = frozenset("-e --env -u --user -w --workdir -n --namespace -c --container --context --kubeconfig -v --volume -p --publish --name --entrypoint --network --env-file"
                                " --mount -h --hostname --platform --memory -m --cpus --label -l --gpus --detach-keys --index --add-host --restart --device --shm-size".split())  # fmt: skip
_TAR_RUNS: Final = re.compile(r"--(?:checkpoint-action=exec|to-command|use-compress-program|info-script|new-volume-script|rsh-command|rmt-command)=(.*)", re.DOTALL)
_AWK_SYSTEM: Final = re.compile(r'(?:system\s*\(\s*"((?:[^"\\]|\\.)*)")|(?:"((?:[^"\\]|\\.)*)"\s*\|\s*getline)|(?:\|&?\s*"((?:[^"\\]|\\.)*)")')
_SED_RUNS: Final = re.compile(r"(?:^|[;{}\n]|\d|\$|/)\s*e\s+([^;\n}]+)|s(.).*?\2.*?\2[gpI\d]*e")
_REST: Final = 100
_OPERATORS: Final = frozenset(("|", "&&", "||", ";", "&", ">", "<"))
_GIT_LOOSENS: Final = ("gc.prune", "gc.reflog", "clean.requireforce", "receive.deny", "http.sslverify", "safe.directory", "core.worktree", "url.")


def _inside(frame: Frame, wrapper: str, span: Span) -> Frame:
    return frame._replace(wrappers=(*frame.wrappers, wrapper), base=span, depth=frame.depth + 1)


def _followed(reading: Reading, words: list[str], frame: Frame, span: Span) -> str:
    return reading.run_words(reading, words, frame, span)


def _kept(reading: Reading, words: list[str], frame: Frame, span: Span) -> str:
    from app.core.shell.launch import leaf  # noqa: PLC0415 - both call each other

    return leaf(reading, words[0], words, frame, span)


def _after_options(words: list[str], values: frozenset[str], start: int = 1) -> int:
    index = start
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        if words[index] == "--":
            return index + 1
        index += 2 if words[index] in values else 1
    return index


def _xargs(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    mark, index = "", 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        if word == "--":
            index += 1
            break
        if word.startswith("-I") or word.startswith("--replace") or word == "-i" or word == "-J":
            mark = word[2:] if word.startswith("-I") and len(word) > 2 else word.partition("=")[2] if "=" in word else ""
            if not mark and word in {"-I", "-J"} and index + 1 < len(words):
                index, mark = index + 1, words[index + 1]
            mark = mark or "{}"
        elif word in _XARGS_VALUES:
            index += 1
        index += 1
    inner = words[index:] or ["echo"]
    given = frame.stdin or UNKNOWN
    items = _items(given) if not marks_of(given) else [given.strip()]
    placed = [word.replace(mark, " ".join(items)) for word in inner] if mark else [*inner, *items]
    if _OPERATORS.intersection(items):
        # words that look like shell syntax: read also as what somebody meant by them
        _text(reading, " ".join(placed), words, _inside(frame, "xargs", span)._replace(stdin=None), span)
    return _followed(reading, placed, _inside(frame, "xargs", span)._replace(stdin=None), span)


def _items(text: str) -> list[str]:
    """Split as xargs does: blanks separate, quotes group."""
    return [a or b or c for a, b, c in re.findall(r"'([^']*)'|\"([^\"]*)\"|([^\s'\"]+)", text)][:_REST]


def _parallel(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = _after_options(words, frozenset(("-j", "--jobs", "-a", "-n", "-N", "-S", "--delay", "--timeout", "--colsep", "-C")))
    rest = words[index:]
    cut = next((i for i, word in enumerate(rest) if word in {":::", "::::", ":::+"}), len(rest))
    given = [word for word in rest[cut + 1 :] if not word.startswith(":::")] or [frame.stdin or UNKNOWN]
    if not rest[:cut]:
        text = "\n".join(given)
        return _text(reading, text, words, _inside(frame, "parallel", span), span)
    text = " ".join(rest[:cut])
    inner = _inside(frame, "parallel", span)
    for item in given[:12]:
        _text(reading, text.replace("{}", item) if "{}" in text else f"{text} {item}", words, inner, span)
    return unknown(*given)


def _text(reading: Reading, text: str, words: list[str], frame: Frame, span: Span) -> str:
    from app.core.shell.launch import shell_text  # noqa: PLC0415 - both call each other

    return shell_text(reading, text, frame, words, span)


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
            for start in starts or ["."]:
                path = f"{start.rstrip('/') or ''}/{UNKNOWN}"
                inner = [word.replace("{}", path) for word in words[index + 1 : end]]
                printed += _followed(reading, inner, _inside(frame, "find", span), span)
            index = end
        index += 1
    if not printed:
        return None
    return _kept(reading, words, frame, span) + printed


def _fd(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for option in ("-x", "-X", "--exec", "--exec-batch"):
        if option in words:
            inner = words[words.index(option) + 1 :]
            if not any("{" in word for word in inner):
                inner = [*inner, f"./{UNKNOWN}"]
            _followed(reading, [word.replace("{}", f"./{UNKNOWN}") for word in inner], _inside(frame, "fd", span), span)
    return None


def _watch(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = _after_options(words, frozenset(("-n", "--interval", "-q", "--equexit", "-s")))
    if index >= len(words):
        return None
    if {"-x", "--exec"} & set(words[1:index]):
        return _followed(reading, words[index:], _inside(frame, "watch", span), span)
    return _text(reading, " ".join(words[index:]), words, _inside(frame, "watch", span), span)


def _ssh(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words:
        found = re.match(r"(?:-o)?\s*(?:ProxyCommand|LocalCommand|KnownHostsCommand)[= ](.*)", word, re.DOTALL | re.IGNORECASE)
        if found is not None:
            _text(reading, found[1], words, _inside(frame, "ssh", span), span)
    index = _after_options(words, _SSH_VALUES)
    index = _after_options(words, _SSH_VALUES, index + 1)
    if index < len(words):
        _text(reading, " ".join(words[index:]), words, _inside(frame, "ssh", span), span)
    elif frame.stdin:
        _text(reading, frame.stdin, words, _inside(frame, "ssh", span)._replace(stdin=None), span)
    return None


def _su(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--command", "-lc", "--session-command"}:
            return _text(reading, words[index + 1], words, _inside(frame, words[0], span), span)
        if word.startswith("--command="):
            break
    text = next((word.partition("=")[2] for word in words if word.startswith("--command=")), "")
    return _text(reading, text, words, _inside(frame, words[0], span), span) if text else None


def _script(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if re.fullmatch(r"-[a-zA-Z]*c|--command", word):
            return _text(reading, words[index + 1], words, _inside(frame, "script", span), span)
    return _su(reading, words, frame, span)


def _container(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """docker and kubectl: `exec` runs in a container; the command is kept and what it runs is followed."""
    verb = next((i for i, word in enumerate(words[1:], 1) if word in {"exec", "run"}), 0)
    if not verb or any(word in {"push", "build", "logs", "create"} for word in words[1:verb]):
        return None
    if "--" in words[verb:]:
        inner = words[words.index("--", verb) + 1 :]
    else:
        inner = words[_after_options(words, _EXEC_VALUES, verb + 1) + 1 :]
    if inner:
        _followed(reading, inner, _inside(frame, f"{words[0]} {words[verb]}", span), span)
    return None


def _git(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Git runs what its configuration and some of its sub-commands are told to run."""
    inner = _inside(frame, "git", span)
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--config-env"} or word.startswith("-c"):
            _git_setting(reading, words[index + 1] if word == "-c" else word[2:], words, inner, span)
    rest = [word for word in words if word]
    for verb, options in (("rebase", ("-x", "--exec")), ("submodule", ("foreach",)), ("bisect", ("run",)), ("difftool", ("-x", "--extcmd"))):
        if verb in rest:
            for option in options:
                if option in rest[rest.index(verb) :]:
                    text = " ".join(rest[rest.index(option, rest.index(verb)) + 1 :][: 1 if option.startswith("-") else _REST])
                    _text(reading, text, words, inner, span)
    if "filter-branch" in rest:
        for index, word in enumerate(rest[:-1]):
            if word.endswith("-filter"):
                _text(reading, rest[index + 1], words, inner, span)
    if "config" in rest[1:4]:
        for index, word in enumerate(rest[:-1]):
            if word.startswith(("alias.", "core.", "credential", "diff.", "filter.")):
                _git_setting(reading, f"{word}={rest[index + 1]}", words, inner, span)
    return _git_alias(reading, words, frame, span)


def _git_setting(reading: Reading, setting: str, words: list[str], frame: Frame, span: Span) -> None:
    name, _, value = setting.partition("=")
    lowered = name.lower()
    if lowered.startswith("alias."):
        if value.startswith("!"):
            _text(reading, value[1:], words, frame, span)
        elif value:
            frame.scope.variables[f"git {lowered}"] = value
    elif lowered.startswith(_GIT_LOOSENS):
        reading.emit(Command("git", tuple(words), frame.wrappers, span, frozenset(("git-runs-setting",))))
    elif lowered in {"core.sshcommand", "core.pager", "core.editor", "core.fsmonitor", "core.hookspath", "sequence.editor", "diff.external", "core.askpass",
                     "credential.helper", "core.gitproxy", "gpg.program"} or lowered.startswith(("filter.", "pager.")):  # fmt: skip
        reading.emit(Command("git", tuple(words), frame.wrappers, span, frozenset(("git-runs-setting",))))
        if value and value not in {"cat", "less", "true", "vim", "nano", "vi", "store", "cache"} and lowered != "core.hookspath":
            _text(reading, value.removeprefix("!"), words, frame, span)


def _git_alias(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = 1
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in {"-c", "-C", "--git-dir", "--work-tree"} else 1
    if index < len(words):
        value = frame.scope.variables.get(f"git alias.{words[index].lower()}")
        if value is not None and f"git {words[index]}" not in frame.calls:
            inner = frame._replace(calls=(*frame.calls, f"git {words[index]}"))
            reading.run_words(reading, ["git", *value.split(), *words[index + 1 :]], inner, span)
    return None


def _tar(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[1:], 1):
        found = _TAR_RUNS.match(word)
        text = found[1] if found is not None else words[index + 1] if (word in {"--use-compress-program", "--to-command"} or re.fullmatch(r"-[a-zA-Z]*[IF]", word)) and index + 1 < len(words) else ""
        if text.startswith("exec="):
            text = text[5:]
        if text and text.split()[0] not in {"zstd", "pigz", "lz4", "xz", "gzip", "bzip2", "pbzip2", "pixz", "lbzip2", "brotli"}:
            _text(reading, text, words, _inside(frame, "tar", span), span)
        if word == "--checkpoint-action" and index + 1 < len(words) and words[index + 1].startswith("exec="):
            _text(reading, words[index + 1][5:], words, _inside(frame, "tar", span), span)
    return None


def _rsync(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[1:], 1):
        text = ""
        if word.startswith(("--rsh=", "--rsync-path=")):
            text = word.partition("=")[2]
        elif (re.fullmatch(r"-[a-zA-Z]*e", word) or word == "--rsh") and index + 1 < len(words):
            text = words[index + 1]
        if text and text.split()[0] not in {"ssh", "rsync", "sudo"}:
            _text(reading, text, words, _inside(frame, "rsync", span), span)
    return None


def _awk(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    code = "\n".join(word for word in words[1:] if "{" in word or "system" in word or "BEGIN" in word)
    for found in _AWK_SYSTEM.finditer(code):
        text = next(group for group in found.groups() if group is not None)
        if text not in {"sort", "sort -n", "cat", "cat 1>&2"}:
            _text(reading, text.replace('\\"', '"'), words, _inside(frame, "awk", span), span)
    if "system(" in code.replace(" ", "") and not _AWK_SYSTEM.search(code):
        reading.emit(Command("awk", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    if re.search(r"\|\s*(?:getline|[a-zA-Z$])|>\s*\$|@load|-f\b", code):
        reading.emit(Command("awk", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None


def _sed(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    scripts = [word for word in words[1:] if not word.startswith("-")]
    if scripts:
        for found in _SED_RUNS.finditer(scripts[0][:2000]):
            if found[1]:
                _text(reading, found[1], words, _inside(frame, "sed", span), span)
            elif found[2] and not found[2].isalnum() and not found[2].isspace():
                reading.emit(Command("sed", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None


def _npx(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--call"}:
            return _text(reading, words[index + 1], words, _inside(frame, words[0], span), span)
    return None


def _socket(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """nc -e and socat EXEC: put a program on a socket."""
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
            _text(reading, text, words, _inside(frame, words[0], span), span)
    return None


def _mux(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for verb in ("new-session", "new", "new-window", "send-keys", "run-shell", "split-window", "-dmS", "-dm"):
        if verb in words:
            rest = words[_after_options(words, frozenset(("-s", "-t", "-n", "-c", "-x", "-y")), words.index(verb) + 1) :]
            rest = rest[1:] if verb == "-dmS" else [word for word in rest if word not in {"Enter", "C-m"}]
            if rest:
                _text(reading, " ".join(rest), words, _inside(frame, words[0], span), span)
    return None


def _at(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    if frame.stdin:
        _text(reading, frame.stdin, words, _inside(frame, words[0], span)._replace(stdin=None), span)
    return None


def _vim(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for index, word in enumerate(words[1:], 1):
        text = word[1:] if word.startswith("+") else words[index + 1] if word in {"-c", "--cmd"} and index + 1 < len(words) else ""
        found = re.match(r":?\s*(?:silent!?\s+)?(?:r(?:ead)?\s*)?!(.*)", text, re.DOTALL)
        if found is not None:
            _text(reading, found[1], words, _inside(frame, "vim", span), span)
        elif re.search(r"system\(|py(thon|3)?\b|lua\b|terminal|execute", text):
            reading.emit(Command("vim", tuple(words), frame.wrappers, span, frozenset(("unknown-code",))))
    return None


LAUNCHERS: Final[dict[str, Step]] = {
    "xargs": _xargs, "parallel": _parallel, "find": _find, "fd": _fd, "watch": _watch, "ssh": _ssh, "su": _su, "script": _script, "docker": _container,
    "docker compose": _container, "kubectl": _container, "git": _git, "tar": _tar, "rsync": _rsync, "awk": _awk, "sed": _sed, "npx": _npx, "npm": _npx,
    "nc": _socket, "socat": _socket, "tmux": _mux, "screen": _mux, "at": _at, "batch": _at, "vim": _vim,
}  # fmt: skip
