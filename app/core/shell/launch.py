"""Running words: wrappers are taken off, launchers are followed into what they run, the rest is a command of its
own.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.builtins import BUILTINS
from app.core.shell.embedded import run_code
from app.core.shell.follow import inside
from app.core.shell.form import MARKS, NETWORK, SECRET, UNKNOWN, Command, marks_of, unknown
from app.core.shell.hazards import hazard_of
from app.core.shell.launchers import LAUNCHERS
from app.core.shell.names import CODERS, PREFIXES, SHELLS, program_of
from app.core.shell.output import facts_of, output_of
from app.core.shell.reading import DEPTH_MAX, Frame, Reading
from app.core.shell.redirect import apply_redirects
from app.core.shell.runners import runs_beside, smuggles
from app.core.shell.stored import follow_code, follow_path, follow_shell, follow_source
from app.core.shell.touches import touches_of
from app.core.shell.triggers import follow_made
from app.core.shell.wrappers import run_env, run_prefix, run_prefix_pair

_MODULES: Final = frozenset(("celery", "honcho", "supervisor"))
"""Modules that are programs of the same name."""
Step = Callable[[Reading, list[str], Frame, tuple[int, int]], "str | None"]
def run_words(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    """Read one simple command given as resolved words; return its output as far as it is known."""
    if not words:
        return ""
    if frame.depth > DEPTH_MAX:
        reading.doubt("too-deep")
    if reading.spent() or frame.depth > DEPTH_MAX:
        return UNKNOWN
    return _run(reading, words, frame, span)


def _run(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    name = words[0]
    if marks_of(name) or not name:
        return _unknown_program(reading, words, frame, span)
    if name in frame.scope.functions:
        return _call(reading, words, frame, span)
    if name in frame.scope.aliases and name not in frame.calls:
        return _alias(reading, words, frame, span)
    if "://" in name:
        return _unknown_program(reading, [NETWORK, *words[1:]], frame, span)
    if " " in name:
        return shell_text(reading, name, inside(frame, "text", span), words, span)
    return _run_program(reading, words, frame, span)


def _run_program(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    name = words[0]
    program = program_of(name)
    hazard = hazard_of(program, words, frame)
    if hazard:
        reading.doubt(hazard)
    if frame.scope.made():
        follow_made(reading, program, words, frame, span)
    step = run_path if "/" in name and frame.scope.contents(name) else step_of(program, words)
    if step is not None:
        output = step(reading, words if step is run_path else [program, *words[1:]], frame, span)
        if output is not None:
            return output
    if smuggles(program, words):
        reading.doubt("argument-is-a-command")
    follow_path(reading, program, words, frame, span)
    return leaf(reading, program, words, frame, span)


def leaf(reading: Reading, program: str, words: list[str], frame: Frame, span: tuple[int, int], *facts: str) -> str:
    """Keep a command that runs nothing else, with what it touches; return its output."""
    touches = touches_of(program, words, frame)
    reading.weigh(len(touches))
    found = {*facts, *facts_of(program, words, frame, touches)}
    if frame.looped and program in {"bash", "sh"} and frame.piped:
        found.add("spawns-in-loop")
    reading.emit(
        Command(
            program,
            tuple(words),
            frame.wrappers,
            span,
            frozenset(found),
            touches,
            any(marks_of(w) for w in words) if not _ascii(words) else False,
        )
    )
    return output_of(program, words, frame, touches)


def _ascii(words: list[str]) -> bool:
    return "".join(words).isascii()


def step_of(program: str, words: list[str]) -> Step | None:
    """Return what reads on in what this program runs, None where it is known to run nothing."""
    if len(words) > 1 and f"{program} {words[1]}" in PREFIXES:
        return run_prefix_pair
    if program in PREFIXES:
        return run_prefix
    if program in SHELLS:
        return _shell
    if program in CODERS:
        return _coder
    return STEPS.get(program)


def _unknown_program(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    fact = "remote-code" if NETWORK in words[0] else "unknown-program"
    reading.emit(Command("?", tuple(words), frame.wrappers, span, frozenset((fact,)), (), unresolved=True))
    return unknown(*words)


def _call(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    name = words[0]
    if name in frame.calls:
        facts = frozenset(("fork-bomb",)) if frame.piped else frozenset(("recursion",))
        reading.emit(Command(name, tuple(words), frame.wrappers, span, facts))
        return UNKNOWN
    function = frame.scope.functions[name]
    before = frame.scope.positional
    frame.scope.positional = words[1:]
    frame.scope.locals.append({})
    inner = frame._replace(
        source=function.source,
        base=span,
        depth=frame.depth + 1,
        calls=(*frame.calls, name),
        extra=(),
        bodies=function.bodies,
    )
    output = apply_redirects(
        reading, function.redirects, inner, lambda frame: reading.run_node(reading, function.body, frame)
    )
    frame.scope.positional = before
    frame.scope.leave()
    return output


def _alias(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str:
    """An alias is followed as well as left out: a shell that nobody types into knows none unless it is told to."""
    text = frame.scope.aliases[words[0]]
    rest = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words[1:])
    if step_of(words[0], words) is not None or touches_of(words[0], words, frame):
        _run_program(reading, words, frame._replace(scope=frame.scope.copy()), span)
    return reading.run_text(reading, f"{text} {rest}", frame._replace(base=span, calls=(*frame.calls, words[0])))


def _shell(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    """`sh -c text`, `sh file`, or a shell that reads its commands from its input."""
    code, rest = _shell_code(words)
    inner = inside(frame, words[0], span)
    for option, path in pairwise(words):
        if option in {"--rcfile", "--init-file"}:
            run_words(reading, ["source", path], inner._replace(scope=frame.scope.copy()), span)
    if code is not None:
        scope = frame.scope.copy()
        scope.positional = rest[1:]
        if rest:
            scope.variables["0"] = rest[0]
        return shell_text(reading, code, inner._replace(scope=scope), words, span)
    if rest and rest[0] not in {"-", "/dev/stdin", "/dev/fd/0"}:
        if not frame.scope.contents(rest[0]):
            follow_shell(reading, words, rest[0], rest[1:], inner, span)
            return leaf(reading, words[0], words, frame, span, *(("unknown-program",) if marks_of(rest[0]) else ()))
        return _written_script(reading, rest, inner, words, span)
    if frame.stdin is None:
        return None
    return shell_text(reading, frame.stdin, inner._replace(stdin=None), words, span)


def _written_script(reading: Reading, given: list[str], frame: Frame, words: list[str], span: tuple[int, int]) -> str:
    """Read a script of the text's own making as a program of its own, in each way that its content may be."""
    outputs = []
    for content in frame.scope.contents(given[0]):
        scope = frame.scope.copy()
        scope.run_as(given)
        outputs.append(shell_text(reading, content, frame._replace(scope=scope), words, span))
    return outputs[0] if len(outputs) == 1 else unknown(*outputs)


def _shell_code(words: list[str]) -> tuple[str | None, list[str]]:
    index, wants_code = 1, False
    while index < len(words):
        word = words[index]
        if word in {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"}:
            index += 2
            continue
        if not word.startswith(("-", "+")) or word in {"-", "--"}:
            index += word in {"--", "-"} and wants_code
            break
        short = word[0] == "-" and word[1:2] != "-"
        wants_code = wants_code or word == "--command" or (short and "c" in word)
        index += 2 if short and "o" in word else 1
    rest = words[index:]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    return (rest[0], rest[1:]) if wants_code and rest else (None, rest)


def shell_text(reading: Reading, code: str, frame: Frame, words: list[str], span: tuple[int, int]) -> str:
    """Read code for a shell; code with marks in it is also a command of its own, with the fact that says so."""
    if any(mark in code for mark in MARKS) if not code.isascii() else False:
        fact = "remote-code" if NETWORK in code else "unknown-code"
        facts = {fact, "sends-secret"} if SECRET in code and NETWORK in code else {fact}
        reading.emit(
            Command(
                program_of(words[0]), tuple(words), frame.wrappers[:-1], span, frozenset(facts), (), unresolved=True
            )
        )
        if not code.strip("".join(MARKS) + "\n "):
            return unknown(code)
    return reading.run_text(reading, code, frame._replace(base=span))


def _coder(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    if "-m" in words and (module := words[words.index("-m") + 1 :])[:1] and module[0] in _MODULES:
        return run_words(reading, module, inside(frame, words[0], span), span)
    if words[0] in {"bun", "deno"}:
        runs_beside(reading, words, frame, span)
    follow_code(reading, words, frame, span)
    return run_code(reading, words, frame, span, leaf)


def _exec(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    index = 1
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] == "-a" else 1
    if index >= len(words) or words[index].startswith("{"):
        if frame.stdin is not None:
            reading.doubt("input-replaced")
        return UNKNOWN
    return run_words(reading, words[index:], frame, span)


def _command(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    index = 1
    while index < len(words) and words[index].startswith("-"):
        if set(words[index]) & set("vV"):
            return None
        index += 1
    if index >= len(words):
        return ""
    scope = frame.scope
    functions, aliases = scope.functions, scope.aliases
    scope.functions, scope.aliases = {}, {}
    output = run_words(reading, words[index:], inside(frame, "command", span), span)
    scope.functions, scope.aliases = functions | scope.functions, aliases | scope.aliases
    return output


def _source(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    if len(words) < 2:
        return ""
    contents = frame.scope.contents(words[1])
    if not contents and words[1] in {"/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"}:
        contents = (frame.stdin or "",)
    if contents:
        return _sourced(reading, contents, inside(frame, "source", span), words, span)
    frame.scope.forget()
    follow_source(reading, words, frame, span)
    return leaf(reading, "source", words, frame, span, *(("unknown-program",) if marks_of(words[1]) else ()))


def _sourced(
    reading: Reading, contents: tuple[str, ...], frame: Frame, words: list[str], span: tuple[int, int]
) -> str:
    scope = frame.scope
    before, outputs = scope.arrays.get("BASH_SOURCE"), []
    for content in contents:
        start = scope.copy()
        scope.arrays["BASH_SOURCE"] = [words[1]]
        outputs.append(shell_text(reading, content, frame, words, span))
        if len(contents) > 1 and not scope.join(start):
            reading.doubt("conditional-function")
    scope.arrays.pop("BASH_SOURCE", None)
    if before is not None:
        scope.arrays["BASH_SOURCE"] = before
    return outputs[0] if len(outputs) == 1 else unknown(*outputs)


def run_path(reading: Reading, words: list[str], frame: Frame, span: tuple[int, int]) -> str | None:
    """A file of the script's own making that is run by its path."""
    contents = frame.scope.contents(words[0])
    if not contents:
        return None
    if any(text.startswith("#!") and "sh" not in text.partition("\n")[0] for text in contents):
        return leaf(reading, words[0], words, frame, span, "unknown-code")
    return _written_script(reading, words, inside(frame, words[0], span), words, span)


STEPS: Final[dict[str, Step]] = {
    **BUILTINS,
    **LAUNCHERS,
    "env": run_env,
    "exec": _exec,
    "command": _command,
    "source": _source,
    ".": _source,
}
