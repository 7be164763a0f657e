"""Options and small languages by which harmless programs run, write or show what their operands do not tell.

The answer is a doubt in a few words, '' for none. Rare spellings are doubted rather than read.
"""

import re
from collections.abc import Callable
from itertools import pairwise, takewhile
from typing import Final

from app.core.shell.git_files import foreign_repository
from app.core.shell.git_launch import GIT_CONFIGURES
from app.core.shell.hidden import EVALUATES, value_hides
from app.core.shell.loading import both
from app.core.shell.names import CODERS, SHELLS
from app.core.shell.places import FOLDER_STACK, absolute, classify
from app.core.shell.reading import Frame
from app.core.shell.tool_hazards import TOOL_HAZARDS, awk_environment
from app.core.shell.tool_hazards import options as _options

_XARGS_VALUES: Final = frozenset(("-I", "-n", "-P", "-L", "-d", "-s", "-E", "-a", "--max-args", "--max-procs"))
_RUNS_OTHERS: Final = (
    frozenset(SHELLS)
    | frozenset(CODERS)
    | frozenset(
        [
            "env",
            "nice",
            "nohup",
            "timeout",
            "time",
            "sudo",
            "doas",
            "su",
            "xargs",
            "parallel",
            "busybox",
            "stdbuf",
            "setsid",
            "ionice",
            "chroot",
            "unshare",
            "nsenter",
            "eval",
            "exec",
            "command",
            "builtin",
            "find",
            "awk",
            "gawk",
            "mawk",
            "ssh",
            "watch",
            "flock",
            "script",
            "strace",
            "gdb",
            "make",
            "git",
            "docker",
            "taskset",
            "chrt",
        ]
    )
)
_GIT_RUNS: Final = (
    "--open",
    "--upload-p",
    "--receive-p",
    "--extcmd",
    "--exec",
    "--exec-path=",
    "--unsafe",
    "--temp",
    "--ext-diff",
    "--textconv",
    "--show-signature",
    "--config-e",
    "ext::",
)
_GIT_RUNS_BEGIN: Final = frozenset([option[:1] for option in _GIT_RUNS])
_GIT_SHORT: Final = {
    "grep": ("-O",),
    "clone": ("-u", "-c", "--conf"),
    "fetch": (),
    "ls-remote": (),
    "difftool": ("-x",),
}
_GIT_SHOWS: Final = frozenset(("log", "show", "blame", "diff", "annotate", "grep", "cat-file", "archive", "difftool"))
_GIT_VERBS: Final = _GIT_SHOWS | frozenset((*_GIT_SHORT, "config", "format-patch", "apply", "am", "pull", "init"))
_GIT_FETCHES: Final = frozenset(("pull", "fetch", "clone", "ls-remote"))
_GIT_WORD_MAX: Final = 512
_GIT_READS_CONFIG: Final = frozenset(("--get", "--get-all", "--list", "-l", "--get-regexp", "get", "list"))
_MAKE_TEXT: Final = re.compile(r"\$[({]|`|\bsh -c|[;|&]|^(?:-f)?-$")
_AWK: Final = re.compile(r"\||\bsystem\b|\bgetline\b|@load|@include|(?:print|printf)\b[^;}]*>|\bclose\b|@\w+\s*\(")
_SED_LINE: Final = re.compile(
    r"(?:^|[;{}\n])\s*(?:[0-9$,!~+ \t]|/(?>(?:\\.|[^/\\])*)/[IM]*|\\(.)(?>(?:(?!\1).)*)\1)*+\s*[wWreF](?=[\s/~.]|$)"
)
_SED_FLAG: Final = re.compile(r"s([^\w\s\\])(?>(?:\\.|(?!\1)[^\\])*)\1(?>(?:\\.|(?!\1)[^\\])*)\1[0-9gpiImM]*[we]")
_SED_MAX: Final = 512
"""A longer script is doubted: reading it costs the square of its length."""
_COMPOUNDS: Final = frozenset(("{", "(", "((", "[[", "if", "for", "while", "until", "case", "select", "function"))
_TAR_RUNS: Final = (
    "--abs", "--to-c", "--checkpoint-act", "--use-c", "-I", "--one-top-level=/", "--rsh", "--rmt", "--inf", "--new-v"
)  # fmt: skip
_TAR_FILE: Final = re.compile(r"-[A-Za-z]*f|--fi(?:le)?")
_FAR_ARCHIVE: Final = re.compile(r"(?:-[A-Za-z]*f|--file=)?[\w.@-]+:.*", re.DOTALL)
_SAME_VIEW: Final = frozenset(
    (
        "--",
        "--help",
        "--version",
        "--list",
        "--tree",
        "--noprofile",
        "--quiet",
        "--private",
        "--private-tmp",
        "--private-dev",
        "--seccomp",
        "--caps.drop=all",
        "--nonewprivs",
        "--noroot",
        "--net=none",
    )
)
_SECRET_NAME: Final = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL", re.IGNORECASE)


def hazard_of(program: str, words: list[str], frame: Frame) -> str:
    """Return why these words do more than their operands tell, or ''."""
    if frame.scope.links and any(_through_link(word, frame) for word in words if "/" in word):
        return "runs-through-a-link"
    if any(word[:1] == "~" and FOLDER_STACK.match(word) is not None for word in words):
        return "folder-stack"
    if program in EVALUATES and any(value_hides(word) for word in words[1:]):
        return "evaluates-a-subscript"
    step = _HAZARDS.get(program)
    return step(words, frame) if step is not None else ""


def _through_link(word: str, frame: Frame) -> bool:
    full = absolute(word, frame.scope.cwd)
    return any((full == link and "/" in word.strip("./")) or full.startswith(link + "/") for link in frame.scope.links)


def _outside(path: str, frame: Frame) -> bool:
    return classify(path, frame.scope.cwd, frame.scope.project)[0] not in {"project", "temp", "null"}


def _strange(word: str, frame: Frame) -> bool:
    path = re.sub(r"^-(?:\w*?[CfI]|-\w+=)", "", word)
    inside = classify(path, frame.scope.cwd, frame.scope.project)[0] == "project"
    return path.startswith(("/", "~", "..")) and not inside


def _beyond(words: list[str], frame: Frame, reason: str) -> str:
    """A target folder or name, glued to an option or not, that lies outside the project."""
    for word in words[1:]:
        glued = re.sub(r"^-{1,2}[\w-]*?=?(?=[/~]|\.\.)", "", word) if word.startswith("-") else word
        if glued.startswith(("/", "~", "..")) and _outside(glued, frame):
            return reason
    return ""


def _xargs(words: list[str], frame: Frame) -> str:
    if any(word.startswith(("-a", "--arg-file")) for word in words[1:]) and _beyond(words, frame, "x"):
        return "xargs-reads-from-outside"
    skip = False
    for word in words[1:]:
        if skip or word.startswith("-"):
            skip = not skip and word in _XARGS_VALUES
        else:
            return "xargs-runs-an-interpreter" if word.rpartition("/")[2] in _RUNS_OTHERS else ""
    return ""


def _git(words: list[str], frame: Frame) -> str:
    verb, after = "", words[:0]
    for index, word in enumerate(words):
        if word[:1] in _GIT_RUNS_BEGIN and word.startswith(_GIT_RUNS):
            return "git-option-runs-a-program"
        if not verb and word in _GIT_VERBS:
            verb, after = word, words[index + 1 :]
    short = _GIT_SHORT.get(verb)
    if short and any(word.startswith(short) for word in after):
        return "git-option-runs-a-program"
    if verb == "config":
        return "git-setting" if _git_sets(after) else ""
    if verb in _GIT_FETCHES and any("::" in word for word in after):
        return "git-remote-helper"
    if _git_writes_outside(verb, after, frame) or ("bundle" in words and _beyond(words, frame, "x")):
        return "git-writes-outside"
    return "git-shows-a-secret" if verb in _GIT_SHOWS and _git_shows_secret(after, frame) else ""


def _git_sets(after: list[str]) -> bool:
    if any(word in {"-e", "edit"} or word.startswith("--ed") for word in after):
        return True
    named = any(GIT_CONFIGURES.match(word) for word in after)
    return named and _GIT_READS_CONFIG.isdisjoint(after) and len(after) > 1


def _git_writes_outside(verb: str, after: list[str], frame: Frame) -> bool:
    if "-o" not in (joined := "".join(after)) and "--dire" not in joined:
        return False
    written = [word.partition("=")[2] for word in after if word.startswith(("--outp", "--dire"))]
    written += [b for a, b in pairwise(after) if a in {"-o", "--output", "--output-directory"}]
    written += [word[2:] for word in after if verb in {"format-patch", "archive"} and re.match(r"-o.", word)]
    return any(_outside(path, frame) for path in written if path)


def _git_shows_secret(after: list[str], frame: Frame) -> bool:
    cwd, project = frame.scope.cwd, frame.scope.project
    for word in after:
        if word[:1] != "-" or word[:2] == "-L":
            name = word.rpartition(":")[2] if ":" in word else word
            if len(name) < _GIT_WORD_MAX and "secret" in classify(name, cwd, project):
                return True
    return False


def _make(words: list[str], frame: Frame) -> str:
    if any(
        word.startswith(("--ev", "-E", "SHELL=", "MAKEFLAGS=", ".SHELLFLAGS=")) or _MAKE_TEXT.search(word)
        for word in words[1:]
    ):
        return "make-runs-given-text"
    away = any(re.match(r"(?:-\w*[CfI]|--\w+=)?(?:/|~|\.\.)", word) for word in words[1:])
    return "make-outside" if away and any(_strange(word, frame) for word in words[1:]) else ""


def _awk(words: list[str], frame: Frame) -> str:
    if any(word.startswith(("-f", "--file", "-i", "-l", "-E", "--include", "--load", "--exec")) for word in words[1:]):
        return "awk-program-file" if any(_strange(word, frame) for word in words) or "-l" in words else ""
    text = re.sub(r'\|\||"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])*/', " ", " ".join(words[1:]))
    # a quoted operator is text; a pipe, a redirect or a call is not
    return "awk-runs-or-writes" if _AWK.search(text) else awk_environment(words)


def _sed(words: list[str], frame: Frame) -> str:
    if any(re.match(r"-\w*f|--file", word) for word in words) and any(_strange(word, frame) for word in words):
        return "sed-program-file"
    for word in words[1:]:
        if "/" in word and re.match(r"-[a-zA-Z]*i|--in-place=", word):
            return "sed-writes-elsewhere"
        script = word[2:] if word.startswith("-e") else word.removeprefix("--expression=")
        if script.startswith("-") or (script.startswith(("/", "~")) and " " not in script):
            continue
        if (
            len(script) > _SED_MAX
            or _SED_LINE.search(script)
            or re.match(r"\d*[we]\s", script)
            or _SED_FLAG.search(script)
        ):
            return "sed-runs-or-writes"
    return ""


def _always(words: list[str], frame: Frame) -> str:
    return "" if len(words) == 2 and words[1] in {"--help", "--version"} else "runs-what-it-reads"


def _another_view(words: list[str], frame: Frame) -> str:
    """Sandboxes that mount one folder where another is: paths inside are not what they say."""
    given = takewhile(lambda word: word.startswith("-"), words[1:])
    return "another-view-of-files" if any(word not in _SAME_VIEW for word in given) else ""


def _sort(words: list[str], frame: Frame) -> str:
    if any(word.startswith("--co") for word in words):
        return "sort-runs-a-program"
    writes = any(re.match(r"-[a-zA-Z]*o|--o", word) for word in words[1:])
    return "sort-writes" if writes else ""


def _second(words: list[str], frame: Frame) -> str:
    given = [word for word in words[1:] if not word.startswith("-") or word == "-"]
    return "writes-its-second-operand" if len(given) > 1 else ""


def _xxd(words: list[str], frame: Frame) -> str:
    return _second(words, frame) if any(word.startswith(("-r", "--r")) for word in words[1:]) else ""


def _unpacks(words: list[str], frame: Frame) -> str:
    if any(word.startswith("--filter") for word in words[1:]):
        return "option-runs-or-writes"
    return _beyond(words, frame, "writes-outside")


def _tar(words: list[str], frame: Frame) -> str:
    for index, word in enumerate(words[1:], 1):
        letters = word if index == 1 or re.match(r"-[A-Za-z]", word) else ""
        if "P" in letters.partition("=")[0] or word.startswith(_TAR_RUNS):
            return "tar-writes-outside"
        if letters[:2] != "--" and "F" in letters.partition("=")[0]:
            return "tar-runs-a-program"
    files = [words[2:3] if "f" in words[1][:8] and words[1][:2] != "--" else []] if len(words) > 1 else []
    named = [*[one for file in files for one in file], *[b for a, b in pairwise(words) if _TAR_FILE.fullmatch(a)]]
    named += [word for word in words if word.startswith("--file=")]
    far = any(_FAR_ARCHIVE.fullmatch(word) for word in named) and "--force-local" not in words
    return "tar-on-another-machine" if far else ""


def _bare(words: list[str], frame: Frame) -> str:
    """`set`, `export -p`, `declare` print every variable."""
    if words[0] == "set":
        return "prints-variables" if len(words) == 1 else ""
    if any(word.startswith("CDPATH") for word in words[1:]):
        return "folder-search-path"
    listing = all(word.startswith("-") for word in words[1:]) and not any("f" in word for word in words[1:])
    return "prints-variables" if listing and words[0] != "local" else ""


def _printenv(words: list[str], frame: Frame) -> str:
    return "prints-a-secret" if any(_SECRET_NAME.search(word) for word in words[1:]) else ""


def _ps(words: list[str], frame: Frame) -> str:
    return (
        "prints-environments"
        if any(re.fullmatch(r"[a-zA-Z]*e[a-zA-Z]*", word) for word in words[1:2]) or "e" in words
        else ""
    )


def _cd(words: list[str], frame: Frame) -> str:
    return "folder-search-path" if "CDPATH" in frame.scope.variables else ""


def _before_compound(words: list[str], frame: Frame) -> str:
    """The grammar takes what begins behind `coproc` and `time` for words, and its end for that of something else."""
    return "syntax" if not _COMPOUNDS.isdisjoint(words[1:3]) else ""


def _shell_options(words: list[str], frame: Frame) -> str:
    """With `lastpipe` the last command of a pipe changes the shell, with `extdebug` a trap skips what is written."""
    return "shell-option" if "lastpipe" in words or "extdebug" in words else ""


_HAZARDS: Final[dict[str, Callable[[list[str], Frame], str]]] = {
    **TOOL_HAZARDS,
    **dict.fromkeys(("shopt", *SHELLS), _shell_options),
    **dict.fromkeys(("coproc", "time"), _before_compound),
    "xargs": _xargs,
    "parallel": both(_xargs, _options("-S", "--sshl", "--slf", "--basef", "--bf", "--onall", "--nonall")),
    "git": both(foreign_repository, _git),
    **dict.fromkeys(("make", "gmake"), _make),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _awk),
    **dict.fromkeys(("sed", "gsed"), _sed),
    "sort": _sort,
    "uniq": _second,
    "xxd": _xxd,
    "rg": _options("--pre", "--hostname-bin"),
    **dict.fromkeys(("less", "more", "vim", "view", "vimdiff"), _options("+", "-c", "--cmd", "-k", "-O", "-o")),
    "man": _options("-P", "--pager", "-H", "--html", "-C", "--config"),
    "zip": _options("-TT", "--unzip-command"),
    **dict.fromkeys(("gdb", "lldb", "m4", "dc"), _always),
    **dict.fromkeys(("firejail", "bwrap", "proot"), _another_view),
    **dict.fromkeys(("unzip", "split", "csplit", "cpio", "7z", "7za", "unrar", "ar", "pax"), _unpacks),
    **dict.fromkeys(("tar", "bsdtar"), _tar),
    **dict.fromkeys(("set", "export", "declare", "typeset", "readonly"), _bare),
    "printenv": _printenv,
    "ps": _ps,
    **dict.fromkeys(("cd", "pushd"), _cd),
}
