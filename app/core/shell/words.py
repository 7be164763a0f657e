"""Words: quotes, variables, substitutions, braces and splitting, to the list of arguments that a program would get."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from tree_sitter import Node

from app.core.shell.arithmetic import doubt_evaluated, doubt_output, doubt_subscript
from app.core.shell.escapes import ALTERNATIVES_MAX, ansi_c, braces, unescape, unescape_quoted
from app.core.shell.expansion import expand
from app.core.shell.form import NUMBER, UNKNOWN, unknown
from app.core.shell.hidden import body_hides, expansion_hides
from app.core.shell.reading import Frame, Reading

_ALL: Final = re.compile(r'"(?:\$@|\$\{@\}|\$\{(\w+)\[@\]\})"')
_SPACE: Final = re.compile(r"[ \t\n]+")


class Piece(NamedTuple):
    """A part of a word; `splits`: an unquoted expansion, which the shell would split at IFS."""

    text: str
    splits: bool = False


def words_of(reading: Reading, node: Node, frame: Frame) -> list[str]:
    """Return the words that a word node becomes: none, one or several."""
    kind = node.type
    if kind in {"word", "number"}:
        raw = frame.text(node)
        if "{" in raw and _braced(raw):
            return _alternatives(reading, raw, frame)
        return [unescape(raw) if "\\" in raw else raw]
    if kind in {"concatenation", "brace_expression"}:
        raw = frame.text(node)
        if "{" in raw and _braced(raw):
            return _alternatives(reading, raw, frame)
    if kind == "string" and (several := _several(frame.text(node), frame)) is not None:
        return several
    return _split(pieces_of(reading, node, frame), frame.scope.value("IFS"))


def _several(raw: str, frame: Frame) -> list[str] | None:
    """Return the words of `"$@"` or `"${name[@]}"` where they are known."""
    found = _ALL.fullmatch(raw)
    if found is None:
        return None
    if found[1]:
        return list(frame.scope.arrays[found[1]]) if found[1] in frame.scope.arrays else None
    return None if frame.scope.positional is None else list(frame.scope.positional)


def value_of(reading: Reading, node: Node, frame: Frame) -> str:
    """Return a word's text where no splitting happens (assignments, redirections, heredocs)."""
    return "".join([piece.text for piece in pieces_of(reading, node, frame)])


def pieces_of(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    """Return the parts of a word node."""
    step = _PIECES.get(node.type)
    if step is not None:
        return step(reading, node, frame)
    run_inside(reading, node, frame)
    return [Piece(UNKNOWN if node.is_named else frame.text(node))]


def _bare(_reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    return [Piece(unescape(frame.text(node)))]


def _raw(_reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    text = frame.text(node)
    return [Piece(ansi_c(text[2:-1]) if node.type == "ansi_c_string" else text[1:-1])]


def _quoted(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    return [Piece(quoted(reading, node, frame))]


def _substituted(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    if node.type == "process_substitution":
        return [Piece(process(reading, node, frame))]
    return [Piece(substitute(reading, node, frame), splits=True)]


def _joined(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    return [piece for child in node.children for piece in pieces_of(reading, child, frame)]


def quoted(reading: Reading, node: Node, frame: Frame) -> str:
    """Return the text of a double-quoted string or a heredoc body; bytes between children count as text."""
    start, end = node.start_byte, node.end_byte
    if node.type in {"string", "translated_string"}:
        start = frame.source.index(b'"', start) + 1
        # what is never closed ends with a character of its own
        end = end - 1 if frame.source.startswith(b'"', end - 1) else end
    parts: list[str] = []
    for child in node.named_children:
        if child.type in {"string_content", "heredoc_content"} or child.start_byte < start:
            continue
        parts.append(_between(reading, frame.source[start : child.start_byte].decode()))
        parts += [piece.text for piece in pieces_of(reading, child, frame)]
        start = child.end_byte
    # a quote that the grammar closes where it opens; compiled, a slice must not end before it begins
    parts.append(_between(reading, frame.source[start : max(start, end)].decode()))
    return "".join(parts)


def _between(reading: Reading, raw: str) -> str:
    if body_hides(raw):
        reading.doubt("substitution")
    return unescape_quoted(raw)


def substitute(reading: Reading, node: Node, frame: Frame) -> str:
    """Run a command substitution in a subshell and return its output without the last newlines."""
    inner = frame._replace(scope=frame.scope.copy(), extra=(), depth=frame.depth + 1)
    if frame.text(node).startswith("`"):
        code = re.sub(r"\\([`$\\])", r"\1", frame.text(node)[1:-1])
        return reading.run_text(reading, code, inner).rstrip("\n")
    only = [child for child in node.named_children if child.type != "comment"]
    if len(only) == 1 and only[0].type == "file_redirect":
        return _slurp(reading, only[0], inner)
    return "".join([reading.run_node(reading, child, inner) for child in only]).rstrip("\n")


def _slurp(reading: Reading, node: Node, frame: Frame) -> str:
    """`$(<file)` is `$(cat file)`."""
    target = node.child_by_field_name("destination")
    path = value_of(reading, target, frame) if target is not None else UNKNOWN
    return reading.run_words(reading, ["cat", path], frame, frame.span(node)).rstrip("\n")


def process(reading: Reading, node: Node, frame: Frame) -> str:
    """Run a process substitution; what it gives is known under the name that stands for it."""
    reading.substituted += 1
    name = f"/dev/fd/{60 + reading.substituted}"
    writes = frame.text(node).startswith(">")
    inner = frame._replace(
        scope=frame.scope.copy(), extra=(), depth=frame.depth + 1, stdin=(frame.stdin or UNKNOWN) if writes else None
    )
    output = "".join([reading.run_node(reading, child, inner) for child in node.named_children])
    if not writes:
        frame.scope.put(name, output)
    return name


def run_inside(
    reading: Reading, node: Node, frame: Frame, evaluates: Callable[[Node, Frame], bool] | None = None
) -> None:
    """Run every substitution below a node whose own value does not matter; parts that are arithmetic are such."""
    if evaluates is not None and evaluates(node, frame):
        evaluate(reading, node, frame)
        return
    for child in node.named_children:
        if child.type in {"command_substitution", "process_substitution", "expansion"}:
            pieces_of(reading, child, frame)
        else:
            run_inside(reading, child, frame, evaluates)


def evaluate(reading: Reading, node: Node, frame: Frame) -> None:
    """Run what stands inside arithmetic, and doubt what that would evaluate."""
    doubt_evaluated(reading, frame.text(node), frame.scope)
    _operands(reading, node, frame)


def _operands(reading: Reading, node: Node, frame: Frame) -> None:
    for child in node.named_children:
        if child.type == "command_substitution":
            doubt_output(reading, substitute(reading, child, frame))
        elif child.named_children and child.type not in {"expansion", "simple_expansion", "string"}:
            _operands(reading, child, frame)
        else:
            pieces_of(reading, child, frame)


def _arithmetic(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    evaluate(reading, node, frame)
    return [Piece(NUMBER)]


def text_words(reading: Reading, text: str, frame: Frame) -> list[str]:
    """Return the words of a piece of shell source."""
    if reading.spent():
        return _unread(reading, text)
    parsed = reading.parsed("x " + text)
    if parsed.root is None or parsed.doubt or not parsed.root.named_children:
        return _unread(reading, text)
    command = parsed.root.named_children[0]
    if command.type != "command" or len(parsed.root.named_children) > 1:
        return _unread(reading, text)
    inner = frame._replace(source=parsed.source, base=frame.base or (0, 0), depth=frame.depth + 1)
    return [word for child in command.named_children[1:] for word in words_of(reading, child, inner)]


def _unread(reading: Reading, text: str) -> list[str]:
    if body_hides(text):
        reading.doubt("expansion")
    return [UNKNOWN]


def _expansion(reading: Reading, node: Node, frame: Frame) -> list[Piece]:
    raw = frame.text(node)
    run_later = raw[1:] if node.type == "simple_expansion" else raw[2:-1]

    if expansion_hides(run_later):
        reading.doubt("expansion")
    doubt_subscript(reading, run_later, frame.scope)

    def resolve(text: str) -> str:
        return " ".join(text_words(reading, text, frame)) if text else ""

    value, doubt = expand(run_later, frame.scope, resolve)
    if doubt:
        reading.doubt(doubt)
    reading.weigh_value(value)
    return [Piece(value, splits=True)]


def _braced(raw: str) -> bool:
    return ("," in raw or ".." in raw) and len(braces(raw)) > 1


def _alternatives(reading: Reading, raw: str, frame: Frame) -> list[str]:
    parts = braces(raw)
    if len(parts) > ALTERNATIVES_MAX:
        return [UNKNOWN]
    return [word for part in parts for word in text_words(reading, part or "''", frame)]


def _split(pieces: list[Piece], separators: str) -> list[str]:
    if not any(piece.splits for piece in pieces):
        return ["".join([piece.text for piece in pieces])]
    pattern = (
        _SPACE
        if separators == " \t\n"
        else re.compile("[" + re.escape(separators) + "]+")
        if separators.isascii() and separators
        else None
    )
    words: list[str] = []
    current: str | None = None
    for piece in pieces:
        if not piece.splits or pattern is None:
            text = unknown(piece.text) if piece.splits and separators else piece.text  # where it is cut is not known
            current = (current or "") + text
            continue
        fields = pattern.split(piece.text)
        for index, field in enumerate(fields):
            if index and current is not None:
                words.append(current)
                current = None
            if field:
                current = (current or "") + field
    return words if current is None else [*words, current]


_PIECES: Final[dict[str, Callable[[Reading, Node, Frame], list[Piece]]]] = {
    **dict.fromkeys(("word", "number", "extglob_pattern", "variable_name", "regex", "test_operator"), _bare),
    "special_variable_name": _bare,
    "raw_string": _raw,
    "ansi_c_string": _raw,
    "string": _quoted,
    "translated_string": _quoted,
    "simple_expansion": _expansion,
    "expansion": _expansion,
    "command_substitution": _substituted,
    "process_substitution": _substituted,
    **dict.fromkeys(("concatenation", "command_name", "array"), _joined),
    "brace_expression": _bare,
    "arithmetic_expansion": _arithmetic,
    "$": lambda _reading, _node, _frame: [],
}
