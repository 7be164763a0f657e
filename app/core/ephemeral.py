"""Which paths of a project have no history: the patterns of `.weirignore`, read as git reads a `.gitignore`.

Matched by RE2 (pathspec's backend for it): agents may write the file, and no pattern takes more than linear time.
"""

from typing import Final

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

FILE: Final = b".weirignore"
"""At the project's root; itself always recorded."""
BYTES_MAX: Final = 16 * 1024
LINES_MAX: Final = 256
"""0.3 ms each to compile, which the mount's lock is held for."""
DEFAULT: Final = b"node_modules/\n.venv/\n__pycache__/\n"
"""What holds where there is no such file: names that only tools make, and make again."""

_NOT_PLAIN: Final = frozenset(b"/*?[]!\\ \t\r")
"""Where no line has any of these, a name that is no line matches nothing: 0.1 us, where a match is 2."""


class EphemeralPatterns:
    """Immutable. `problems` say which lines are no patterns, and match nothing."""

    def __init__(self, text: bytes) -> None:
        self.problems: list[str] = []
        lines = text.splitlines()
        if len(lines) > LINES_MAX or len(text) > BYTES_MAX:
            self.problems.append(f"more than {LINES_MAX} lines or {BYTES_MAX} bytes: none of them holds")
            lines = []
        found = [self._pattern(number, line) for number, line in enumerate(lines, 1)]
        patterns = [pattern for pattern in found if pattern is not None]
        self._names = frozenset(line.rstrip(b"/") for line in lines if line and not line.startswith(b"#"))
        self._only_names = not any(set(name) & _NOT_PLAIN for name in self._names)
        self._spec = GitIgnoreSpec(patterns, backend="re2") if patterns else None

    def _pattern(self, number: int, line: bytes) -> GitIgnoreSpecPattern | None:
        try:
            pattern = GitIgnoreSpecPattern(line.decode())
        except (GitIgnorePatternError, UnicodeDecodeError) as error:
            self.problems.append(f"line {number}: {error}")
            return None
        return pattern if pattern.include is not None else None

    def may_begin(self, name: bytes) -> bool:
        """Tell whether `name` could be ephemeral anywhere; True may be wrong, False is not."""
        return name in self._names or not self._only_names

    def begin_at(self, above: bytes, name: bytes, *, directory: bool) -> bool:
        """Tell whether `name`, which is to be made in the directory `above` (b'' is the root), is to have no history.

        Not where `above` itself matches: what stands there was recorded before the patterns were, and a directory is
        one or the other.
        """
        path = above + b"/" + name if above else name
        if path == FILE or not self._matches(path + b"/" if directory else path):
            return False
        return not above or not self._matches(above + b"/")

    def _matches(self, path: bytes) -> bool:
        return self._spec is not None and self._spec.match_file(path.decode(errors="replace"))


NOTHING: Final = EphemeralPatterns(b"")
