"""Constructs of shell syntax whose inner commands the reading cannot follow: each is a doubt, never a guess."""

import re
from typing import Final

from tree_sitter import Node

from app.core.shell.reading import Frame, Reading
from app.core.shell.scope import Scope

_INDEX_TOKENS: Final = re.compile(r"(\w\[)|([\]\n])|\$\(|`|\$\{|\$\w")
_RUNS: Final = frozenset(("$(", "`", "${"))
_READS: Final = frozenset("$" + char for char in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
_QUOTED: Final = re.compile(r"'[^']*(?:\$\(|`)")
_ARITHMETIC: Final = re.compile(r"\(\(|\[\[|\$\[")
_LINE_END: Final = re.compile(rb"(?<!\\)(?:\\\\)*\n")
_STARTS: Final = ("$(", "`", "<(", ">(")
_DEFAULT: Final = re.compile(r"\w+:?[-=+?]")
_WORD_SOURCE: Final = re.compile(r"\$(?:\{!|\{?[@*0-9#]|\{\w+\[|\{[^}]*@P)")
_IFS: Final = re.compile(r"\$IFS\b|\$\{IFS")
_OPEN: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:`|\$\(|\$\{)")
_NAMED_SECRET: Final = re.compile(
    r"\$\{?!?(\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)\w*)(?!\w|:?\+)", re.IGNORECASE
)
_SLICE: Final = re.compile(r"(?:[@*]|\w+\[[@*]\])[^}]")
_PRINTS: Final = frozenset(("echo", "printf", "cat"))
_ARCHIVES: Final = re.compile(rb"\s*(?:\S*/)?(?:bsd|g)?(?:tar|zip|7z|cpio|pax|ar)\s")
_ENCODES: Final = re.compile(
    rb"\s*(?:\S*/)?(?:base(?:64|32|nc)|xxd|od|hexdump|hd|uuencode|openssl|strings|cat|less)\b[^>]*\Z"
)
EVALUATES: Final = frozenset(
    ("let", "declare", "typeset", "local", "readonly", "export", "read", "unset", "printf", "test", "[", "mapfile")
)


def doubt_command(reading: Reading, node: Node, words: list[str], frame: Frame) -> None:
    """Note what a simple command's own source hides: where its program comes from, whether it prints a credential."""
    name = node.child_by_field_name("name")
    if name is not None and program_hides(frame.text(name)):
        reading.doubt("command-word")
    if words and words[0] in _PRINTS and prints_secret(frame.text(node), frame.scope):
        reading.doubt("prints-a-secret")


def joins_lines(source: bytes, node: Node) -> bool:
    """Tell whether the grammar made one statement of two lines: behind some heredocs it reads a newline as a blank, and
    what is a command of its own becomes words of the one before.
    """
    end = 0
    for child in node.children:
        if end and _LINE_END.search(source, end, child.start_byte) is not None:
            return True
        end = 0 if child.type == "heredoc_redirect" else child.end_byte
    return False


def text_hides(text: str) -> bool:
    """Tell whether arithmetic may run what a subscript in this text holds."""
    if "[" not in text or _ARITHMETIC.search(text) is None:
        return False
    return _indexes(text, _RUNS) or (_indexes(text, _READS) and _QUOTED.search(text) is not None)


def value_hides(value: str) -> bool:
    """Tell whether a known value would run commands where arithmetic evaluates it."""
    return "[" in value and _indexes(value, _RUNS)


def _indexes(text: str, what: frozenset[str]) -> bool:
    """Tell whether a subscript holds one of these signs; one pass, however many subscripts are opened."""
    inside = False
    for found in _INDEX_TOKENS.finditer(text):
        if found[1] or found[2]:
            inside = bool(found[1])
        elif inside and found[0][:2] in what:
            return True
    return False


def expansion_hides(inner: str) -> bool:
    """Tell whether `${inner}` runs what is not read: a substitution in any argument but a default, or `@P`."""
    if inner.endswith("@P") or _SLICE.match(inner):
        return True
    return any(start in inner for start in _STARTS) and _DEFAULT.match(inner) is None


def program_hides(source: str) -> bool:
    """Tell whether a command word comes from arguments, an array, a pointer, or glued separators."""
    return "$" in source and (_WORD_SOURCE.search(source) is not None or _IFS.search(source) is not None)


def prints_archive(stages: list[bytes]) -> bool:
    """Tell whether a pipeline writes whole folders out as text: `tar c . | base64` shows what no rule has seen."""
    return _ENCODES.match(stages[-1]) is not None and any(_ARCHIVES.match(stage) for stage in stages[:-1])


def body_hides(text: str) -> bool:
    """Tell whether text between known parts still holds a substitution."""
    return _OPEN.search(text) is not None


def prints_secret(source: str, scope: Scope) -> bool:
    """Tell whether a word shows a variable that is named like a credential and comes from outside."""
    return "$" in source and any(not scope.has(found[1]) for found in _NAMED_SECRET.finditer(source))
