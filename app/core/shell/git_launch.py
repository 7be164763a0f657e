"""Git as a launcher: aliases, settings and sub-commands that make it run other programs."""

import re
import shlex
from typing import Final

from app.core.shell.follow import Span, inside, text_of
from app.core.shell.form import Command
from app.core.shell.reading import Frame, Reading

_RUNNERS: Final = (
    ("rebase", "-x"),
    ("rebase", "--exec"),
    ("submodule", "foreach"),
    ("bisect", "run"),
    ("difftool", "-x"),
    ("difftool", "--extcmd"),
)
_TELLING: Final = frozenset([option for _, option in _RUNNERS]) | {"filter-branch", "config", "--config-env"}
"""Without one of these words, or a `-c`, git runs nothing but itself."""
_GIT_LOOSENS: Final = (
    "gc.prune",
    "gc.reflog",
    "clean.requireforce",
    "receive.deny",
    "http.sslverify",
    "safe.directory",
    "core.worktree",
    "url.",
)


GIT_CONFIGURES: Final = re.compile(
    r"(?:include|includeif|alias|core|credential|diff|merge|filter|pager|sequence|gpg|url|remote|uploadpack|browser|"
    r"difftool|mergetool|man|http|protocol|submodule|init|hook|trailer|interactive|sendemail|web|instaweb|guitool|"
    r"uploadpackfilter|fsck|tar|notes|rebase|remotehelper|fetch\.fsck|extensions|index)\.",
    re.IGNORECASE,
)
"""Settings by which git may run, load or believe something else."""
_HARMLESS: Final = re.compile(
    r"core\.(?:quotepath|autocrlf|eol|safecrlf|filemode|ignorecase|abbrev|precomposeunicode|longpaths|commentchar"
    r"|bigfilethreshold|compression|preloadindex|untrackedcache|symlinks|looseCompression)|rebase\.(?:autostash|autosquash)"
    r"|diff\.(?:algorithm|renames|renamelimit|noprefix|mnemonicprefix|context|colormoved\w*|wserrorhighlight|submodule)"
    r"|merge\.(?:conflictstyle|ff|renames|renamelimit|stat|log)|submodule\.recurse|protocol\.version|init\.defaultbranch"
    r"|http\.(?:postbuffer|lowspeed\w*|version|connecttimeout)|index\.\w+|notes\.\w+"
)


def git_alone(words: list[str]) -> bool:
    """Tell whether git is told to run nothing else, as far as these words go."""
    return _TELLING.isdisjoint(words) and "-c" not in "".join(words)


def run_git(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Git runs what its configuration and some of its sub-commands are told to run."""
    if git_alone(words):
        return _git_alias(reading, words, frame, span) if frame.scope.variables else None
    inner = inside(frame, "git", span)
    for index, word in enumerate(words[:-1]):
        if word in {"-c", "--config-env"} or word.startswith("-c"):
            _git_setting(reading, words[index + 1] if word == "-c" else word[2:], words, inner, span)
    _git_subcommands(reading, words, inner, span)
    return _git_alias(reading, words, frame, span)


def _git_subcommands(reading: Reading, words: list[str], inner: Frame, span: Span) -> None:
    rest = [word for word in words if word]
    for verb, option in _RUNNERS:
        start = rest.index(verb) if verb in rest else len(rest)
        if option in rest[start:]:
            given = rest[rest.index(option, start) + 1 :]
            text = given[0] if given and (option.startswith("-") or len(given) == 1) else shlex.join(given)
            text_of(reading, text, words, inner, span)
    if "filter-branch" in rest:
        for index, word in enumerate(rest[:-1]):
            if word.endswith("-filter"):
                text_of(reading, rest[index + 1], words, inner, span)
    _git_config(reading, rest, words, inner, span)


def _git_config(reading: Reading, rest: list[str], words: list[str], inner: Frame, span: Span) -> None:
    if "config" not in rest[1:4]:
        return
    for index, word in enumerate(rest[:-1]):
        if word.startswith(("alias.", "core.", "credential", "diff.", "filter.")):
            _git_setting(reading, f"{word}={rest[index + 1]}", words, inner, span)


def _git_setting(reading: Reading, setting: str, words: list[str], frame: Frame, span: Span) -> None:
    name, _, value = setting.partition("=")
    lowered = name.lower()
    if lowered.startswith("alias."):
        if value.startswith("!"):
            text_of(reading, value[1:], words, frame, span)
        elif value:
            frame.scope.variables[f"git {lowered}"] = value
    elif lowered.startswith(_GIT_LOOSENS):
        _note_setting(reading, words, frame, span, harmless=False)
    elif lowered in {
        "core.sshcommand",
        "core.pager",
        "core.editor",
        "core.fsmonitor",
        "core.hookspath",
        "sequence.editor",
        "diff.external",
        "core.askpass",
        "credential.helper",
        "core.gitproxy",
        "gpg.program",
    } or lowered.startswith(("filter.", "pager.")):
        _note_setting(reading, words, frame, span, harmless=not value and lowered == "credential.helper")
        if (
            value
            and value not in {"cat", "less", "true", "vim", "nano", "vi", "store", "cache"}
            and lowered != "core.hookspath"
        ):
            text_of(reading, value.removeprefix("!"), words, frame, span)
    elif GIT_CONFIGURES.match(lowered):
        _note_setting(reading, words, frame, span, harmless=_HARMLESS.fullmatch(lowered) is not None)


def _note_setting(reading: Reading, words: list[str], frame: Frame, span: Span, *, harmless: bool) -> None:
    if not harmless:
        reading.emit(Command("git", tuple(words), frame.wrappers, span, frozenset(("git-runs-setting",))))


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
