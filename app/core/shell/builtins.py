"""Builtins that change what later commands mean: folders, variables, aliases, traps, eval.

A step returns None where the command is to be kept like any other one.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.arithmetic import doubt_evaluated, doubt_output
from app.core.shell.environment import note_given
from app.core.shell.form import BELOW, NUMBER, UNKNOWN, Command, marks_of, unknown
from app.core.shell.places import APART, absolute, classify
from app.core.shell.reading import Frame, Reading
from app.core.shell.scope import STEERS, Scope

Span = tuple[int, int]
_LOCAL: Final = frozenset(("declare", "typeset", "local"))
_CHANGES_VALUES: Final = frozenset("nluc")
"""Options by which a variable is another one's name, or holds something else than what is assigned to it."""
_STEMS: Final = frozenset((UNKNOWN, BELOW))
_TAKES_PART: Final = re.compile(r" -[a-zA-Z]*[nNtuei]")
"""`read` with these takes a part of its input, or of another one."""
_ASSIGNS: Final = re.compile(r"(\w+)[-+*/%&|^<>]*=(?!=)")
_ITEMS_MAX: Final = 256
_APART: Final = APART | {"agent-config", "persistence"}
_TRAPS_MAX: Final = 8
_STACK: Final = "folders pushed"
"""Kept as an array under a name that no variable has."""
_AMID: Final = frozenset(("DEBUG", "ERR", "RETURN", "SIGDEBUG"))
"""What a trap on these changes is changed for the commands that follow."""


def _cd(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    target = next((word for word in words[1:] if not word.startswith("-") or word == "-"), frame.scope.value("HOME"))
    scope, before = frame.scope, frame.scope.cwd
    if words[0] == "popd":
        left = scope.arrays.get(_STACK) or [UNKNOWN]
        scope.cwd, scope.arrays[_STACK] = (left[-1], left[:-1]) if len(words) == 1 else (UNKNOWN, [UNKNOWN])
    elif target == "-":
        scope.cwd = scope.variables.get("OLDPWD", UNKNOWN)
    elif target.startswith("+") or (words[0] == "pushd" and len(words) == 1):
        scope.cwd = UNKNOWN
    elif "OLDPWD" in scope.variables and target.count("..") > 1:
        scope.cwd = UNKNOWN  # where a folder before was not there, this is another one
    elif target != ".":
        scope.cwd = absolute(scope.pointed(target), before)
    if words[0] == "pushd":
        plain = len(words) == 2 and words[1][:1] not in {"-", "+"}
        scope.cwd = scope.cwd if plain else UNKNOWN
        scope.arrays[_STACK] = [*scope.arrays.get(_STACK, []), before] if plain else [UNKNOWN]
    if "OLDPWD" in scope.variables and scope.cwd not in {before, scope.project}:
        _doubt_staying(reading, scope, before)
    scope.variables["OLDPWD"] = before or "."
    scope.variables.pop("PWD", None)
    return None


def _doubt_staying(reading: Reading, scope: Scope, before: str) -> None:
    """A folder that is not there is not gone into: the shell stays where it was, which may be a worse place."""
    where, *kinds = classify(before or ".", "", scope.project)
    if where in {"system", "root", "device"} or not _APART.isdisjoint(kinds):
        reading.doubt("folder-may-stay")
    elif where in {"home", "outside", "parent"}:
        scope.cwd = UNKNOWN


def _eval(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    from app.core.shell.launch import shell_text

    return shell_text(reading, " ".join(words[1:]), frame._replace(wrappers=(*frame.wrappers, "eval")), words, span)


def _trap(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    operands = [word for word in words[1:] if not word.startswith("-") or word == "-"]
    if operands[:1] == ["-"]:
        return ""
    if not operands:
        return None
    before = frame.scope.copy()
    scope = before if _AMID.isdisjoint(operands[1:]) else frame.scope
    inner = frame._replace(scope=scope, wrappers=(*frame.wrappers, "trap"), base=span, depth=frame.depth + 1)
    reading.traps.append((operands[0], inner._replace(scope=frame.scope), frame.scope.copy()))
    if marks_of(operands[0]):
        reading.emit(
            Command("trap", tuple(words), frame.wrappers, span, frozenset(("unknown-code",)), (), unresolved=True)
        )
    output = reading.run_text(reading, operands[0], inner)
    if scope is frame.scope and not scope.join(before):
        reading.doubt("conditional-function")
    return output


def run_traps(reading: Reading) -> None:
    """Read what traps run once more at the end of a text, where its shell stands elsewhere or knows other things by
    then: it is run then.
    """
    for text, frame, before in reading.traps[:_TRAPS_MAX]:
        if not frame.scope.alike(before) or frame.scope.functions != before.functions:
            reading.run_text(reading, text, frame._replace(scope=frame.scope.copy()))
    if len(reading.traps) > _TRAPS_MAX:
        reading.doubt("too-many-traps")


def _alias(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        name, sign, text = word.partition("=")
        if sign:
            frame.scope.aliases[name] = text
            if name in BUILTINS:  # a shell that nobody types into expands none
                reading.doubt("alias-of-a-builtin")
    return ""


def _unalias(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        frame.scope.aliases.pop(word, None)
    return ""


def is_local(words: list[str]) -> bool:
    """Tell whether `declare`, by its words so far, makes variables that end with the function around it."""
    return words[0] in _LOCAL and "g" not in _letters(words)


def keep_local(reading: Reading, words: list[str], name: str, scope: Scope) -> None:
    """Let `local` and its kin make a variable a function's own; outside of one `local` fails and assigns nothing."""
    if words[0] == "local" and not scope.locals:
        reading.doubt("local-outside-of-a-function")
    scope.keep_local(name)


def _letters(words: list[str]) -> str:
    return "".join([word[1:] for word in words[1:] if word[:1] in {"-", "+"}])


def _export(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    local, letters = is_local(words), _letters(words)
    if not _CHANGES_VALUES.isdisjoint(letters) and words[0] != "export":
        reading.doubt("variable-of-another-kind")
    for word in words[1:]:
        name, sign, value = word.partition("=")
        if marks_of(name):
            reading.doubt("unknown-name")
        elif sign and name.isidentifier():
            if local:
                keep_local(reading, words, name, frame.scope)
            frame.scope.assign(name, value)
    names = [word.partition("=")[0] for word in words[1:]]
    _note_kinds(reading, words[0], letters, names, frame.scope)
    if words[0] == "export" or "x" in letters:
        for name in frame.scope.variables.keys() & names:
            note_given(reading, span, frame, name, frame.scope.variables[name])
    return ""


def _note_kinds(reading: Reading, program: str, letters: str, names: list[str], scope: Scope) -> None:
    if program == "readonly" or "r" in letters:
        scope.fixed |= frozenset(names)
    if "A" in letters:
        scope.maps |= frozenset(names)
    if "i" in letters:
        scope.counts |= frozenset(names)
        for name in names:
            doubt_output(reading, scope.value(name) if scope.has(name) else "")


def _read(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    names = _names(words)
    text = _record(words, frame.stdin or UNKNOWN)
    if frame.stdin is None or marks_of(frame.stdin) or _TAKES_PART.search(" ".join(words)):
        text = unknown(text, frame.stdin or UNKNOWN)
    _doubt_items(reading, words)
    array = next((following for word, following in pairwise(words) if re.fullmatch(r"-[a-zA-Z]*a", word)), "")
    if array.isidentifier():
        frame.scope.assign_array(array, _fields(text, frame.scope.value("IFS"), _ITEMS_MAX) or [UNKNOWN])
        return ""
    if not frame.scope.counts.isdisjoint(names):
        doubt_output(reading, text)
    fields = _fields(text, frame.scope.value("IFS"), len(names))
    for index, name in enumerate(names):
        stem = frame.stdin if frame.stdin and marks_of(frame.stdin) in _STEMS and len(names) == 1 else None
        frame.scope.assign(
            name, stem or (fields[index] if index < len(fields) else (unknown(text) if marks_of(text) else ""))
        )
    return ""


def _fields(text: str, separators: str, most: int) -> list[str]:
    """Cut a record at IFS into `most` fields."""
    if separators == " \t\n":
        text = text.strip(" \t\n")
        return re.split(r"[ \t\n]+", text, maxsplit=most - 1) if text and most > 1 else [text] if text else []
    if not separators.isascii():
        return [unknown(text)] * most
    return re.split(f"[{re.escape(separators)}]", text, maxsplit=most - 1) if separators else [text]


def _record(words: list[str], text: str) -> str:
    """What `read` takes of its input: a line, or what `-d` says; without `-r` a backslash quotes what is behind it."""
    ends = "\n"
    for word, following in pairwise([*words, "\n"]):
        found = re.fullmatch(r"-[a-zA-Z]*?d(.*)", word, re.DOTALL)
        if found is not None:
            ends = (found[1] or following)[:1]
    raw = any(re.match(r"-[a-zA-Z]*r", word) for word in words)
    text = text if raw or "\\" not in text else re.sub(r"\\(\n?)(.?)", r"\2", text)
    return text.partition(ends)[0] if ends else text


def _names(words: list[str]) -> list[str]:
    names, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = re.fullmatch(r"-[ers]*[dinNptu]", word) is not None
        elif word.isidentifier():
            names.append(word)
    return names or ["REPLY"]


def _mapfile(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    text = frame.stdin or UNKNOWN
    _doubt_items(reading, words)
    name = next((word for word in words[1:] if word.isidentifier()), "MAPFILE")
    if name in frame.scope.counts:
        doubt_output(reading, text)
    whole = not marks_of(text) and all(word in {"-t", name} for word in words[1:])
    frame.scope.assign_array(name, text.removesuffix("\n").split("\n") if whole else [unknown(text)])
    return ""


def _set(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    index = 1
    while index < len(words) and words[index][:1] in {"-", "+"} and words[index] not in {"-", "--"}:
        index += 2 if words[index][-1:] == "o" else 1
    if index < len(words):
        frame.scope.positional = words[index + (words[index] in {"-", "--"}) :]
    return ""


def _shift(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    given = frame.scope.positional
    if len(words) > 1 and not words[1].isdecimal():
        frame.scope.positional = None
    elif given is not None:
        count = int(words[1]) if len(words) > 1 else 1
        frame.scope.positional = given[count:] if count <= len(given) else given  # too far: nothing is shifted
    return ""


def _unset(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    letters, scope = _letters(words), frame.scope
    for word in words[1:]:
        if marks_of(word.partition("[")[0]):
            scope.forget()
            if scope.functions:
                reading.doubt("unknown-name")
        if word in STEERS or word == "PATH":
            scope.steered.add(word)
        if "[" in word:
            _doubt_items(reading, words)
            continue
        known = word in scope.variables or word in scope.arrays
        if "n" not in letters and word not in scope.fixed:
            scope.drop(word.partition("[")[0], variable="f" not in letters and ("v" in letters or known))
    return ""


def _doubt_items(reading: Reading, words: list[str]) -> None:
    if any(re.match(r"\w+\[", word) for word in words[1:]):
        reading.doubt("array-by-index")


def _let(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    for word in words[1:]:
        doubt_evaluated(reading, word, frame.scope)
        if (found := _ASSIGNS.match(word)) is not None:
            frame.scope.assign(found[1], NUMBER)
    return ""


def _getopts(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    if len(words) > 2:
        frame.scope.assign(words[2], UNKNOWN)
    frame.scope.assign("OPTARG", UNKNOWN)
    return ""


def _wait(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """`-p NAME` sets a variable, or unsets it."""
    for index, word in enumerate(words[1:], 1):
        found = re.fullmatch(r"-[fn]*p(.*)", word)
        if found is not None:
            frame.scope.assign(found[1] or "".join(words[index + 1 : index + 2]), UNKNOWN)
    return ""


def _quiet(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    return ""


BUILTINS: Final[dict[str, Callable[[Reading, list[str], Frame, Span], str | None]]] = {
    "cd": _cd,
    "pushd": _cd,
    "popd": _cd,
    "eval": _eval,
    "trap": _trap,
    "alias": _alias,
    "unalias": _unalias,
    "export": _export,
    "declare": _export,
    "typeset": _export,
    "local": _export,
    "readonly": _export,
    "read": _read,
    "mapfile": _mapfile,
    "readarray": _mapfile,
    "set": _set,
    "shift": _shift,
    "getopts": _getopts,
    "return": _quiet,
    "break": _quiet,
    "continue": _quiet,
    "wait": _wait,
    "unset": _unset,
    "exit": _quiet,
    "let": _let,
}
