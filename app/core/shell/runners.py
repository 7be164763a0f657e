"""Sub-commands of package tools that run a program by name, and commands that hide in an argument of any program.

`npx eslint` is the tool's own business; where the name is one of the system's programs (`npx rm`), that is followed.
"""

import re
from typing import Final

from app.core.shell.follow import Span, inside, kept, moved, text_of
from app.core.shell.form import UNKNOWN, Command, marks_of
from app.core.shell.names import CODERS, PREFIXES, SHELLS, program_of
from app.core.shell.reading import Frame, Reading
from app.core.shell.stored_make import NAMES, asked, follow_make
from app.core.shell.stored_packages import RUNNERS, follow_package
from app.core.shell.touches import CHANGERS, DELETERS, LISTERS, PATTERN_FIRST, QUIET, READERS, WRITERS
from app.core.shell.written import FETCHERS

_VERBS: Final = {
    "npx": ("",),
    "bunx": ("",),
    "pnpx": ("",),
    "uvx": ("",),
    "npm": ("exec", "x"),
    "pnpm": ("exec", "dlx"),
    "yarn": ("exec", "dlx", "run"),
    "bun": ("x", "run"),
    "composer": ("exec",),
    "dune": ("exec",),
    "pipx": ("run",),
    "deno": ("task", "run"),
}
_EVALUATED: Final = frozenset(("--eval", "-e"))
_SHELL_MODE: Final = frozenset(("-c", "--shell-mode"))
_SETS: Final = frozenset(("pkg", "set-script"))
_GIVEN: Final = frozenset(("-c", "--call"))
_VALUES_TEXT: Final = """
-p --package -w --workspace --from --with --spec --python --root --cache --userconfig --globalconfig --prefix --loglevel
--node-options --registry --script-shell --shell -C --dir --cwd --directory --project --index-url --index
--extra-index-url --env-file --pip-args --fetcher --filter --store-dir --tag --otp
"""
_VALUES: Final = frozenset(_VALUES_TEXT.split())
_SYSTEM: Final = (
    CHANGERS
    | DELETERS
    | LISTERS
    | PATTERN_FIRST
    | QUIET
    | READERS
    | WRITERS
    | SHELLS
    | FETCHERS
    | frozenset(PREFIXES)
    | frozenset(("cp", "mv", "ln", "dd", "find", "xargs", "git", "docker", "kubectl", "env", "sudo", "su", "kill"))
) - {"code", "http", "delta", "aws", "test"}
_TEXTS: Final = frozenset(("--prepare", "--setup", "--cleanup", "--conclude", "-p", "-s", "-c"))
_MAKE_RUNS: Final = re.compile(
    r"\$[({](?:shell|eval|call|file|guile)\b|!=|^\s*(?:-?include|define|export|load)\b|^\s*(?:SHELL|\.SHELLFLAGS|MAKEFLAGS)\s*[:?+]?=",
    re.MULTILINE,
)
_MAKE_NAME: Final = re.compile(r"\$(?:\([^()]*\)|\{[^{}]*\}|[@<^*+?%|])")
_RECIPE: Final = re.compile(r"^(?:\t(.*)|[^\s#=][^=\n]*?:[^=\n;]*;(.*))$", re.MULTILINE)
_ACTING: Final = """
dd sudo doas curl wget nc ncat socat ssh scp mkfs chmod chown eval shutdown reboot crontab systemctl xargs
nohup busybox mv
"""
_ACTORS: Final = SHELLS | DELETERS | frozenset(CODERS) - {"node", "expect", "julia"} | frozenset(_ACTING.split())
_CALLS: Final = re.compile(
    r"\b(?:system|popen\w?|exec(?:v|l|ve|vp|Sync|File)?|spawn\w*|passthru|shell_exec|proc_open|callCommand|callProcess|cmd|Popen"
    r"|check_output|check_call|getoutput|rmtree|rm_rf|rm_r|rmSync|unlink(?:Sync)?|removedirs|removeTree|rename|open)\s*[(\[{]?\s*[\"'`]"
    r"|\b(?:os\.(?:system|remove|unlink|rename)|shutil\.|subprocess\.|child_process|getRuntime|FileUtils\.|File\.(?:delete|write|unlink))"
    r"|\\write18|\\input\s*\|"
)
"""Calls of any language that start programs or delete."""
_TELLING: Final = """
git gh glab jj hg svn find fd pytest notify-send dunstify logger say spd-say espeak cowsay figlet toilet
lolcat wall write mail tr cut sort column fold tmux screen apropos man tldr cheat npm yarn pnpm
"""
_TELLS: Final = QUIET | PATTERN_FIRST | LISTERS | SHELLS | frozenset(CODERS) | frozenset(_TELLING.split())


def runs_package(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Follow `npx rm -rf /`; the launcher itself is kept as a command in any case."""
    if words[0] in RUNNERS:
        follow_package(reading, words, frame, span)
    verbs = _VERBS[words[0]]
    verb = _behind_options(words, 1)
    if verbs != ("",):
        if verb >= len(words) or words[verb] not in verbs:
            return None
        if not _SHELL_MODE.isdisjoint(words[1:verb]):  # one text for a shell
            text_of(reading, " ".join(words[verb + 1 :]), words, inside(frame, words[0], span), span)
    index = verb if verbs == ("",) else _behind_options(words, verb + 1)
    name = _package(words[index]) if index < len(words) else ""
    plain = (words[0], *(() if verbs == ("",) else words[verb : verb + 1]), name, *words[index + 1 :])
    if name and plain != tuple(words):
        # judged besides, so that what is known of a package holds for each of its versions too
        reading.emit(Command(words[0], plain, frame.wrappers, span))
    if " " in name or program_of(name) in _SYSTEM:
        reading.run_words(reading, [name, *words[index + 1 :]], inside(frame, words[0], span), span)
    return None


def runs_beside(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """What interpreters of JavaScript run that is no script: `bun exec TEXT`, `bun x rm`, `deno run npm:rimraf`."""
    verb = _behind_options(words, 1)
    rest = words[verb + 1 :]
    if words[verb : verb + 1] == ["exec"] or (words[verb : verb + 1] == ["task"] and not _EVALUATED.isdisjoint(rest)):
        texts = [word.removeprefix("--eval=") for word in rest if word not in _EVALUATED]
        text_of(reading, " ".join(texts), words, inside(frame, words[0], span), span)
    elif words[verb : verb + 1] in (["x"], ["run"], ["task"]):
        runs_package(reading, words, frame, span)


def _behind_options(words: list[str], index: int) -> int:
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in _VALUES else 1
    return index


def _package(word: str) -> str:
    """Return the package's name: `prisma@5`, `npm:prisma`, `x@npm:prisma@5` and `prisma==5` are prisma."""
    word = word.partition("@npm:")[2] or word.removeprefix("npm:").removeprefix("jsr:")
    return word[:1] + re.split(r"@|==", word[1:], maxsplit=1)[0]


def set_scripts(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """Read what `npm pkg set scripts.x=text` will run later as what it runs."""
    if _SETS.isdisjoint(words) or "set" not in "".join(words):
        return
    if "set-script" in words:
        for text in words[words.index("set-script") + 2 :][:1]:
            text_of(reading, text, words, inside(frame, words[0], span), span)
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name.startswith("scripts"):
            continue
        if text[:1] == "{" or "--json" in words:
            reading.doubt("scripts-set-at-once")
        else:
            text_of(reading, text, words, inside(frame, words[0], span), span)


def runs_alone(program: str, words: list[str]) -> bool:
    """Tell whether a text of these words alone runs nothing else: no file of its own making is there to be read."""
    if program in {"make", "gmake"}:
        return True
    verbs = _VERBS.get(program, ("",))
    return verbs != ("",) and len(words) > 1 and words[1] not in verbs and (_GIVEN | _SETS).isdisjoint(words)


def runs_texts(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Programs whose every operand is a text for a shell, and those with an option that is one."""
    for index, word in enumerate(words[1:], 1):
        name, sign, value = word.partition("=")
        before = words[index - 1]
        if sign and (_is_filter(name) or name in _TEXTS):
            text_of(reading, value, words, inside(frame, words[0], span), span)
        elif _is_filter(before) or before in _TEXTS or (words[0] == "hyperfine" and not word.startswith("-")):
            text_of(reading, word, words, inside(frame, words[0], span), span)
    return kept(reading, words, frame, span)


def _is_filter(word: str) -> bool:
    return len(word) > 3 and "--filter".startswith(word)


def runs_recipes(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Make with a file that the text itself wrote: every recipe of it is read; else what a stored one would run."""
    folder, named = asked(words)[:2]
    here = moved(frame, folder) if folder else frame
    written = [content for name in named or NAMES for content in here.scope.contents(name)]
    for content in written:
        read_recipes(reading, content, words, here, span)
    if not written:
        follow_make(reading, words, frame, span)
    return None


def read_recipes(reading: Reading, content: str, words: list[str], frame: Frame, span: Span) -> None:
    """Read the recipes of a makefile as shell text; make's own functions are a doubt."""
    if _MAKE_RUNS.search(content) or marks_of(content):
        reading.doubt("makefile-runs-text")
    inner = inside(frame, words[0], span)
    joined = content.replace("\\\n", " ")
    for found in _RECIPE.finditer(joined):
        text = _MAKE_NAME.sub(UNKNOWN, found[1] or found[2]).replace("$$", "$")
        text_of(reading, text.lstrip("@-+ \t"), words, inner, span)


def smuggles(program: str, words: list[str]) -> bool:
    """Tell whether an argument reads like a command line of a program that acts: `go test -exec 'rm -rf /'`."""
    if program in _TELLS:
        return program in CODERS and any("(" in word and _CALLS.search(word) for word in words[2:])
    return any(_reads_like_code(word) for word in words[1:])


def _reads_like_code(word: str) -> bool:
    if " " in word:
        return acts(word) or _CALLS.search(word) is not None
    return ("(" in word or "{" in word) and _CALLS.search(word) is not None


def acts(word: str) -> bool:
    """Tell whether a text begins with a program that acts, behind an option's name or not."""
    head = word.split(None, 1)[:1]
    return bool(head) and program_of(head[0].rpartition("=")[2].lstrip("!.\\'\"")) in _ACTORS
