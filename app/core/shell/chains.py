"""Lists, pipelines and what is redirected of them, in the order and with the input that a shell gives them.

The grammar hangs a redirection, and a pipe behind it, on all that stands before: of `cd x && y 2>&1 | z` it makes a
pipeline with `cd x && y` as its first stage. A shell gives both to the last command alone, and what stands before that
runs in the shell itself: else a folder or a variable that it sets would be forgotten behind the pipe.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tree_sitter import Node

from app.core.shell.form import NUMBER, Command
from app.core.shell.hidden import prints_archive
from app.core.shell.reading import Frame, Reading
from app.core.shell.redirect import run_redirected
from app.core.shell.scope import Scope

_LEAVING: Final = ("return", "break", "continue")
_LEAVES: Final = tuple([word.encode() for word in _LEAVING])
_LAST_STAYS: Final = frozenset(("zsh", "ksh", "mksh", "oksh"))
"""Shells that run the last stage of a pipe themselves."""
Last = Callable[[Node], str]
Stage = tuple[Node, Sequence[Node]]
"""A statement of a pipeline, and redirections that the grammar has put elsewhere."""


def run_list(reading: Reading, node: Node, frame: Frame) -> str:
    """Read `a && b`, `a || b`."""
    return _list(reading, node, frame, lambda last: reading.run_node(reading, last, frame), joined=True)


def _list(
    reading: Reading, node: Node, frame: Frame, last: Last, flowing: str | None = None, *, joined: bool,
    links: list[Scope] | None = None,
) -> str:
    """`links` are the scopes at which the chain may have ended before this link."""
    ends: list[Scope] = [] if links is None else links
    left, operator, right = _sides(node)
    if left.type == "list" and operator == "&&":
        plain: Last = lambda other: reading.run_node(reading, other, frame)  # noqa: E731
        first = _list(reading, left, frame, plain, flowing, joined=False, links=ends)
    elif flowing is not None:
        first = run_behind(reading, left, frame, flowing)
    else:
        first = reading.run_node(reading, left, frame)
    before = frame.scope.copy()
    second = last(right)
    if operator == "||":
        join(reading, frame.scope, before)
    else:
        ends.append(before)
    for end in reversed(ends) if joined else ():
        # of two folders of the project it is taken to be the one that the whole chain leads to
        if end is not before and end.stands_in_project() and frame.scope.stands_in_project():
            end.cwd = frame.scope.cwd
        join(reading, frame.scope, end)
    return first + second


def _sides(node: Node) -> tuple[Node, str, Node]:
    named = statements(node)
    operator = next((child.type for child in node.children if child.type in {"&&", "||"}), "&&")
    return named[0], operator, named[-1]


def statements(node: Node) -> list[Node]:
    """Return what a node consists of; a comment is no stage of a pipeline, and prints nothing into the next one."""
    return [child for child in node.named_children if child.type != "comment"]


def run_pipeline(reading: Reading, node: Node, frame: Frame) -> str:
    """Read `a | b`, each stage in a shell of its own."""
    return _chained(reading, _stages(node), frame)


def run_redirected_statement(reading: Reading, node: Node, frame: Frame) -> str:
    """Read a statement with its redirections, which are those of its last command."""
    body, redirects = _parts(node)
    if body is None:
        return run_redirected(reading, redirects, None, frame)
    return _chained(reading, _with(body, redirects), frame)


def run_behind(reading: Reading, node: Node, frame: Frame, flowing: str) -> str:
    """Read what stands behind a heredoc's pipe: `cat <<E | b && c` gives the text to `b` alone."""
    if node.type == "list":
        return _list(reading, node, frame, lambda last: reading.run_node(reading, last, frame), flowing, joined=True)
    stages = _stages(node) if node.type == "pipeline" else _first(node)
    return _piped(reading, stages, frame._replace(stdin=flowing))


def _stages(node: Node) -> list[Stage]:
    """Take apart what the grammar nests: `a | b 2>&1 | c` is a pipeline in a redirection in a pipeline."""
    first, *others = statements(node)
    return [*_first(first), *[(one, ()) for one in others]]


def _first(node: Node) -> list[Stage]:
    body, redirects = _parts(node) if node.type == "redirected_statement" else (None, ())
    if body is None or body.type not in {"list", "pipeline"}:
        return [(node, ())]
    return _with(body, redirects)


def _with(node: Node, redirects: Sequence[Node]) -> list[Stage]:
    if node.type != "pipeline":
        return [(node, redirects)]
    *others, (last, before) = _stages(node)
    return [*others, (last, (*before, *redirects))]


def _parts(node: Node) -> tuple[Node | None, list[Node]]:
    return node.child_by_field_name("body"), [c for c in node.named_children if c.type.endswith("_redirect")]


def _chained(reading: Reading, stages: list[Stage], frame: Frame) -> str:
    (first, redirects), *others = stages
    if first.type == "list" and redirects:
        then: Last = lambda last: _chained(reading, [*_with(last, redirects), *others], frame)  # noqa: E731
        return _list(reading, first, frame, then, joined=True)
    if not others:
        return _stage(reading, first, redirects, frame)
    return _piped(reading, stages, frame)


def _stage(reading: Reading, node: Node, redirects: Sequence[Node], frame: Frame) -> str:
    return run_redirected(reading, redirects, node, frame) if redirects else reading.run_node(reading, node, frame)


def _piped(reading: Reading, stages: list[Stage], frame: Frame) -> str:
    flowing, output = frame.stdin, ""
    for index, (node, redirects) in enumerate(stages, 1):
        stays = index == len(stages) and not _LAST_STAYS.isdisjoint(frame.wrappers)
        scope = frame.scope if stays else frame.scope.copy()
        inner = frame._replace(scope=scope, stdin=flowing, piped=True, extra=())
        flowing = output = _stage(reading, node, redirects, inner)
    if prints_archive([frame.source[node.start_byte : node.start_byte + 64] for node, _ in stages]):
        reading.doubt("prints-an-archive")
    return output


def run_sequence(reading: Reading, node: Node, frame: Frame) -> str:
    """Read statements one after the other; what runs in the background changes nothing here."""
    outputs: list[str] = []
    left: list[Scope] = []
    children, scope = node.children, frame.scope
    for index, child in enumerate(children):
        if not child.is_named:
            continue
        background = index + 1 < len(children) and children[index + 1].type == "&"
        if background and frame.looped:
            reading.emit(Command("&", ("&",), frame.wrappers, frame.span(child), frozenset(("spawns-in-loop",))))
        here = frame._replace(piped=True, scope=scope.copy()) if background else frame._replace(scope=scope)
        outputs.append(reading.run_node(reading, child, here))
        if background:
            scope.variables["!"] = NUMBER
        leaves = "" if background else _leaving(child, frame)
        if leaves == "now" and scope is frame.scope:
            scope = scope.copy()  # nothing of what follows is run
        elif leaves:
            left.append(scope.copy())
    for other in left:
        join(reading, frame.scope, other)
    return "".join(outputs)


def _leaving(node: Node, frame: Frame) -> str:
    """Tell whether what follows a statement in its sequence is not run (`now`), or may not be (`perhaps`), while the
    shell goes on elsewhere.
    """
    text = frame.source[node.start_byte : node.end_byte].translate(None, b"'\"\\")
    if node.type == "function_definition" or not any(word in text for word in _LEAVES):
        return ""
    known = (b"return",) if frame.calls else (b"break", b"continue") if frame.looped else ()
    plain = node.type == "command" and text.split(None, 1)[0] in known
    sure = plain and frame.scope.functions.keys().isdisjoint(_LEAVING)
    return "now" if sure else "perhaps"


def join(reading: Reading, scope: Scope, other: Scope) -> None:
    """Let a scope be what holds after either of two ways."""
    if not scope.join(other):
        reading.doubt("conditional-function")


def run_if(reading: Reading, node: Node, frame: Frame) -> str:
    """Read conditions and branches in order; what a condition did was done, whatever it said. Whichever way was taken,
    what differs is unknown after.
    """
    outputs: list[str] = []
    ways: list[Scope] = []
    ways.append(_branch(reading, node, frame, outputs))
    for clause in node.named_children:
        if clause.type in {"elif_clause", "else_clause"}:
            other = ways[-1].copy()
            ways[-1:] = [other, _branch(reading, clause, frame._replace(scope=other), outputs)]
    for way in ways:
        join(reading, frame.scope, way)
    return "".join(outputs)


def _branch(reading: Reading, node: Node, frame: Frame, outputs: list[str]) -> Scope:
    """Read a condition and what is run where it holds; return the scope between the two."""
    between = frame.scope.copy()
    for child in node.children:
        if child.type == "then":
            between = frame.scope.copy()
        elif child.is_named and child.type not in {"elif_clause", "else_clause"}:
            outputs.append(reading.run_node(reading, child, frame))
    return between
