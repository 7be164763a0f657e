"""What a point of a script knows: variables, functions, aliases, folder, and files that the script itself wrote.

`files` and `stems` (beginnings of paths at which something was unpacked, so that any file there may be of it) are
shared by all copies, since subshells share the disk, and so is `steered`; everything else is a subshell's own. Whether
a write happened at all often hangs on what only a run shows, so a file keeps all that may be its content, the last
write last.
"""

import re
from typing import Final, NamedTuple

from tree_sitter import Node

from app.core.shell.form import NUMBER, UNKNOWN, marks_of, unknown
from app.core.shell.places import APART, absolute, classify

GIVEN: Final = {
    "HOME": "~",
    "IFS": " \t\n",
    "TMPDIR": "/tmp",
    "SHELL": "/bin/bash",
    "?": "0",
    "#": "0",
    "BASH": "/bin/bash",
    "BASHPID": NUMBER,
    "$": "1",
    "-": "hB",
    "PPID": NUMBER,
    "RANDOM": "1",
    "SECONDS": NUMBER,
    "LINENO": NUMBER,
    "UID": NUMBER,
    "EUID": NUMBER,
    "PIPESTATUS": "0",
}

_OF_THE_MOMENT: Final = frozenset(("_", "FUNCNAME", "BASH_COMMAND", "BASH_REMATCH", "DIRSTACK"))
"""What a shell sets anew itself: an assignment does not last."""
_LOADS_TEXT: Final = """
PATH LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH BASH_ENV PROMPT_COMMAND PERL5OPT RUBYOPT PYTHONSTARTUP GIT_SSH
GIT_EXTERNAL_DIFF GIT_EXEC_PATH LESSOPEN
"""
LOADS: Final = frozenset(_LOADS_TEXT.split())
"""What decides which code later programs are. An assignment of one is a command of its own (environment.py); `read`,
`for`, `printf -v` and others set them too.
"""
STEERS: Final = frozenset(("CDPATH", "DIRSTACK", "HOME", "OLDPWD", "PWD"))
"""What says where `cd`, `cd -` and `~` lead."""
VALUE_LOOKED_AT: Final = 256
LINKS_MAX: Final = 8
CONTENTS_MAX: Final = 4
CONTENT_MAX: Final = 64 * 1024
_GLOB: Final = re.compile(r"[*?\[]")
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/(?:self|\$\$|\d+))/fd/(\d+)")


class Function(NamedTuple):
    """A body, the text that its byte offsets count in, the heredocs that were cut out of that, and the redirections
    that each call of it goes through.
    """

    body: Node
    source: bytes
    bodies: tuple[str, ...] = ()
    redirects: tuple[Node, ...] = ()


class Scope:
    """See the module. Mutable while one text is read, never kept."""

    __slots__ = (
        "aliases",
        "arrays",
        "counts",
        "cwd",
        "files",
        "fixed",
        "functions",
        "links",
        "locals",
        "maps",
        "positional",
        "project",
        "steered",
        "stems",
        "variables",
    )

    def __init__(self, cwd: str, project: str) -> None:
        self.cwd = cwd
        self.project = project
        self.variables: dict[str, str] = {}
        self.arrays: dict[str, list[str]] = {}
        self.functions: dict[str, Function] = {}
        self.aliases: dict[str, str] = {}
        self.files: dict[str, tuple[str, ...]] = {}
        self.stems: dict[str, tuple[str, ...]] = {}
        self.links: dict[str, str] = {}
        self.steered: set[str] = set()
        self.locals: list[dict[str, tuple[str | None, list[str] | None]]] = []
        self.positional: list[str] | None = None
        self.fixed: frozenset[str] = frozenset()
        self.maps: frozenset[str] = frozenset()
        self.counts: frozenset[str] = frozenset()

    def copy(self) -> "Scope":
        """Return a subshell's scope: same files, everything else its own."""
        other = Scope(self.cwd, self.project)
        other.variables = dict(self.variables)
        other.arrays = dict(self.arrays)
        other.functions = dict(self.functions)
        other.aliases = dict(self.aliases)
        other.files = self.files
        other.stems = self.stems
        other.links = self.links
        other.steered = self.steered
        other.locals = [dict(names) for names in self.locals]
        other.positional = self.positional
        other.fixed = self.fixed
        other.maps = self.maps
        other.counts = self.counts
        return other

    def value(self, name: str) -> str:
        """Return a variable's value; what the script did not set comes from outside and is UNKNOWN."""
        if name in _OF_THE_MOMENT:
            return UNKNOWN
        if name in self.variables:
            return self.variables[name]
        if name in self.arrays:
            return self.arrays[name][0] if self.arrays[name] else ""
        if name in {"@", "*"}:
            return UNKNOWN if self.positional is None else " ".join(self.positional)
        if name.isdigit() and name != "0":
            return self._positional(int(name))
        if name == "#" and self.positional is not None:
            return str(len(self.positional))
        if name == "PWD":
            return self.cwd or "."
        return GIVEN.get(name, UNKNOWN)

    def _positional(self, number: int) -> str:
        if self.positional is None:
            return UNKNOWN
        return self.positional[number - 1] if number <= len(self.positional) else ""

    def has(self, name: str) -> bool:
        """Tell whether the script itself gave this name a value."""
        return name in self.variables or name in self.arrays or name in GIVEN

    def assign(self, name: str, value: str, *, append: bool = False) -> None:
        """Set a variable; appending to an unknown one stays unknown, and a fixed one may keep what it has."""
        if name in self.fixed:
            value = unknown(value, self.value(name))
        elif append:
            value = self.value(name) + value if self.has(name) else unknown(value)
        self.variables["0" if name == "BASH_ARGV0" else name] = value
        self.arrays.pop(name, None)
        if name in STEERS or (name in LOADS and (value or name == "PATH")):
            self.steered.add(name)

    def assign_array(self, name: str, items: list[str]) -> None:
        """Set an array, of which the first item is the variable's value; a fixed one may keep what it has."""
        if name in self.fixed:
            items = [unknown(self.value(name), *items)]
        self.variables.pop(name, None)
        self.arrays[name] = items
        if name in STEERS or name in LOADS:
            self.steered.add(name)

    def keep_local(self, name: str) -> None:
        """Remember a variable's value before a function makes it its own."""
        if self.locals and name not in self.locals[-1]:
            self.locals[-1][name] = self.variables.get(name), self.arrays.get(name)

    def drop(self, name: str, *, variable: bool) -> None:
        """Unset a name: what it is as a variable, or as a function."""
        if variable:
            self.variables.pop(name, None)
            self.arrays.pop(name, None)
        else:
            self.functions.pop(name, None)

    def leave(self) -> None:
        """Leave a function: what it made its own has its former value again."""
        for name, (value, items) in (self.locals.pop() if self.locals else {}).items():
            self.variables.pop(name, None)
            self.arrays.pop(name, None)
            if value is not None:
                self.variables[name] = value
            if items is not None:
                self.arrays[name] = items

    def give_back(self, names: list[str], variables: dict[str, str], arrays: dict[str, list[str]]) -> None:
        """Let these names have the values again that they had in `variables` and `arrays`."""
        for name in names:
            self.variables.pop(name, None)
            self.arrays.pop(name, None)
        self.variables |= {name: variables[name] for name in names if name in variables}
        self.arrays |= {name: arrays[name] for name in names if name in arrays}

    def run_as(self, given: list[str]) -> None:
        """Let this be the scope of a script that is run by these words."""
        self.positional = given[1:]
        self.variables["0"] = given[0]
        self.arrays["BASH_SOURCE"] = [given[0]]

    def forget(self) -> None:
        """A script of unknown content ran in this shell: no variable is certain any more."""
        self.variables = {name: unknown(value) for name, value in self.variables.items()}
        self.arrays = {name: [UNKNOWN] for name in self.arrays}

    def pointed(self, path: str) -> str:
        """Return where a path leads if the script itself made it, or a folder of it, a link."""
        if not self.links:
            return path
        full = absolute(path, self.cwd)
        for _ in range(LINKS_MAX):
            link = next((one for one in self.links if full == one or full.startswith(one + "/")), None)
            if link is None:
                break
            full = absolute(self.links[link] + full[len(link) :], "")
            path = full
        return path

    def join(self, other: "Scope") -> bool:
        """Make this scope what holds after either of two ways; False when functions or aliases differ."""
        for name in self.variables.keys() | other.variables.keys():
            mine, theirs = self.variables.get(name), other.variables.get(name)
            if mine != theirs:
                self.variables[name] = _either(mine or "", theirs or "")
        for name in self.arrays.keys() | other.arrays.keys():
            if self.arrays.get(name) != other.arrays.get(name):
                self.arrays[name] = [UNKNOWN]
        if self.cwd != other.cwd:
            self.cwd = next((one for one in (self.cwd, other.cwd) if self._is_apart(one)), UNKNOWN)
        if self.positional != other.positional:
            self.positional = None
        self.fixed |= other.fixed
        self.maps &= other.maps
        self.counts |= other.counts
        alike = self.aliases == other.aliases and _same_functions(self.functions, other.functions)
        self.functions = {**self.functions, **other.functions}
        self.aliases = {**self.aliases, **other.aliases}
        return alike

    def alike(self, other: "Scope") -> bool:
        """Tell whether a round of a loop has changed nothing of what is known."""
        mine = (self.cwd, self.variables, self.arrays, self.positional)
        return mine == (other.cwd, other.variables, other.arrays, other.positional)

    def _is_apart(self, folder: str) -> bool:
        """Tell whether names in a folder mean more than elsewhere: then it is taken to be that one."""
        if not folder or marks_of(folder):
            return False
        where = classify(folder, "", self.project)
        return where[0] in {"system", "root"} or not APART.isdisjoint(where)

    def stands_in_project(self) -> bool:
        """Tell whether the folder of now is the project's, as far as it is known."""
        return not marks_of(self.cwd) and classify(self.cwd or ".", "", self.project)[0] == "project"

    def made(self) -> bool:
        """Tell whether the text put anything into files so far."""
        return bool(self.files or self.stems)

    def content(self, path: str) -> str | None:
        """Return what the script itself put into a file, or None; where it may be one of several, it is not known."""
        found = self.contents(path)
        return None if not found else found[0] if len(found) == 1 else unknown(*found)

    def contents(self, path: str) -> tuple[str, ...]:
        """Return all that the script itself may have put into a file, or into any that a pattern may mean."""
        if not self.made():
            return ()
        full = absolute(self._descriptor(path), self.cwd)
        found = self.files.get(full)
        found = found if found is not None else self._alike(full) if _GLOB.search(full) else ()
        return _few(tuple(dict.fromkeys([*found, *self.unpacked(full)]))) if self.stems else found

    def unpacked(self, full: str) -> list[str]:
        """Return what may be in a file, by its absolute path or pattern, because something was unpacked there."""
        pattern = _GLOB.search(full)
        begins = full[: pattern.start()] if pattern is not None else full
        return [
            text
            for stem, texts in self.stems.items()
            if below(begins, stem) or (pattern is not None and stem.startswith(begins))
            for text in texts
        ]

    def unpack(self, stem: str, content: str) -> None:
        """Remember that files were made whose paths begin with `stem`, under names that are not known."""
        self.stems[stem] = _few(tuple(dict.fromkeys([*self.stems.get(stem, ()), content])))

    def _alike(self, pattern: str) -> tuple[str, ...]:
        """Compare the fixed beginning and end alone: whatever a pattern may mean is among what they let through."""
        signs = [found.start() for found in _GLOB.finditer(pattern)]
        begins, ends = pattern[: signs[0]], pattern[signs[-1] + 1 :]
        ends = "" if "]" in ends else ends
        found = [text for name, texts in self.files.items() if _between(name, begins, ends) for text in texts]
        return _few(tuple(dict.fromkeys(found)))

    def _descriptor(self, path: str) -> str:
        found = _DESCRIPTOR.fullmatch(path)
        return path if found is None else self.variables.get(f"fd {found[1]}", path)

    def put(self, path: str, content: str, *, appends: bool = False) -> None:
        """Remember what the script put into a file."""
        full = absolute(path, self.cwd)
        before = self.files.get(full, ())
        if not appends or not before:
            after = (*[text for text in before if text != content], content)
        else:
            # whole lines end as they did before more came; a line that goes on is another one
            kept = [text for text in before if not text.endswith("\n") and text]
            after = tuple(dict.fromkeys([*kept, *[text + content for text in before]]))
        self.files[full] = _few(after)


def below(full: str, stem: str) -> bool:
    """Tell whether a path begins so; the empty stem is the project's folder, where that has no name."""
    return full.startswith(stem) if stem else not full.startswith(("/", "~", ".."))


def _same_functions(mine: dict[str, Function], theirs: dict[str, Function]) -> bool:
    def place(one: Function) -> tuple[bytes, int]:
        return one.source, one.body.start_byte

    return mine.keys() == theirs.keys() and all(place(one) == place(theirs[name]) for name, one in mine.items())


def _either(mine: str, theirs: str) -> str:
    for value in (mine, theirs):  # of a file and a credential it is taken for the credential
        if value and len(value) < VALUE_LOOKED_AT and "secret" in classify(value, "", ""):
            return value
    digits = (mine + theirs).replace(NUMBER, "")
    return NUMBER if not digits or digits.isdecimal() else unknown(mine, theirs)


def _between(name: str, begins: str, ends: str) -> bool:
    return name.startswith(begins) and name.endswith(ends) and not name.startswith("/dev/fd/")


def _few(texts: tuple[str, ...]) -> tuple[str, ...]:
    few = len(texts) <= CONTENTS_MAX and sum(map(len, texts)) <= CONTENT_MAX
    return texts if few else (unknown(*texts),)
