"""Options by which compilers, test runners and package tools load code: a script from outside the project is asked
about, and what these load from outside, the temporary folder too, is no better.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.places import classify
from app.core.shell.reading import Frame

_LOADS: Final = re.compile(
    r"(-c|-f|-r|auto_\w+|-javaagent|-agentpath|-p|-C|-P|-m|-d|-I|-cp|-jar|-classpath|--class-path|-Clinker|linker"
    r"|--?(?:config|config-file|configfile|rcfile|rc-file|require|import|loader|plugin|plugins|plugin-dir|plugin-search-dir"
    r"|rulesdir|init-script|manifest-path|project|project-dir|package-path|gemfile|rootdir|confcutdir|python-executable"
    r"|globalSetup|globalTeardown|setupFiles|setupFilesAfterEnv|resolve-plugins-relative-to|working-dir|file|makefile"
    r"|kubeconfig|post-renderer|engine|provider-path|preload|auto_prepend_file|toolexec|load|prefix|cwd|directory))"
)
_GLUED: Final = re.compile(
    r"(?:-{1,2}[\w-]+[=:]|-[cfrpCPmIB]|@|-d\s*\w+=|linker=|auto_\w+_file=)"
    r"(?=[/~]|\.\.(?:/|\Z)|https?:|data:|github:)(.*)",
    re.DOTALL,
)
_BEGINS: Final = frozenset("/~.")
_SIGNS: Final = frozenset("-@la")
"""What a word begins with that may be an option with its value."""
_URL: Final = re.compile(r"https?://|data:|git\+|github:|npm:|jsr:")
_RUNNERS_TEXT: Final = "pytest py.test rspec mocha jest vitest bats phpunit behave rubocop stack java"
_OPERANDS: Final = frozenset(_RUNNERS_TEXT.split())
"""Programs that run what their operands name."""
_LOADERS_TEXT: Final = """
pytest py.test rspec mocha jest vitest bats phpunit behave rubocop java eslint prettier stylelint babel webpack rollup
vite mypy pylint flake8 cargo bundle composer mvn gradle dotnet swift stack rake ninja rustc gcc g++ clang clang++ cc
c++ terraform helm kubectl openssl ansible-lint postcss ava tap
"""
LOADERS: Final = frozenset(_LOADERS_TEXT.split())
_RUN_FROM: Final = re.compile(r"(?:https?://|data:|github:|git\+).*|(?:[\w-]+\.)+[a-z]{2,}/.*@.*", re.DOTALL)


_RUN_VALUES_TEXT: Final = """
-c --config --import-map --cert --location --log-level -L --seed --preload --import -r --require --lock --env-file
--conditions
"""
_RUN_VALUES: Final = frozenset(_RUN_VALUES_TEXT.split())


def loads_from_outside(words: list[str], frame: Frame) -> str:
    """Return the doubt of an option that loads what lies outside the project."""
    for word, following in pairwise([*words[1:], ""]):
        begins = following[:1] in _BEGINS or ":" in following
        if not begins and word[:1] not in _SIGNS:
            continue
        glued = _GLUED.match(word)
        if glued is not None and (_outside(glued[1], frame) or _URL.match(glued[1])):
            return "loads-code-from-outside" if _LOADS.match(word) or word[0] == "@" else ""
        if begins and _LOADS.fullmatch(word) and (_outside(following, frame) or _URL.match(following)):
            return "loads-code-from-outside"
    if words[0].rpartition("/")[2] in _OPERANDS:
        return "loads-code-from-outside" if any(_outside(word, frame) for word in words[1:] if word[:1] != "-") else ""
    return ""


def _outside(path: str, frame: Frame) -> bool:
    if not path.startswith(("/", "~", "..")):
        return False
    return classify(path.partition(":")[0], frame.scope.cwd, frame.scope.project)[0] not in {"project", "null"}


def runs_from_elsewhere(words: list[str], frame: Frame) -> str:
    """Return the doubt of a script or module that is another machine's, as `deno run https://x` names it."""
    named = [word.partition("=")[2] if word[:2] == "--" and "=" in word else word for word in words[1:3]]
    if any(_RUN_FROM.fullmatch(word) for word in [*named, *_script(words)]):
        return "runs-code-of-another-machine"
    return loads_from_outside(words, frame)


def _script(words: list[str]) -> list[str]:
    """Return the script of `deno run -A x`: the first word behind the sub-command that is no option nor its value."""
    plain = [word for before, word in pairwise(words) if word[:1] != "-" and before not in _RUN_VALUES]
    return plain[:1] if plain and not plain[0].isalpha() else plain[1:2]


def go(words: list[str], frame: Frame) -> str:
    """Return the doubt of what go runs from another machine, or sets for every later run."""
    if words[1:2] == ["run"] and any(_RUN_FROM.fullmatch(word) for word in words[2:]):
        return "runs-code-of-another-machine"
    return "changes-settings" if words[1:2] == ["env"] and {"-w", "-u"} & set(words) else ""


def both(*steps: Callable[[list[str], Frame], str]) -> Callable[[list[str], Frame], str]:
    """Return a hazard that is any of these."""

    def step(words: list[str], frame: Frame) -> str:
        for one in steps:
            if found := one(words, frame):
                return found
        return ""

    return step
