"""Redirections: what flows into a statement, where its output goes, and the files that this reads and writes."""

from collections.abc import Callable, Sequence

from tree_sitter import Node

from app.core.shell.form import FOREIGN, NETWORK, SECRET, UNKNOWN, Command, Touch, marks_of
from app.core.shell.hidden import prints_secret
from app.core.shell.places import FOLDER_STACK, classify
from app.core.shell.reading import Frame, Reading
from app.core.shell.syntax import PLACEHOLDER
from app.core.shell.words import process, quoted, value_of


class Sink:
    """Where a statement's output goes: files, sockets and process substitutions; and what follows a heredoc."""

    __slots__ = ("captured", "inner", "paths", "piped", "then")

    def __init__(self) -> None:
        self.paths: list[tuple[str, bool]] = []
        self.inner: list[Node] = []
        self.piped: list[Node] = []
        self.then: list[Node] = []
        self.captured = False


def run_redirected(reading: Reading, redirects: Sequence[Node], body: Node | None, frame: Frame) -> str:
    """Read a statement with its redirections; words after a redirection belong to the command."""
    extra = tuple(node for redirect in redirects if redirect.type == "file_redirect" for node in _extra(redirect))
    inside = tuple(
        n for r in redirects if r.type == "heredoc_redirect" for n in r.named_children if n.type in _ARGUMENTS
    )

    def run(inner: Frame) -> str:
        if body is None:  # `$(< file)`, and zsh prints what it is given anywhere
            return inner.stdin or "" if inner.stdin is not frame.stdin else ""
        return reading.run_node(reading, body, inner._replace(extra=(*inner.extra, *extra, *inside)))

    return apply_redirects(reading, redirects, frame, run)


_ARGUMENTS = frozenset(
    ("word", "string", "raw_string", "concatenation", "simple_expansion", "expansion", "number", "command_substitution")
)


def _extra(redirect: Node) -> list[Node]:
    named = [child for child in redirect.named_children if child.type != "file_descriptor"]
    return named[1:]


def apply_redirects(reading: Reading, redirects: Sequence[Node], frame: Frame, run: Callable[[Frame], str]) -> str:
    """Run a statement with its input set and its output sent where the redirections say; return what is left of it."""
    if not redirects:
        return run(frame)
    sink = Sink()
    inner = frame
    for redirect in redirects:
        inner = _incoming(reading, redirect, inner, sink)
    before = frame.scope.copy() if any(child.type == "<" for one in redirects for child in one.children) else None
    output = run(inner)
    if before is not None and not frame.scope.join(before):  # without the file nothing is run
        reading.doubt("conditional-function")
    for path, appends in sink.paths:
        _write(reading, path, output, frame, redirects[0], appends=appends)
    for node in sink.inner:
        process(reading, node, frame._replace(stdin=output))
    return _behind(reading, sink, frame, "" if sink.captured else output)


def _behind(reading: Reading, sink: Sink, frame: Frame, shown: str) -> str:
    """Read what the grammar hangs on a heredoc: a pipe takes what is shown, behind `&&` runs the shell."""
    from app.core.shell.chains import run_behind

    for node in sink.piped:
        shown = run_behind(reading, node, frame, shown)
    for node in sink.then:
        before = frame.scope.copy()
        shown += reading.run_node(reading, node, frame)
        if not frame.scope.join(before):
            reading.doubt("conditional-function")
    return shown


def _incoming(reading: Reading, redirect: Node, frame: Frame, sink: Sink) -> Frame:
    match redirect.type:
        case "herestring_redirect":
            target = redirect.named_children[-1]
            return frame._replace(stdin=value_of(reading, target, frame) + "\n")
        case "heredoc_redirect":
            return _heredoc(reading, redirect, frame, sink)
        case _:
            return _file(reading, redirect, frame, sink)


def _heredoc(reading: Reading, redirect: Node, frame: Frame, sink: Sink) -> Frame:
    literal, text = False, ""
    for child in redirect.named_children:
        if child.type == "heredoc_start":
            literal = any(mark in frame.text(child) for mark in "'\"\\")
        elif child.type == "heredoc_body":
            text = _body(reading, child, frame, literal=literal)
        elif child.type in {"file_redirect", "herestring_redirect"}:
            frame = _incoming(reading, child, frame, sink)
        elif child.type not in {"heredoc_end", "file_descriptor"} and child.type not in _ARGUMENTS:
            _follow(reading, child, sink, redirect.child_by_field_name("right"))
    return frame._replace(stdin=text)


def _follow(reading: Reading, node: Node, sink: Sink, right: Node | None) -> None:
    if node == right:
        sink.then.append(node)
        return
    parts = node.named_children if node.type == "pipeline" else [node]
    if any(part.type == "comment" for part in parts):
        reading.doubt("syntax")  # what stands behind the body belongs to the pipe, and the grammar does not say so
    sink.piped += parts


def _body(reading: Reading, node: Node, frame: Frame, *, literal: bool) -> str:
    raw = frame.text(node)
    if raw.startswith(PLACEHOLDER) and frame.bodies:
        return frame.bodies[int(raw[len(PLACEHOLDER) :].split()[0])]
    if not literal and prints_secret(raw, frame.scope):
        reading.doubt("prints-a-secret")
    return raw if literal else quoted(reading, node, frame)


def _file(reading: Reading, redirect: Node, frame: Frame, sink: Sink) -> Frame:
    operator = next((child.type for child in redirect.children if not child.is_named), ">")
    descriptor = next((frame.text(child) for child in redirect.children if child.type == "file_descriptor"), "")
    target = redirect.child_by_field_name("destination")
    if target is None:
        return frame
    if target.type == "process_substitution" and operator.startswith(">"):
        sink.inner.append(target)
        sink.captured = True
        return frame
    path = value_of(reading, target, frame)
    if FOLDER_STACK.match(path) is not None:
        reading.doubt("folder-stack")
    if operator.endswith("&") and path.strip("-").isdigit():
        path = _duplicated(path, descriptor, frame)
        # what goes to an open descriptor comes behind what went there before
        operator = ">>" if operator == ">&" and path != "-" else operator
    elif descriptor.isdigit() and int(descriptor) > 2:
        frame.scope.variables[f"fd {descriptor}"] = path
    return _opened(reading, redirect, path, operator, descriptor, frame, sink)


def _opened(
    reading: Reading, redirect: Node, path: str, operator: str, descriptor: str, frame: Frame, sink: Sink
) -> Frame:
    if operator in {">&", "<&", "&>", "<&-", ">&-"} and (path.isdigit() or path in {"-", ""}):
        return frame
    if operator == "<":
        return _read(reading, path, frame, redirect, descriptor)
    if operator == "<>" or operator.startswith("<"):
        frame = _read(reading, path, frame, redirect, descriptor)
    if descriptor != "2":
        sink.captured = True
        sink.paths.append((path, operator in {">>", "&>>"}))
    else:
        _write(reading, path, UNKNOWN, frame, redirect, appends=operator == ">>")
    return frame


def _duplicated(path: str, descriptor: str, frame: Frame) -> str:
    """`>&3` is the file that descriptor 3 was opened on; the three standard ones stay themselves."""
    number = path.strip("-")
    opened = frame.scope.variables.get(f"fd {number}", "-" if int(number) < 3 else UNKNOWN)
    if descriptor.isdigit() and int(descriptor) > 2 and opened != "-":
        frame.scope.variables[f"fd {descriptor}"] = opened
        return "-"
    return opened


def _read(reading: Reading, path: str, frame: Frame, node: Node, descriptor: str) -> Frame:
    where = classify(frame.scope.pointed(path), frame.scope.cwd, frame.scope.project)
    content = frame.scope.content(path)
    if content is None:
        content = "" if path == "/dev/null" else UNKNOWN if where[0] in {"project", "null"} else UNKNOWN + FOREIGN
        if "null" not in where:
            reading.emit(_touching("<", "read", path, where, frame, node))
        if "secret" in where:
            content += SECRET
        if "remote" in where:
            content += NETWORK
    return frame if descriptor not in {"", "0"} else frame._replace(stdin=content)


def _write(reading: Reading, path: str, output: str, frame: Frame, node: Node, *, appends: bool) -> None:
    where = classify(frame.scope.pointed(path), frame.scope.cwd, frame.scope.project)
    if "null" in where:
        return
    frame.scope.put(path, output, appends=appends)
    facts = ("sends-secret",) if SECRET in output and "remote" in where else ()
    reading.emit(_touching(">", "write", path, where, frame, node)._replace(facts=frozenset(facts)))


def _touching(program: str, access: str, path: str, where: tuple[str, ...], frame: Frame, node: Node) -> Command:
    return Command(
        program,
        (program, path),
        frame.wrappers,
        frame.span(node),
        frozenset(),
        (Touch(access, path, where),),
        bool(marks_of(path)),
    )
