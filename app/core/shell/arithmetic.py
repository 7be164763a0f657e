"""Arithmetic evaluates what its variables hold, again and again, and a subscript in there runs commands: `$((n))` of
a text that nobody has read runs it. What can only be digits is harmless.
"""

import re
from typing import Final

from tree_sitter import Node

from app.core.shell.form import NUMBER, marks_of
from app.core.shell.reading import Frame, Reading
from app.core.shell.scope import Scope

DOUBT: Final = "evaluates-what-is-not-known"
_NAMES: Final = re.compile(r"[A-Za-z_]\w*|(?<=\$)\d|(?<=\$\{)\d+")
_LENGTHS: Final = re.compile(r"\$\{#[^}]*\}|\$[#?$!]|0[xX][0-9a-fA-F]+|'[^']*'")
_NUMBER: Final = re.compile(rf"[\s\d{NUMBER}+-]*")
_SIGNS: Final = frozenset("*?[")
_COMPARES: Final = frozenset(("-eq", "-ne", "-lt", "-le", "-gt", "-ge"))
_DEFAULT: Final = re.compile(r":[-=+?]")
_INDEX: Final = re.compile(r"!?#?(\w+)\[([^\]]*)\]")
_OFFSET: Final = re.compile(r"\w+(?:\[[^\]]*\])?(:.*)", re.DOTALL)


def is_number(value: str) -> bool:
    """Tell whether a value is empty or digits, known or not."""
    return _NUMBER.fullmatch(value) is not None


def doubt_evaluated(reading: Reading, text: str, scope: Scope) -> None:
    """Doubt arithmetic in which a variable of the script's own holds what is not known, through others perhaps; the
    variables that a shell begins with are the caller's.
    """
    waiting, seen = _NAMES.findall(_LENGTHS.sub("", text)), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or not (scope.has(name) or (name.isdigit() and scope.positional is not None)):
            continue
        seen.add(name)
        value = scope.value(name)
        if is_number(value):
            continue
        if marks_of(value) or _SIGNS.intersection(value):
            reading.doubt(DOUBT)
            return
        waiting += _NAMES.findall(value)


def doubt_output(reading: Reading, value: str) -> None:
    """Doubt arithmetic that evaluates this output of a command."""
    if marks_of(value) and not is_number(value):
        reading.doubt(DOUBT)


def doubt_subscript(reading: Reading, inner: str, scope: Scope) -> None:
    """Doubt what `${inner}` evaluates: the index of an array, where a part begins and how long it is."""
    if "[" in inner and (index := _INDEX.match(inner)) is not None and index[1] not in scope.maps:
        doubt_evaluated(reading, index[2], scope)
    if ":" in inner and (offset := _OFFSET.match(inner)) is not None and _DEFAULT.match(offset[1]) is None:
        doubt_evaluated(reading, offset[1], scope)


def compares(node: Node, frame: Frame) -> bool:
    """Tell whether a part of `[[ ]]` compares numbers, for which it evaluates both."""
    operator = node.child_by_field_name("operator") if node.type == "binary_expression" else None
    return operator is not None and frame.text(operator) in _COMPARES
