"""A text that is one command and runs nothing else is read without a syntax tree, a reading and a scope of its own:
8 us instead of 40.
"""

from functools import lru_cache

from app.core.shell.form import Command
from app.core.shell.git_launch import git_alone, run_git
from app.core.shell.hazards import hazard_of
from app.core.shell.launch import step_of
from app.core.shell.names import program_of
from app.core.shell.output import facts_of
from app.core.shell.reading import Frame
from app.core.shell.runners import runs_alone, smuggles
from app.core.shell.scope import Scope
from app.core.shell.stored import RUN_BY_NAME
from app.core.shell.syntax import quoted_words
from app.core.shell.touches import touches_of


def lone_command(text: str, words: list[str] | None, cwd: str, project: str, *, follows: bool) -> Command | None:
    """Return the command of such a text, else None; `words` are those of a text without any syntax."""
    frame = _place(cwd, project)
    if words is not None:
        return _leaf(words, frame, (0, len(text)), follows=follows)
    quoted = quoted_words(text)
    return _quoted(quoted, frame, (0, len(text)), follows=follows) if quoted is not None else None


@lru_cache(maxsize=64)
def _place(cwd: str, project: str) -> Frame:
    # nothing may run in it: it is the same for every text that begins there
    return Frame(Scope(cwd, project), b"")


def _leaf(words: list[str], frame: Frame, span: tuple[int, int], *, follows: bool) -> Command | None:
    """Return the command of a text without any syntax where it runs nothing else, else None; what it would print
    matters to nobody, and `frame` is only read. `follows`: stored scripts are read too.
    """
    program = program_of(words[0])
    if follows and ("/" in program or program in RUN_BY_NAME):
        return None
    if hazard_of(program, words, frame):
        return None
    step = step_of(program, words)
    if step is not None and not (git_alone(words) if step is run_git else runs_alone(program, words)):
        return None
    touches = touches_of(program, words, frame)
    facts = frozenset(facts_of(program, words, frame, touches))
    return Command(program, tuple(words), (), span, facts, touches)


def _quoted(words: list[str], frame: Frame, span: tuple[int, int], *, follows: bool) -> Command | None:
    """Return the same for words of which some were quoted, and so may be texts for a program that runs them."""
    program = program_of(words[0])
    if smuggles(program, words) or step_of(program, words) not in {None, run_git}:
        return None
    return _leaf(words, frame, span, follows=follows)
