"""A tool call as rules see it: the simple commands of a shell text, the path of a file tool, the host of a fetch."""

from posixpath import join
from typing import Any, Final
from urllib.parse import urlsplit

from app.core.decisions import Asked
from app.core.policy.match import READ_TOOLS, WRITE_TOOLS, Seen
from app.core.policy.options import VALUES, Line
from app.core.policy.verbs import NOTHING, said_of
from app.core.shell import Command, Touch, canonical
from app.core.shell.form import SHOWN
from app.core.shell.places import classify
from app.core.shell.stored import Scripts

SHELL_TOOLS: Final = frozenset(
    ("Bash", "bash", "shell", "run_shell_command", "run_in_terminal", "execute_command", "local_shell", "exec_command")
)
_ONE_TEXT: Final = frozenset(("Bash", "bash", "run_shell_command", "run_in_terminal"))
"""Of these a list is no command: what their agent would make of one is not known."""
_PATH_KEYS: Final = ("file_path", "notebook_path", "path", "filePath", "file", "filename", "absolute_path")
PATH_MAX: Final = 4096
PATHS_MAX: Final = 1000
"""Of one call; each is looked at, and a call that names more is a doubt."""
_NO_LINE: Final = Line("", ())


def seen_of(call: Asked, scripts: Scripts | None = None) -> tuple[list[Seen], tuple[str, ...]]:
    """Return what rules are asked about, and the doubts that forbid an approval."""
    project = _project(call)
    if call.tool in SHELL_TOOLS:
        return _shell(call, project, scripts)
    access = "write" if call.tool in WRITE_TOOLS else "read" if call.tool in READ_TOOLS else ""
    paths, doubt = _paths(call.input, access)
    touches = tuple([Touch(access, path, classify(path, call.cwd, project)) for path in paths])
    host, odd = _host(call.input)
    seen = Seen(
        call.tool,
        Command("", (call.tool,), touches=touches),
        _NO_LINE,
        "",
        call.cwd,
        project,
        call.agent,
        call.session,
        host,
    )
    return [seen], tuple([d for d in (doubt, odd) if d])


def _project(call: Asked) -> str:
    given = call.context.get("project")
    return given if isinstance(given, str) and given.startswith("/") else call.cwd


def _shell(call: Asked, project: str, scripts: Scripts | None) -> tuple[list[Seen], tuple[str, ...]]:
    text = call.input.get("command")
    if isinstance(text, list) and text and call.tool not in _ONE_TEXT and all(isinstance(word, str) for word in text):
        text = " ".join("'" + word.replace("'", "'\\''") + "'" for word in text)
    if not isinstance(text, str):
        return [], ("no-command",)
    form = canonical(text, call.cwd, project, scripts)
    return [_seen(call, command, project) for command in form.commands], form.doubts


def _seen(call: Asked, command: Command, project: str) -> Seen:
    words = command.words
    said = said_of(command.program, words, VALUES.get(command.program, NOTHING)) if len(words) > 1 else NOTHING
    if said:
        command = command._replace(facts=command.facts | said)
    text = " ".join((command.program, *words[1:]))
    if not text.isascii():
        text = text.translate(SHOWN).encode(errors="replace").decode()
    return Seen("Bash", command, Line(command.program, words), text, call.cwd, project, call.agent, call.session)


def _paths(given: dict[str, Any], access: str) -> tuple[list[str], str]:
    if not access:
        return [], ""
    found = _named(given)
    searched = next((path for path in found if isinstance(path, str)), "")
    pattern = given.get("pattern") or given.get("glob")
    if access == "read" and isinstance(pattern, str) and "/" in pattern and len(pattern) < PATH_MAX:
        found.append(_below(searched, pattern))
    named = given.get("glob")
    if access == "read" and isinstance(named, str) and len(named) < PATH_MAX:
        found.append(_below(searched, named))
    if any(not isinstance(path, str) or len(path) > PATH_MAX or "\0" in path for path in found):
        return [], "path"
    if not found and access == "write":
        return [], "no-path"
    paths = [*dict.fromkeys([path for path in found if path])]
    return (paths or ["."], "") if len(paths) <= PATHS_MAX else ([], "path")


def _named(given: dict[str, Any]) -> list[Any]:
    """Return what is named as a path, also by one of several edits: `edits: [{"file_path": ...}]`."""
    found: list[Any] = []
    left: list[Any] = [given]
    while left:
        inner = left.pop()
        if isinstance(inner, dict):
            found += [inner[key] for key in _PATH_KEYS if key in inner]
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
    return found


def _below(folder: str, glob: str) -> str:
    return glob if glob.startswith(("/", "~")) else join(folder, glob)


def _host(given: dict[str, Any]) -> tuple[str, str]:
    url = given.get("url")
    if url is None:
        return "", ""
    if not isinstance(url, str):
        return "", "url"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
    except ValueError:
        return "", "url"
    odd = parts.scheme.lower() not in {"http", "https"} or (host[:1].isdigit() and host.count(".") != 3)
    return host, "url" if odd and (parts.scheme or host) else ""
