"""Scripts that lie in the store: what a command would run from there is read too, one level deep.

What is read can only make an answer stricter: the command that names the script stands as it would unread, and what
the script does is judged beside it. So a script that changes between the reading and its run gains nothing over one
that was never read.
"""

import enum
import re
from collections.abc import Callable
from typing import Final

from app.core.shell.embedded import script_word
from app.core.shell.follow import Span, inside, text_followed
from app.core.shell.form import marks_of
from app.core.shell.names import CODERS, SHELLS, program_of
from app.core.shell.places import absolute
from app.core.shell.reading import Frame, Reading
from app.core.shell.stored_code import weigh_code

SCRIPT_BYTES_MAX: Final = 64 * 1024
ASKED_MAX: Final = 8
"""Files that one call may have read; one that names more is not understood."""
RUN_BY_NAME: Final = frozenset(("make", "gmake", "npm", "pnpm", "yarn"))
"""Programs that run what a file of a fixed name says."""
_ACTIVATE: Final = re.compile(r"(?:.*/)?\.?v?env/bin/activate")
"""Of a virtual environment: generated, not understood by what reads it, and run all day; so left unread."""
_BINARIES: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")


class Lack(enum.Enum):
    """Why there is no content: the path is of no mount of the project (nothing was asked); the store has no such file;
    it could not be read, or not in time.
    """

    ELSEWHERE = enum.auto()
    ABSENT = enum.auto()
    UNREADABLE = enum.auto()


class Scripts:
    """The store as one judgement sees it: each file is asked for once. `asked`: the answer depends on it."""

    __slots__ = ("_ask", "_known", "asked")

    def __init__(self, ask: Callable[[str], bytes | Lack]) -> None:
        self._ask = ask
        self._known: dict[str, bytes | Lack] = {}
        self.asked = False

    def content(self, path: str) -> bytes | Lack:
        """Return a file's content, cut off one byte behind SCRIPT_BYTES_MAX."""
        found = self._known.get(path)
        if found is None:
            full = len(self._known) >= ASKED_MAX
            found = self._known[path] = Lack.UNREADABLE if full else self._ask(path)
            self.asked = self.asked or found is not Lack.ELSEWHERE
        return found


def stored_text(reading: Reading, path: str, frame: Frame, *, runs: bool = False) -> str | None:
    """Return the text of a stored file that would run, None where none is to be read; what cannot be read though it
    would run is a doubt. `runs`: it is run by its path, and so may be a program of the machine.
    """
    if reading.scripts is None or marks_of(path):
        return None
    full = absolute(frame.scope.pointed(path), frame.scope.cwd)
    found = reading.scripts.content(full) if full.startswith(("/", "~/")) else Lack.ABSENT
    if isinstance(found, Lack):
        if found is Lack.UNREADABLE:
            reading.doubt("script-unreadable")
        return None
    return None if runs and found.startswith(_BINARIES) else _text(reading, found)


def _text(reading: Reading, content: bytes) -> str | None:
    if len(content) > SCRIPT_BYTES_MAX:
        reading.doubt("script-too-long")
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or marks_of(text):
        reading.doubt("script-not-text")
        return None
    return text


def follow_shell(reading: Reading, words: list[str], path: str, rest: list[str], frame: Frame, span: Span) -> None:
    """Read a stored script that a shell would run; `frame` is inside that shell."""
    text = stored_text(reading, path, frame)
    if text is not None:
        _read_shell(reading, text, words, [path, *rest], frame, span)


def follow_source(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """Read a stored script that is sourced."""
    if _ACTIVATE.fullmatch(words[1]) is None:
        follow_shell(reading, words, words[1], words[2:], inside(frame, "source", span), span)


def follow_code(reading: Reading, words: list[str], frame: Frame, span: Span) -> None:
    """Read a stored script that an interpreter of another language would run."""
    path = script_word(words) if reading.scripts is not None else ""
    if frame.scope.contents(path):
        return
    text = stored_text(reading, path, frame) if path else None
    if text is not None:
        weigh_code(reading, words, text, frame, span)


def follow_path(reading: Reading, program: str, words: list[str], frame: Frame, span: Span) -> None:
    """Read a stored script that is run by its path, as its first line says."""
    if "/" not in program:
        return
    text = stored_text(reading, words[0], frame, runs=True)
    if text is None:
        return
    interpreter = _interpreter(text)
    if interpreter in CODERS:
        weigh_code(reading, [interpreter, *words], text, frame, span)
    elif interpreter in SHELLS:
        _read_shell(reading, text, words, words, inside(frame, words[0], span), span)
    else:
        reading.doubt("script-of-unknown-kind")


def _interpreter(text: str) -> str:
    line = text.partition("\n")[0]
    words = line[2:].split() if line.startswith("#!") else ["sh"]
    if len(words) > 1 and program_of(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return program_of(words[0]) if words else ""


def _read_shell(reading: Reading, text: str, words: list[str], given: list[str], frame: Frame, span: Span) -> None:
    # a copy: what it defines must not hide from the rules what the call says in plain sight
    scope = frame.scope.copy()
    scope.run_as(given)
    text_followed(reading, text, words, frame._replace(scope=scope), span)
