"""Following a launcher into what it runs: the frame inside it, its text, and the launcher's own command."""

from typing import Final

from app.core.shell.places import absolute
from app.core.shell.reading import Frame, Reading

Span = tuple[int, int]
_SAME_SHELL: Final = frozenset(
    ("!", ".", "builtin", "command", "do", "else", "eval", "nocorrect", "noglob", "source", "text", "then", "time", "{")
)


def inside(frame: Frame, wrapper: str, span: Span) -> Frame:
    """Return the frame of a command inside a wrapper; what is no part of this shell changes nothing in it."""
    scope = frame.scope if wrapper in _SAME_SHELL else frame.scope.copy()
    return frame._replace(scope=scope, wrappers=(*frame.wrappers, wrapper), base=span, depth=frame.depth + 1)


def moved(frame: Frame, folder: str) -> Frame:
    """Return the frame of what runs in another folder."""
    scope = frame.scope.copy()
    scope.cwd = absolute(folder, scope.cwd)
    return frame._replace(scope=scope)


def kept(reading: Reading, words: list[str], frame: Frame, span: Span) -> str:
    """Keep the launcher as a command of its own; return its output."""
    from app.core.shell.launch import leaf

    return leaf(reading, words[0], words, frame, span)


def text_followed(reading: Reading, text: str, words: list[str], frame: Frame, span: Span) -> None:
    """Read a text out of a stored script: what it runs of the store itself is not read."""
    scripts, reading.scripts = reading.scripts, None
    text_of(reading, text, words, frame, span)
    reading.scripts = scripts


def text_of(reading: Reading, text: str, words: list[str], frame: Frame, span: Span) -> str:
    """Read a text that the launcher gives to a shell."""
    from app.core.shell.launch import shell_text

    return shell_text(reading, text, frame, words, span)
