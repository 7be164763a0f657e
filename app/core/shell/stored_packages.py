"""Scripts of a stored package.json: what `npm test`, `npm run x`, `yarn x` and an install would run is read."""

import json
from typing import Final

from app.core.shell.embedded import quoted
from app.core.shell.follow import Span, inside, text_followed
from app.core.shell.form import UNKNOWN, marks_of
from app.core.shell.places import absolute
from app.core.shell.reading import Frame, Reading
from app.core.shell.stored import stored_text

RUNNERS: Final = frozenset(("npm", "pnpm", "yarn"))
_FOLDERS: Final = frozenset(("--prefix", "-C", "--cwd", "--dir"))
_VALUES: Final = _FOLDERS | frozenset(("-w", "--workspace", "--filter", "-F", "--registry", "--loglevel"))
_RUNS: Final = frozenset(("run", "run-script", "rum", "urn"))
_SHORT: Final = {"t": "test", "tst": "test"}
_LIFE: Final = frozenset(("test", "start", "stop", "restart"))
_INSTALLS: Final = frozenset(("install", "i", "ci", "add", "install-test", "it", "rebuild", "prune", "update", "link"))
_AT_INSTALL: Final = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare", "prepublish")
_PACKS: Final = frozenset(("pack", "publish"))
_AT_PACK: Final = ("prepublishOnly", "prepack", "prepare", "postpack", "publish", "postpublish")


def follow_package(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """Read the scripts of the stored package.json that a call of a package tool would run."""
    if reading.scripts is None and not frame.scope.made():
        return
    folder, rest = _operands(words)
    names, arguments = _named(words[0], rest)
    if not names:
        return
    scope = frame.scope.copy()
    scope.cwd = absolute(folder, scope.cwd) if folder else scope.cwd
    inner = inside(frame, words[0], span)._replace(scope=scope)
    stored = stored_text(reading, "package.json", inner)
    texts = [*scope.contents("package.json"), *([stored] if stored is not None else [])]
    for name, script in [item for text in texts for item in _scripts(reading, text)]:
        if name in names or marks_of("".join(names)):
            given = " ".join([script, *[quoted(word) for word in arguments]]) if name == names[0] else script
            text_followed(reading, given, words, inner._replace(scope=scope.copy()), span)


def _operands(words: list[str]) -> tuple[str, list[str]]:
    """Return the folder that options name and the words that are no options; behind `--` all are none."""
    folder, found, before = "", list[str](), ""
    for index, word in enumerate(words[1:], 1):
        if word == "--":
            return folder, [*found, *words[index + 1 :]]
        name, sign, value = word.partition("=")
        if before in _FOLDERS or (sign and name in _FOLDERS):
            folder = word if before in _FOLDERS else value
        elif not word.startswith("-") and before not in _VALUES:
            found.append(word)
        before = word
    return folder, found


def _named(program: str, rest: list[str]) -> tuple[list[str], list[str]]:
    """Return the scripts that would run, the one that takes the arguments first, and these arguments."""
    verb = rest[0] if rest else "install"
    if verb in _RUNS:
        return (_around(rest[1]), rest[2:]) if len(rest) > 1 else ([], [])
    verb = _SHORT.get(verb, verb)
    if verb in _LIFE:
        return _around(verb), rest[1:]
    if verb in _INSTALLS:
        return ["", *_AT_INSTALL], []
    if verb in _PACKS:
        return ["", *_AT_PACK], []
    return (_around(verb), rest[1:]) if program != "npm" or marks_of(verb) else (_around(verb)[1:], [])


def _around(name: str) -> list[str]:
    return [name, f"pre{name}", f"post{name}"]


def _scripts(reading: Reading, text: str) -> list[tuple[str, str]]:
    if marks_of(text):  # what a program made of it: as much the project's as the file that was there
        return []
    try:
        package = json.loads(text)
    except (ValueError, RecursionError):
        reading.doubt("script-not-text")
        return []
    scripts = package.get("scripts") if isinstance(package, dict) else None
    if not isinstance(scripts, dict):
        return []
    return [(name, one if isinstance(one, str) and not marks_of(one) else UNKNOWN) for name, one in scripts.items()]
