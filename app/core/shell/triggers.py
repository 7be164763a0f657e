"""Tools that run what lies in the project, where this very text wrote some of it: what it wrote is judged as a script
of the store would be. What the project's own programs printed into a file is as much the project's as the rest of it.
"""

import re
from collections.abc import Iterator
from posixpath import basename, dirname
from typing import Final

from app.core.shell.embedded import script_word
from app.core.shell.follow import Span, inside, text_of
from app.core.shell.form import FOREIGN, NETWORK, Command, marks_of
from app.core.shell.names import CODERS
from app.core.shell.reading import Frame, Reading
from app.core.shell.scope import below
from app.core.shell.stored_code import weigh_code
from app.core.shell.unpacking import stem_of

_TOOLS: Final = """
pytest py.test tox nox coverage npm npx pnpm yarn bun bunx pnpx deno jest vitest mocha ava tsx ts-node vite webpack
cargo go mvn gradle make gmake just task cmake ninja pip uv uvx poetry hatch pdm pipenv flask gunicorn uvicorn celery
django-admin streamlit rake bundle rspec composer phpunit prove direnv pre-commit mix elixir iex
"""
_RUN_THE_PROJECT: Final = frozenset(_TOOLS.split()) | frozenset(CODERS)
_COMPOSE: Final = re.compile(r"(?:^|/)(?:(?:docker-)?compose[\w.-]*\.ya?ml|Dockerfile[\w.-]*|[\w.-]+\.Dockerfile)\Z")
_COMPILED: Final = re.compile(r"\.(?:c|cc|cpp|cxx|h|hpp|m|mm|rs|hs|swift|zig|d|nim|cr|java|kt|scala|cs|fs|go|ml)\Z")
_ONLY: Final = {
    "git": re.compile(r"(?:^|/)\.(?:githooks|husky)/"),
    **dict.fromkeys(("docker", "docker-compose", "podman", "podman-compose", "nerdctl"), _COMPOSE),
    **dict.fromkeys(("terraform", "tofu", "terragrunt"), re.compile(r"\.(?:tf|hcl|tf\.json)\Z")),
    **dict.fromkeys(("gcc", "g++", "cc", "c++", "clang", "clang++", "tcc", "rustc", "ghc", "swiftc", "zig"), _COMPILED),
    **dict.fromkeys(("javac", "kotlinc", "scalac", "dotnet", "nim", "crystal", "swift", "stack", "cabal"), _COMPILED),
    **dict.fromkeys(("inv", "invoke"), re.compile(r"(?:^|/)tasks\.py\Z")),
    **dict.fromkeys(("foreman", "honcho", "overmind", "hivemind"), re.compile(r"(?:^|/)Procfile[\w.-]*\Z")),
    **dict.fromkeys(("eslint", "prettier", "stylelint", "babel", "rollup"), re.compile(r"(?:rc|config)(?:\.\w+)?\Z")),
}
"""Programs that run such files of a project, and no others."""
_LANGUAGES: Final = {
    **dict.fromkeys(("py", "pyi", "pth"), "python"),
    **dict.fromkeys(("js", "mjs", "cjs", "ts", "mts", "jsx", "tsx", "go", "rs", "java", "kt"), "node"),
    **dict.fromkeys(("rb", "rake", "gemspec"), "ruby"),
    **dict.fromkeys(("pl", "pm", "t"), "perl"),
    **dict.fromkeys(("c", "cc", "cpp", "cxx", "h", "hpp", "hs", "swift", "zig", "cs", "scala", "nim", "cr"), "node"),
    "php": "php",
    "lua": "lua",
}
_FINDERS: Final = "pytest py.test tox nox coverage jest vitest mocha ava deno go rspec phpunit prove unittest"
_FIND_TESTS: Final = frozenset(_FINDERS.split())
"""They look into all folders for what to run."""
_NAMES: Final = """
Makefile makefile GNUmakefile package.json Cargo.toml pyproject.toml setup.cfg tox.ini pytest.ini pom.xml Procfile
CMakeLists.txt Justfile justfile .justfile Taskfile.yml Taskfile.yaml config.toml .eslintrc
meson.build mix.exs .npmrc .pre-commit-config.yaml composer.json
"""
_TOLD: Final = frozenset(_NAMES.split())
_TOLD_ENDS: Final = (".mk", ".gradle", ".kts", ".cmake", ".so", ".pyc", ".class", ".jar", ".exs", ".bzl", ".node")
"""Files that tell such a tool what to run."""
_OF_A_NAME: Final = {"Rakefile": "ruby", "Gemfile": "ruby"}
_SHELL_ENDS: Final = (".sh", ".bash", ".zsh", "/.envrc", "/.bashrc", "/.bash_profile", "/.profile", "/.zshrc")
_HOOKS: Final = re.compile(r"(?:^|/)\.(?:githooks|husky)/[\w-]+\Z")
_HARM: Final = re.compile(
    r"(?:^|[^\w.-])(?:rm\s+-\w*[rf]|git\s+(?:push|reset|clean)|(?:curl|wget)\s(?![^\n]*(?:localhost|127\.0\.0\.1))|mkfs"
    r"|dd\s+if=|sudo\s|n?cat?\s+-\w*[el]|ssh\s|scp\s|shutdown|reboot|pkill|killall|rimraf|(?:ba|z|da)?sh\s+-c)"
    r"|REMOVE_RECURSE|rmtree|docker\.sock|privileged|(?:^|[\s\"'\[-])/:/|rustc-wrapper|linker\s*=|local-exec"
    r"|~/\.(?:ssh|aws|kube)|/etc/(?:passwd|shadow|cron)|[\"']rm[\"']|[\"'](?:ba)?sh[\"'],\s*[\"']-c",
    re.MULTILINE,
)
"""In a file that tells a tool what to run: what a person is asked about."""


def follow_made(reading: Reading, program: str, words: list[str], frame: Frame, span: Span) -> None:
    """Read what the text wrote where this command may run it without a word of it."""
    if "/" not in words[0]:
        _follow_named(reading, words, frame, span)
    only = _ONLY.get(program)
    if only is None and program not in _RUN_THE_PROJECT:
        return
    inner = inside(frame, program, span)
    for text in _unpacked(reading, program, words, frame):
        _emit_unknown(reading, program, words, frame, span, text)
    for path, text in list(_unread(reading, frame, only)):
        if NETWORK in text or FOREIGN in text:
            _emit_unknown(reading, program, words, frame, span, text)
        else:
            _weigh_made(reading, path, text, words, inner, span)


def _weigh_made(reading: Reading, path: str, text: str, words: list[str], inner: Frame, span: Span) -> None:
    if (path.endswith(_SHELL_ENDS) or _HOOKS.search(path)) and not marks_of(text):
        text_of(reading, text, words, inner._replace(scope=inner.scope.copy(), stdin=None), span)
    elif language := _language(path):
        weigh_code(reading, [language], text, inner, span)
    elif _HARM.search(text):
        reading.doubt("runs-what-was-written")


def _emit_unknown(reading: Reading, program: str, words: list[str], frame: Frame, span: Span, text: str) -> None:
    facts = frozenset(("remote-code" if NETWORK in text else "unknown-code",))
    reading.emit(Command(program, tuple(words), frame.wrappers, span, facts, (), unresolved=True))


def _unpacked(reading: Reading, program: str, words: list[str], frame: Frame) -> list[str]:
    """Return what was unpacked where this tool stands or is sent, or where it looks for tests by itself."""
    scope = frame.scope
    if not scope.stems or (program in CODERS and script_word(words)):
        return []
    here = stem_of("", scope.cwd)
    given = [] if program in CODERS else [word for word in words[1:] if not word.startswith("-")]
    sent = [stem_of(word.rpartition("=")[2], scope.cwd) for word in given]
    finds = program in _FIND_TESTS or "test" in words[1:3]
    return [
        text
        for stem, texts in scope.stems.items()
        if any(below(place, stem) for place in (here, *sent)) or (finds and stem.startswith(here))
        for text in texts
        if FOREIGN in text or NETWORK in text
    ]


def _unread(reading: Reading, frame: Frame, only: re.Pattern[str] | None) -> Iterator[tuple[str, str]]:
    """Yield paths and texts of code that was not judged yet, each once; of those that a pattern is for."""
    for path, texts in frame.scope.files.items():
        if only is not None and only.search(path) is None:
            continue
        told = only is not None or basename(path) in _TOLD or path.endswith(_TOLD_ENDS)
        if not told and not path.endswith(_SHELL_ENDS) and not _language(path):
            continue
        for text in texts:
            if (path, text) not in reading.judged:
                reading.judged.add((path, text))
                yield path, text


def _language(path: str) -> str:
    name = basename(path)
    return _OF_A_NAME.get(name) or _LANGUAGES.get(name.rpartition(".")[2], "")


def _follow_named(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """A program of this name was written into a folder of programs: it stands before the machine's, or may."""
    named = {words[0]} if words[0] not in {"npx", "bunx", "pnpx", "npm", "pnpm", "yarn", "bun"} else set(words[:4])
    for path in list(frame.scope.files):
        if basename(path) in named and dirname(path).endswith("bin") and (path, "") not in reading.judged:
            reading.judged.add((path, ""))
            reading.run_words(reading, [path, *words[1:]], frame, span)
