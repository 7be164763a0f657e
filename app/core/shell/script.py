"""Statements: walk a parsed text in the order in which it would run and return what it would print.

Branches are all read; what they leave different is unknown afterwards. Loops are read twice, so that a later round sees
what an earlier one set. Everything is bounded by the reading's budget.
"""

import re
from typing import Final

from tree_sitter import Node

from app.core.shell.arithmetic import compares, doubt_evaluated, doubt_output
from app.core.shell.builtins import BUILTINS, is_local, keep_local, run_traps
from app.core.shell.chains import join, run_if, run_list, run_pipeline, run_redirected_statement, run_sequence
from app.core.shell.environment import note_environment, note_given
from app.core.shell.form import UNKNOWN, Form, marks_of, unknown
from app.core.shell.hidden import doubt_command, joins_lines, prints_secret, text_hides, value_hides
from app.core.shell.launch import run_words
from app.core.shell.lone import lone_command
from app.core.shell.reading import DEPTH_MAX, NODE_DEPTH_MAX, VALUE_MAX, Frame, Reading
from app.core.shell.redirect import apply_redirects, run_redirected
from app.core.shell.scope import LOADS, Function, Scope
from app.core.shell.stored import Scripts
from app.core.shell.syntax import BLANKS, WORDS_MAX, parse, plain_words
from app.core.shell.words import evaluate, run_inside, text_words, value_of, words_of

_LOOPS: Final = frozenset(("while_statement", "for_statement", "c_style_for_statement"))
_LINES: Final = frozenset(
    ("command", "declaration_command", "unset_command", "redirected_statement", "variable_assignments")
)
"""Statements that end with their line."""
_QUIET: Final = frozenset(
    ("comment", "heredoc_start", "heredoc_end", "heredoc_body", "variable_name", "word", "number")
)
_ROUNDS_MAX: Final = 12
_MANY: Final = re.compile(r"[*?\[]")
_BY_INDEX: Final = re.compile(r"\[[^\]]*\]\+?=")
_CALLED_BY_THE_SHELL: Final = frozenset(
    ("command_not_found_handle", "command_not_found_handler", "precmd", "preexec", "chpwd", "periodic", "zshexit")
)
"""Functions that a shell calls itself."""
_NOTED: Final = "loader-environment"
_ITSELF: Final = frozenset(("$PATH", "${PATH}"))
_OF_THE_SHELL: Final = frozenset(BUILTINS) | {"source", ".", "command", "builtin"}


def canonical(text: str, cwd: str = "", project: str = "", scripts: Scripts | None = None) -> Form:
    """Return the canonical form of a shell text that would run in `cwd` of the project at `project`; what it runs of
    `scripts` is read too.
    """
    words = plain_words(text.strip(BLANKS)) if len(text) < 4096 else None
    alone = lone_command(text, words, cwd, project or cwd, follows=scripts is not None)
    if alone is not None:
        return Form((alone,))
    reading = Reading(run_node, run_text, run_words, scripts)
    scope = Scope(cwd, project or cwd)
    if words is not None:
        run_words(reading, words, Frame(scope, b""), (0, len(text)))
        return _read(reading, scope)
    parsed = parse(text)
    if parsed.doubt:
        reading.doubt(parsed.doubt)
    if text_hides(parsed.source.decode() if parsed.bodies else text[: len(parsed.source)]):
        reading.doubt("evaluates-a-subscript")
    if parsed.root is not None:
        run_node(reading, parsed.root, Frame(scope, parsed.source, parsed.bodies))
    run_traps(reading)
    return _read(reading, scope)


def _read(reading: Reading, scope: Scope) -> Form:
    if scope.steered - LOADS:
        reading.doubt("folder-search-path")
    elif scope.steered - {one.words[1].partition("=")[0] for one in reading.commands if _NOTED in one.facts}:
        reading.doubt("loader-is-set")
    return Form(tuple(reading.commands), tuple(reading.doubts))


def run_text(reading: Reading, text: str, frame: Frame) -> str:
    """Read an inner text (sh -c, eval, decoded pipe) at the place of the command that runs it."""
    if frame.depth > DEPTH_MAX or reading.spent():
        reading.doubt("too-deep")
        return UNKNOWN
    reading.weigh_value(text)
    words = plain_words(text.strip(BLANKS)) if len(text) < 4096 else None
    inner = frame._replace(base=frame.base or (0, 0), depth=frame.depth + 1, extra=())
    if words is not None:
        return run_words(reading, words, inner, inner.base or (0, 0))
    parsed = reading.parsed(text)
    if text_hides(text):
        reading.doubt("evaluates-a-subscript")
    if parsed.doubt:
        reading.doubt(parsed.doubt)
    return (
        UNKNOWN
        if parsed.root is None
        else run_node(reading, parsed.root, inner._replace(source=parsed.source, bodies=()))
    )


def run_node(reading: Reading, node: Node, frame: Frame) -> str:
    """Read one statement and return its standard output as far as it is known."""
    if reading.spent():
        return UNKNOWN
    reading.depth += 1
    if reading.depth > NODE_DEPTH_MAX:
        reading.doubt("too-deep")
        reading.depth -= 1
        return UNKNOWN
    kind = node.type
    if kind in _LINES and b"\n" in frame.source[node.start_byte : node.end_byte] and joins_lines(frame.source, node):
        reading.doubt("syntax")
    step = _STEPS.get(kind)
    output = step(reading, node, frame) if step is not None else _other(reading, node, frame)
    reading.depth -= 1
    return output if len(output) <= VALUE_MAX else unknown(output)


def _subshell(reading: Reading, node: Node, frame: Frame) -> str:
    return run_sequence(reading, node, frame._replace(scope=frame.scope.copy()))


def _command(reading: Reading, node: Node, frame: Frame) -> str:
    words: list[str] = []
    assigned: list[Node] = []
    redirects: list[Node] = []
    if node.child_count > WORDS_MAX:
        reading.doubt("too-many-words")
        return UNKNOWN
    for child in node.children:
        kind = child.type
        if kind == "command_name":
            words += words_of(reading, child.children[0] if len(child.children) == 1 else child, frame)
        elif kind == "variable_assignment":
            assigned.append(child)
        elif kind.endswith("_redirect"):
            redirects.append(child)
        elif kind != "$":
            words += words_of(reading, child, frame)
    for child in frame.extra:
        words += words_of(reading, child, frame)
    doubt_command(reading, node, words, frame)
    here = frame._replace(extra=()) if frame.extra else frame
    return apply_redirects(
        reading, redirects, here, lambda inner: _assigned_words(reading, assigned, words, inner, node)
    )


def _assigned_words(reading: Reading, assigned: list[Node], words: list[str], frame: Frame, node: Node) -> str:
    if not assigned:
        return run_words(reading, words, frame, frame.span(node)) if words else ""
    if not words:
        for child in assigned:
            _assignment(reading, child, frame)
        return ""
    if words[0] in _OF_THE_SHELL or words[0] in frame.scope.functions:
        return _lent(reading, assigned, words, frame, node)
    inner = frame._replace(scope=frame.scope.copy())
    names = [_assignment(reading, child, inner) for child in assigned]
    given = [f"{name}={inner.scope.value(name)}" for name in names if name != "PATH" or name in inner.scope.variables]
    return run_words(reading, ["env", *given, *words], inner, frame.span(node))


def _lent(reading: Reading, assigned: list[Node], words: list[str], frame: Frame, node: Node) -> str:
    """`A=1 cd x`: the shell itself runs it, and has its variable back afterwards."""
    variables, arrays = dict(frame.scope.variables), dict(frame.scope.arrays)
    names = [_assignment(reading, child, frame) for child in assigned]
    for name in [name for name in names if name != "PATH" or name in frame.scope.variables]:
        note_given(reading, frame.span(node), frame, name, frame.scope.value(name))
    output = run_words(reading, words, frame, frame.span(node))
    frame.scope.give_back(names, variables, arrays)
    return output


def _assignment(reading: Reading, node: Node, frame: Frame, before: Frame | None = None) -> str:
    """Set a variable from what its value is in `before`: the words of `declare A=1 B=$A` are expanded first."""
    name_node, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    name = frame.text(name_node) if name_node is not None else ""
    append = any(child.type == "+=" for child in node.children)
    if "[" in name:
        run_inside(reading, node, frame)
        name, _, index = name.partition("[")
        if name not in frame.scope.maps:
            doubt_evaluated(reading, index, frame.scope)
        frame.scope.assign_array(name, [UNKNOWN])
        return name
    if value is not None and value.type == "array":
        _assign_array(reading, name, value, before or frame, frame.scope, append=append)
        return name
    if value is not None and prints_secret(frame.text(value), frame.scope):
        reading.doubt("renames-a-secret")
    if name == "PATH" and frame.text(node)[5:].strip('"') in _ITSELF:
        return name
    text = value_of(reading, value, before or frame) if value is not None else ""
    frame.scope.assign(name, text, append=append)
    if name in frame.scope.counts:
        doubt_output(reading, text)
    if value_hides(frame.scope.value(name)):
        reading.doubt("evaluates-a-subscript")
    note_environment(reading, frame.span(node), frame, name, text)
    return name


def _assign_array(reading: Reading, name: str, value: Node, before: Frame, scope: Scope, *, append: bool) -> None:
    items = [word for child in value.named_children for word in words_of(reading, child, before)]
    if any(_BY_INDEX.match(item) is not None for item in items):
        reading.doubt("array-by-index")
    held = scope.arrays.get(name) or ([scope.value(name)] if scope.has(name) else [])
    scope.assign_array(name, [*held, *items] if append else items)


def _assignments(reading: Reading, node: Node, frame: Frame) -> str:
    for child in node.named_children:
        _assignment(reading, child, frame)
    return ""


def _single_assignment(reading: Reading, node: Node, frame: Frame) -> str:
    _assignment(reading, node, frame)
    return ""


def _declaration(reading: Reading, node: Node, frame: Frame) -> str:
    words = [node.children[0].type]
    before = frame._replace(scope=frame.scope.copy())
    for child in node.named_children:
        if child.type == "variable_assignment":
            name = child.child_by_field_name("name")
            if name is not None and is_local(words):
                keep_local(reading, words, frame.text(name), frame.scope)
            words.append(_assignment(reading, child, frame, before))
        elif child.type == "variable_name" and is_local(words) and frame.scope.locals:
            words.append(frame.text(child))
            frame.scope.keep_local(words[-1])
            frame.scope.assign(words[-1], "")
        else:
            words += words_of(reading, child, frame)
    for child in frame.extra:
        words += words_of(reading, child, frame)
    return run_words(reading, words, frame, frame.span(node))


def _test(reading: Reading, node: Node, frame: Frame) -> str:
    if value_hides(frame.text(node)):
        reading.doubt("evaluates-a-subscript")
    run_inside(reading, node, frame, compares)
    return ""


def _compound(reading: Reading, node: Node, frame: Frame) -> str:
    if frame.source.startswith(b"((", node.start_byte):
        evaluate(reading, node, frame)
        return ""
    return run_sequence(reading, node, frame)


def _while(reading: Reading, node: Node, frame: Frame) -> str:
    inner = frame._replace(looped=True)
    outputs: list[str] = []
    for number in range(5):
        before = frame.scope.copy()
        outputs = [run_node(reading, child, inner) for child in node.named_children]
        join(reading, frame.scope, before)
        if number and frame.scope.alike(before):
            break
    return unknown(*outputs)


def _for(reading: Reading, node: Node, frame: Frame) -> str:
    variable = node.child_by_field_name("variable")
    body = node.child_by_field_name("body")
    if variable is None or body is None:
        return _while(reading, node, frame)
    items = [w for c in node.named_children if c not in {variable, body} for w in words_of(reading, c, frame)]
    if not any(child.type == "in" for child in node.children):
        items = [UNKNOWN] if frame.scope.positional is None else list(frame.scope.positional)
    if len(items) < 3 and (not items or any(marks_of(item) or _MANY.search(item) for item in items)):
        items = [*(items or [UNKNOWN])] * 3  # any number of them
    if len(items) > _ROUNDS_MAX:
        items = [*items[:_ROUNDS_MAX], unknown(*items)]
    outputs = []
    before = frame.scope.copy()
    for item in items:
        frame.scope.assign(frame.text(variable), item)
        outputs.append(run_node(reading, body, frame))
    if len(items) > 1 and frame.scope.variables.keys() - before.variables.keys() - {frame.text(variable)}:
        outputs.append(run_node(reading, body, frame))
    join(reading, frame.scope, before)
    return "".join(outputs)


def _case(reading: Reading, node: Node, frame: Frame) -> str:
    start = frame.scope.copy()
    outputs = []
    if any(c.type in {";&", ";;&"} for item in node.named_children for c in item.children):
        reading.doubt("case-falls-through")
    for child in node.named_children:
        if child.type != "case_item":
            words_of(reading, child, frame)
            continue
        branch = start.copy()
        outputs += [
            run_node(reading, c, frame._replace(scope=branch)) for c in child.named_children if c.type not in _QUIET
        ]
        join(reading, frame.scope, branch)
    return "".join(outputs)


def _function(reading: Reading, node: Node, frame: Frame) -> str:
    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
    if name is None or body is None:
        reading.doubt("syntax")
        return ""
    redirects = tuple(node.children_by_field_name("redirect"))
    frame.scope.functions[frame.text(name)] = Function(body, frame.source, frame.bodies, redirects)
    if frame.text(name) in _CALLED_BY_THE_SHELL:
        run_words(reading, [frame.text(name), UNKNOWN], frame._replace(scope=frame.scope.copy()), frame.span(node))
    return ""


def _negated(reading: Reading, node: Node, frame: Frame) -> str:
    return "".join([run_node(reading, child, frame) for child in node.named_children])


def _unset(reading: Reading, node: Node, frame: Frame) -> str:
    words = [w for child in node.named_children for w in words_of(reading, child, frame)]
    return run_words(reading, ["unset", *words], frame, frame.span(node))


def _error(reading: Reading, node: Node, frame: Frame) -> str:
    reading.doubt("syntax")
    for child in node.named_children:
        if child.type in {"command_name", "word", "concatenation", "string", "raw_string"}:
            continue
        run_node(reading, child, frame)
    loose = [
        frame.text(child)
        for child in node.children
        if child.type in {"command_name", "word", "concatenation", "number"}
    ]
    if loose:
        run_words(reading, text_words(reading, " ".join(loose), frame) or loose, frame, frame.span(node))
    return UNKNOWN


def _other(reading: Reading, node: Node, frame: Frame) -> str:
    """A node of no known kind: read what is below it; it says nothing about its own effect."""
    if node.type in _QUIET:
        return ""
    if node.type in {"heredoc_redirect", "file_redirect", "herestring_redirect"}:
        return run_redirected(reading, [node], None, frame)
    if node.type in {
        "binary_expression",
        "unary_expression",
        "postfix_expression",
        "parenthesized_expression",
        "ternary_expression",
    }:
        evaluate(reading, node, frame)
        return ""
    if node.type not in {"do_group", "program", "compound_statement"}:
        words_of(reading, node, frame)
        return ""
    return run_sequence(reading, node, frame)


_STEPS: Final = {
    "program": run_sequence,
    "compound_statement": _compound,
    "do_group": run_sequence,
    "subshell": _subshell,
    "list": run_list,
    "pipeline": run_pipeline,
    "command": _command,
    "redirected_statement": run_redirected_statement,
    "declaration_command": _declaration,
    "unset_command": _unset,
    "test_command": _test,
    "if_statement": run_if,
    "while_statement": _while,
    "for_statement": _for,
    "c_style_for_statement": _while,
    "case_statement": _case,
    "function_definition": _function,
    "negated_command": _negated,
    "variable_assignment": _single_assignment,
    "variable_assignments": _assignments,
    "ERROR": _error,
}
