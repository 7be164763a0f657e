"""Bounds and parsing: text to a tree-sitter tree, or the reason why not.

Bounds come first: 64 KiB of `a;` would cost 70 ms of parsing. Quoted heredoc bodies are data of any length; they are
cut out before parsing, and only where the parsed tree then shows exactly as many cut bodies does the cut stand.
"""

import re
from typing import Final, NamedTuple

from tree_sitter import Node

from app.core.shell.form import MARKS
from app.core.shell.grammar import tree_of

TEXT_MAX: Final = 8 * 1024
WHOLE_MAX: Final = 1024 * 1024
NODES_MAX: Final = 2000
WORDS_MAX: Final = 800
"""Words of one command: each costs up to 15 us."""
_BARE_WORD: Final = r"[A-Za-z0-9_./:=@%+,~^*?-]+"
PLAIN: Final = re.compile(rf"[A-Za-z0-9_./:@%+,-]+(?: +{_BARE_WORD})*\Z")
_WHOLE_WORD: Final = r"'[A-Za-z0-9_./:=@%+,() *?;|&<>#{}~^-]+'"
_QUOTED_WORD: Final = re.compile(f"{_BARE_WORD}|{_WHOLE_WORD}|" + _WHOLE_WORD.replace("'", '"'))
_QUOTED: Final = re.compile(rf"[A-Za-z0-9_./:@%+,-]+(?: +(?:{_QUOTED_WORD.pattern}))*+\Z")
_DECLARES: Final = frozenset(("declare", "export", "local", "readonly", "typeset", "unset", "unsetenv"))
RESERVED: Final = frozenset(
    [
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "select",
        "function",
        "time",
        "coproc",
        "in",
    ]
)
SHORT_MAX: Final = 512
_QUOTED_HEREDOC: Final = re.compile(r"<<-?[ \t]*(?:'([^'\n]{1,64})'|\"([^\"\n$`\\]{1,64})\"|\\(\w{1,64}))")
_LINE_WITH_BACKSLASH: Final = re.compile(r"(?<!\\)(?:\\\\)*\n[ \t]*\\")
_BRACES: Final = re.compile(r"(?:^|(?<=[;|&(\n ]))\{([^\s]{0,400},[^\s]{0,400})\}(?=$|[\s;|&)])")
_COMMA: Final = re.compile(r",(?![^{]*\})")
BLANKS: Final = " \t\n"
"""What parts words in a shell; Python takes more for blanks: CR, FF, VT, and what Unicode has."""
_CONTROL_BYTES: Final = re.compile(rb"[\x01-\x08\x0b-\x1f\x7f]")
_DATA: Final = frozenset(
    ("raw_string", "ansi_c_string", "string", "string_content", "heredoc_body", "heredoc_content", "comment")
)
"""What is only carried on where nothing is below it."""
PLACEHOLDER: Final = "weir heredoc body cut"


class Parsed(NamedTuple):
    """A tree over `source` (UTF-8), with the bodies that were cut out, or the `doubt` that stopped it."""

    root: Node | None
    source: bytes
    bodies: tuple[str, ...] = ()
    doubt: str = ""


def plain_words(text: str) -> list[str] | None:
    """Return the words of a text that has no shell syntax in it at all, else None."""
    if PLAIN.match(text) is None:
        return None
    words = text.split()
    return None if words[0] in RESERVED or words[0].startswith("%") else words


def quoted_words(text: str) -> list[str] | None:
    """Return the words of a text whose only shell syntax is quotes around whole words that hold nothing to expand or
    to evaluate, else None.
    """
    if len(text) > SHORT_MAX or _QUOTED.match(text) is None:
        return None
    words = [word.strip("'\"") for word in _QUOTED_WORD.findall(text)]
    return None if words[0] in RESERVED or words[0] in _DECLARES or words[0].startswith("%") else words


def parse(text: str) -> Parsed:
    """Return the tree of `text` within the bounds."""
    parsed = _parsed(text)
    return parsed if parsed.root is None or _CONTROL_BYTES.search(parsed.source) is None else _controlled(parsed)


def _parsed(text: str) -> Parsed:
    refused = _refusal(text)
    if refused:
        return Parsed(None, b"", doubt=refused)
    short, bodies = _cut(text) if "<<" in text else (text, ())
    source = short.encode()
    if len(source) > TEXT_MAX:
        return Parsed(None, b"", doubt="too-long")
    root = tree_of(source)
    if root is None:
        return Parsed(None, b"", doubt="too-complex")
    if bodies and source.count(PLACEHOLDER.encode()) != _cut_bodies(root, source):
        if len(text.encode()) > TEXT_MAX:
            return Parsed(None, b"", doubt="too-long")
        source, bodies = text.encode(), ()
        root = tree_of(source)
    if root is None or root.descendant_count > NODES_MAX:
        return Parsed(None, b"", doubt="too-many-nodes")
    if root.has_error:
        return _mended(root, source, bodies)
    return Parsed(root, source, bodies, doubt=_misread(short))


def _controlled(parsed: Parsed) -> Parsed:
    """Doubt a control character outside of what is only carried on: a shell takes it for a part of the word, and who
    reads along sees two words, or another line.
    """
    if parsed.root is None:
        return parsed
    rest = bytearray(parsed.source)
    stack = [parsed.root]
    while stack:
        node = stack.pop()
        children = node.named_children
        if not children and node.type in _DATA:
            rest[node.start_byte : node.end_byte] = bytes(node.end_byte - node.start_byte)
        stack += children
    return parsed if _CONTROL_BYTES.search(rest) is None else parsed._replace(doubt="control-character")


def _misread(text: str) -> str:
    """Name what the grammar reads wrongly without an error: a line, or a heredoc body, that begins with a backslash
    becomes words of the command before it.
    """
    return "syntax" if "\n" in text and _LINE_WITH_BACKSLASH.search(text) else ""


def parse_inner(text: str) -> Parsed:
    """Return the tree of a text that the reading itself made: marks are allowed in it, the bounds stay."""
    if len(text) > TEXT_MAX or "\0" in text:
        return Parsed(None, b"", doubt="too-long")
    parsed = _parsed_inner(text)
    return parsed if parsed.root is None or _CONTROL_BYTES.search(parsed.source) is None else _controlled(parsed)


def _parsed_inner(text: str) -> Parsed:
    source = text.encode(errors="replace")
    root = tree_of(source)
    if root is None or root.descendant_count > NODES_MAX:
        return Parsed(None, b"", doubt="too-many-nodes")
    return _mended(root, source, ()) if root.has_error else Parsed(root, source, doubt=_misread(text))


def _refusal(text: str) -> str:
    if len(text) > WHOLE_MAX or (len(text) > TEXT_MAX and "<<" not in text):
        return "too-long"
    if "\0" in text:
        return "null-byte"
    if not text.isascii():
        if any(mark in text for mark in MARKS):
            return "private-character"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "not-unicode"
    return ""


def _mended(root: Node, source: bytes, bodies: tuple[str, ...]) -> Parsed:
    """A brace expansion in command position parses as an error: write its words out and try once more."""
    text = source.decode()
    mended = _BRACES.sub(lambda found: _COMMA.sub(" ", found[1]), text)
    if mended != text:
        again = tree_of(mended.encode())
        if again is not None and not again.has_error:
            odd = any(sign in found[1] for found in _BRACES.finditer(text) for sign in ";|&<>")
            return Parsed(again, mended.encode(), bodies, doubt="syntax" if odd else _misread(mended))
    return Parsed(root, source, bodies, doubt="syntax")


def _cut(text: str) -> tuple[str, tuple[str, ...]]:
    """Replace the body of each quoted heredoc by a placeholder line with its number."""
    kept: list[str] = []
    bodies: list[str] = []
    position = 0
    while (found := _QUOTED_HEREDOC.search(text, position)) is not None:
        line_end = text.find("\n", found.end())
        tag = found[1] or found[2] or found[3]
        end = (
            re.compile(r"\n\t*" + re.escape(tag) + r"$", re.MULTILINE).search(text, line_end)
            if line_end >= 0
            else None
        )
        if end is None:
            break
        kept += [text[position : line_end + 1], f"{PLACEHOLDER} {len(bodies)}\n"]
        bodies.append(text[line_end + 1 : end.start() + 1])
        position = end.start() + 1
    return "".join([*kept, text[position:]]), tuple(bodies)


def _cut_bodies(root: Node, source: bytes) -> int:
    count, stack = 0, [root]
    while stack:
        node = stack.pop()
        if node.type == "heredoc_body" and source.startswith(PLACEHOLDER.encode(), node.start_byte):
            count += 1
        stack.extend(node.named_children)
    return count
